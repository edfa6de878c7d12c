/* Reads KubeVirt's instances and applies what a watch tells of them. Any thread. */
#include "source/vmi.h"

#include "base/auto.h"
#include "base/mem.h"
#include "source/api.h"

#include <string.h>

#define EVENT_MAX (8u << 20) /* bytes; etcd takes 1.5 MiB of an object */

/* --- an instance ------------------------------------------------------------------------------ */

/* It stands in paths of APIs, theirs and ours. */
static bool is_part(const char *text)
{
    return text && *text && !strchr(text, '/') && strlen(text) <= 240;
}

static char *serial_uuid(const char *uid)
{
    return kb_printf("%s-serial", uid);
}

/* Both consoles are there unless the instance says that it does without. */
static bool has(const json_t *vmi, const char *autoattach)
{
    const json_t *domain = json_object_get(json_object_get(vmi, "spec"), "domain");
    return !json_is_false(json_object_get(json_object_get(domain, "devices"), autoattach));
}

static void add(struct kb_console **map, const json_t *vmi, enum kb_protocol protocol)
{
    const json_t *meta = json_object_get(vmi, "metadata"), *status = json_object_get(vmi, "status");
    const char *uid = kb_json_str(meta, "uid"), *name = kb_json_str(meta, "name");
    const char *space = kb_json_str(meta, "namespace");
    bool serial = protocol == KB_PROTOCOL_SERIAL;
    kb_auto_free char *uuid = serial ? serial_uuid(uid) : kb_strdup(uid);
    kb_auto_free char *shown = serial ? kb_printf("%s (serial)", name) : kb_strdup(name);
    struct kb_console *c = kb_console_create(uuid, shown);
    c->project = kb_strdup(space);
    c->state = kb_strdup(kb_json_str(status, "phase"));
    c->hypervisor = kb_strdup(kb_json_str(status, "nodeName"));
    c->protocol = protocol;
    c->transport = KB_TRANSPORT_WEBSOCKET;
    c->extra = kb_printf("%s/%s", space, name);
    kb_consoles_add(map, c);
}

void kb_vmi_add(struct kb_console **map, const json_t *vmi, bool serial)
{
    const json_t *meta = json_object_get(vmi, "metadata");
    const char *phase = kb_json_str(json_object_get(vmi, "status"), "phase");
    if (!is_part(kb_json_str(meta, "uid")) || !is_part(kb_json_str(meta, "name")) ||
        !is_part(kb_json_str(meta, "namespace")) || !phase || strcmp(phase, "Running") != 0)
        return;
    if (has(vmi, "autoattachGraphicsDevice"))
        add(map, vmi, KB_PROTOCOL_VNC);
    if (serial && has(vmi, "autoattachSerialConsole"))
        add(map, vmi, KB_PROTOCOL_SERIAL);
}

/* --- a watch ---------------------------------------------------------------------------------- */

/* What is known of one instance is now what vmi says; NULL: it is gone. */
static bool apply(struct kb_vmi_watch *w, const char *uid, const json_t *vmi)
{
    struct kb_console *now = NULL;
    kb_auto_free char *serial = serial_uuid(uid);
    const char *const uuids[] = {uid, serial};
    bool changed = false;
    if (vmi)
        kb_vmi_add(&now, vmi, w->serial);
    for (size_t i = 0; i < 2; i++) {
        struct kb_console *old = kb_consoles_find(*w->known, uuids[i]);
        struct kb_console *c = kb_consoles_find(now, uuids[i]);
        changed = changed || !old != !c || (old && !kb_console_equal(old, c));
        if (old) {
            HASH_DEL(*w->known, old);
            kb_console_destroy(old);
        }
        if (c) {
            HASH_DEL(now, c);
            kb_consoles_add(w->known, c);
        }
    }
    kb_consoles_destroy(&now);
    return changed;
}

/* {"kind": "Status", "message": ..., "code": ...} */
static enum kb_vmi_news take_error(struct kb_vmi_watch *w, const json_t *status)
{
    const char *words = kb_json_str(status, "message");
    if (kb_json_num(status, "code", 0, 999, 0) == 410)
        return KB_VMI_EXPIRED;
    kb_copy_str(w->why, sizeof w->why, words && *words ? words : "an error without a word");
    return KB_VMI_BROKEN;
}

/* {"type": ADDED | MODIFIED | DELETED | BOOKMARK | ERROR, "object": {...}} */
static enum kb_vmi_news take_event(struct kb_vmi_watch *w, const json_t *event)
{
    const char *type = kb_json_str(event, "type");
    const json_t *object = json_object_get(event, "object");
    const json_t *meta = json_object_get(object, "metadata");
    const char *uid = kb_json_str(meta, "uid"), *version = kb_json_str(meta, "resourceVersion");
    if (type && strcmp(type, "ERROR") == 0)
        return take_error(w, object);
    bool bookmark = type && strcmp(type, "BOOKMARK") == 0;
    if (!type || !version || !*version || (!bookmark && !uid)) {
        kb_copy_str(w->why, sizeof w->why, "what came is no event of an instance");
        return KB_VMI_BROKEN;
    }
    free(*w->version);
    *w->version = kb_strdup(version);
    if (bookmark)
        return KB_VMI_SAME;
    bool changed = apply(w, uid, strcmp(type, "DELETED") == 0 ? NULL : object);
    w->changed = w->changed || changed;
    return changed ? KB_VMI_CHANGED : KB_VMI_SAME;
}

static enum kb_vmi_news take_line(struct kb_vmi_watch *w, const uint8_t *line, size_t len)
{
    json_t *event = json_loadb((const char *)line, len, JSON_ALLOW_NUL, NULL);
    enum kb_vmi_news news = take_event(w, event);
    json_decref(event);
    return news;
}

enum kb_vmi_news kb_vmi_watch_take(struct kb_vmi_watch *w, const void *data, size_t len)
{
    enum kb_vmi_news news = KB_VMI_SAME;
    size_t from = 0;
    kb_buf_add(&w->line, data, len);
    while (news == KB_VMI_SAME || news == KB_VMI_CHANGED) {
        const uint8_t *begin = w->line.data + from;
        const uint8_t *end = memchr(begin, '\n', w->line.len - from);
        if (!end)
            break;
        enum kb_vmi_news one = take_line(w, begin, (size_t)(end - begin));
        news = one == KB_VMI_SAME ? news : one;
        from += (size_t)(end + 1 - begin);
    }
    w->line.len -= from;
    memmove(w->line.data, w->line.data + from, w->line.len);
    if (w->line.len > EVENT_MAX) {
        snprintf(w->why, sizeof w->why, "an event is longer than %u bytes", EVENT_MAX);
        return KB_VMI_BROKEN;
    }
    return news;
}

void kb_vmi_watch_finish(struct kb_vmi_watch *w)
{
    kb_buf_finish(&w->line);
}
