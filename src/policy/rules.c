/* The rules of a session. Pure; any thread. */
#include "policy/rules.h"

#include "base/glob.h"
#include "base/mem.h"
#include "policy/book.h"
#include "spice/wire.h"

#include <stdlib.h>

void kb_limits_init(struct kb_limits *l)
{
    *l = (struct kb_limits){
        .clipboard_in = true,
        .clipboard_out = true,
        .clipboard_primary = true,
        .files_in = true,
        .folders = KB_FOLDERS_ON,
        .usb = true,
        .usb_keyboards = true,
        .sound = true,
        .microphone = true,
        .smartcard = true,
        .resize = true,
        .cursor = true,
    };
}

struct kb_rules *kb_rules_create(void)
{
    static uint64_t made;
    struct kb_rules *r = kb_zalloc(sizeof *r);
    r->refs = 1;
    r->serial = __atomic_add_fetch(&made, 1, __ATOMIC_RELAXED);
    kb_limits_init(&r->enforced);
    kb_limits_init(&r->all);
    return r;
}

struct kb_rules *kb_rules_ref(struct kb_rules *r)
{
    __atomic_fetch_add(&r->refs, 1, __ATOMIC_RELAXED);
    return r;
}

void kb_rules_unref(struct kb_rules *r)
{
    if (!r || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    kb_limits_finish(&r->enforced);
    kb_limits_finish(&r->all);
    kb_policy_book_unref(r->book);
    free(r->names);
    free(r);
}

bool kb_names_allow(const struct kb_names *n, const char *name, bool folded)
{
    bool any = n->count == 0, included = false; /* an empty list includes nothing */
    for (size_t i = 0; i < n->count; i++) {
        struct kb_span pattern = kb_span_str(n->entries[i]);
        bool excludes = pattern.len && pattern.data[0] == '!';
        if (excludes)
            pattern = kb_span(pattern.data + 1, pattern.len - 1);
        bool matches = folded ? kb_glob_fold(pattern, name) : kb_glob(pattern, name);
        if (excludes && matches)
            return false;
        any = any || !excludes;
        included = included || (!excludes && matches);
    }
    return included || !any;
}

static bool pass_all(const struct kb_names_lists *l, const char *name, bool folded)
{
    for (size_t i = 0; i < l->count; i++)
        if (!kb_names_allow(l->lists[i], name, folded))
            return false;
    return true;
}

bool kb_limits_allow_file_name(const struct kb_limits *l, const char *name)
{
    return pass_all(&l->files_names, name, true);
}

bool kb_limits_allow_port(const struct kb_limits *l, const char *name)
{
    return pass_all(&l->ports, name, false);
}

bool kb_limits_open(const struct kb_limits *l, int64_t wall_ms, int64_t *left_ms)
{
    *left_ms = INT64_MAX;
    for (size_t i = 0; i < l->hours.count; i++) {
        int64_t left;
        if (!kb_hours_open(l->hours.lists[i], wall_ms, &left))
            return false;
        if (left < *left_ms)
            *left_ms = left;
    }
    return true;
}

static bool has_empty(const struct kb_names_lists *l)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->lists[i]->count == 0)
            return true;
    return false;
}

bool kb_limits_allow_channel(const struct kb_limits *l, unsigned channel_type)
{
    switch (channel_type) {
    case KB_CHANNEL_MAIN:
    case KB_CHANNEL_DISPLAY:
    case KB_CHANNEL_INPUTS:
    case KB_CHANNEL_TUNNEL: /* obsolete since SPICE 0.12: no server of today offers it */
        return true;
    case KB_CHANNEL_PORT:
        return !has_empty(&l->ports);
    case KB_CHANNEL_CURSOR:
        return l->cursor;
    case KB_CHANNEL_PLAYBACK:
        return l->sound;
    case KB_CHANNEL_RECORD:
        return l->microphone;
    case KB_CHANNEL_SMARTCARD:
        return l->smartcard;
    case KB_CHANNEL_USBREDIR:
        return l->usb;
    case KB_CHANNEL_WEBDAV:
        return l->folders != KB_FOLDERS_OFF;
    default:
        return false;
    }
}
