/* Writes OpenNebula's calls and reads its answers. Any thread. */
#include "source/one_rpc.h"

#include "base/buf.h"
#include "base/mem.h"

#include <string.h>
#include <strings.h>

#define STATE_ACTIVE 3

/* --- calls ------------------------------------------------------------------------------------ */

/* Text as XML holds it; what XML cannot hold (controls) is left out, and the cloud will not know
 * such a name. To be wiped and freed. */
static char *escape(const char *text)
{
    size_t size = strlen(text) * 5 + 1; /* at once, so that growing leaves no copy */
    char *escaped = kb_zalloc(size), *to = escaped;
    for (; *text; text++) {
        const char *with = *text == '&'   ? "&amp;"
                           : *text == '<' ? "&lt;"
                           : *text == '>' ? "&gt;"
                                          : NULL;
        if (with)
            to = stpcpy(to, with);
        else if ((unsigned char)*text >= 0x20 || *text == '\t')
            *to++ = *text;
    }
    return escaped;
}

struct kb_secret kb_one_call(const char *method, const char *session, const int *numbers,
                             size_t count)
{
    kb_auto(kb_secret_finish) struct kb_secret escaped = {escape(session)};
    kb_auto(kb_buf_finish) struct kb_buf more = {0};
    for (size_t i = 0; i < count; i++)
        kb_buf_printf(&more, "<param><value><i4>%d</i4></value></param>", numbers[i]);
    return (struct kb_secret){
        kb_printf("<?xml version=\"1.0\"?><methodCall><methodName>%s</methodName><params>"
                  "<param><value><string>%s</string></value></param>%.*s</params></methodCall>",
                  method, escaped.text, (int)more.len, more.len ? (const char *)more.data : "")};
}

/* --- answers ---------------------------------------------------------------------------------- */

/* A value's text, whatever its type says; without a type it is a text. */
static char *value_text(const xmlNode *value)
{
    static const char *const types[] = {"string", "boolean", "int", "i4", "i8"};
    const xmlNode *typed = NULL;
    for (size_t i = 0; !typed && i < sizeof types / sizeof types[0]; i++)
        typed = kb_xml_child(value, types[i]);
    return kb_xml_text(typed ? typed : value);
}

static int64_t value_number(const xmlNode *value)
{
    int64_t n = kb_xml_number_of(value, "int", INT32_MIN, INT32_MAX, 0);
    return n ? n : kb_xml_number_of(value, "i4", INT32_MIN, INT32_MAX, 0);
}

/* {faultCode, faultString} */
static bool read_fault(const xmlNode *fault, struct kb_one_answer *a)
{
    const xmlNode *value = kb_xml_child(fault, "value"), *s = kb_xml_child(value, "struct");
    for (const xmlNode *m = kb_xml_child(s, "member"); m; m = kb_xml_next(m, "member")) {
        kb_auto_free char *name = kb_xml_text_of(m, "name");
        const xmlNode *is = kb_xml_child(m, "value");
        if (name && strcmp(name, "faultCode") == 0) {
            a->code = value_number(is);
        } else if (name && strcmp(name, "faultString") == 0) {
            kb_secret_finish(&a->text);
            a->text.text = value_text(is);
        }
    }
    return a->text.text != NULL;
}

bool kb_one_answer_read(const void *data, size_t len, struct kb_one_answer *a)
{
    kb_auto(kb_xml_finish) xmlDoc *doc = kb_xml_parse(data, len);
    const xmlNode *root = kb_xml_root(doc, "methodResponse");
    const xmlNode *fault = kb_xml_child(root, "fault");
    *a = (struct kb_one_answer){0};
    if (fault)
        return read_fault(fault, a);
    const xmlNode *param = kb_xml_child(kb_xml_child(root, "params"), "param");
    const xmlNode *array = kb_xml_child(kb_xml_child(param, "value"), "array");
    const xmlNode *good = kb_xml_child(kb_xml_child(array, "data"), "value");
    const xmlNode *text = kb_xml_next(good, "value"), *code = kb_xml_next(text, "value");
    kb_auto_free char *word = kb_xml_text_of(good, "boolean");
    if (!word || !text)
        return false;
    a->ok = strcmp(word, "1") == 0;
    a->text.text = value_text(text);
    a->code = a->ok ? 0 : value_number(code);
    return true;
}

void kb_one_answer_finish(struct kb_one_answer *a)
{
    kb_secret_finish(&a->text);
}

/* --- machines --------------------------------------------------------------------------------- */

/* The states of an active machine in which it has a display; NULL for all others. */
static const char *state_name(int64_t lcm)
{
    static const char *const names[] = {
        [3] = "RUNNING",
        [4] = "MIGRATE",
        [12] = "SHUTDOWN",
        [16] = "UNKNOWN",
        [17] = "HOTPLUG",
        [18] = "SHUTDOWN_POWEROFF",
        [24] = "HOTPLUG_SNAPSHOT",
        [25] = "HOTPLUG_NIC",
        [26] = "HOTPLUG_SAVEAS",
        [27] = "HOTPLUG_SAVEAS_POWEROFF",
        [28] = "HOTPLUG_SAVEAS_SUSPENDED",
        [29] = "SHUTDOWN_UNDEPLOY",
        [57] = "DISK_SNAPSHOT",
        [58] = "DISK_SNAPSHOT_REVERT",
        [59] = "DISK_SNAPSHOT_DELETE",
        [62] = "DISK_RESIZE",
        [66] = "HOTPLUG_RESIZE",
        [69] = "BACKUP",
    };
    return lcm >= 0 && lcm < (int64_t)(sizeof names / sizeof names[0]) ? names[lcm] : NULL;
}

static bool is_any_address(const char *listen)
{
    return strcmp(listen, "") == 0 || strcmp(listen, "0.0.0.0") == 0 || strcmp(listen, "::") == 0;
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcasecmp(host, "localhost") == 0;
}

/* Where it runs: the host of the last record of its history. To be freed. */
static char *host_of(const xmlNode *vm)
{
    const xmlNode *last = NULL;
    int64_t newest = -1;
    const xmlNode *h = kb_xml_child(kb_xml_child(vm, "HISTORY_RECORDS"), "HISTORY");
    for (; h; h = kb_xml_next(h, "HISTORY")) {
        int64_t seq = kb_xml_number_of(h, "SEQ", 0, INT32_MAX, 0);
        last = seq >= newest ? h : last;
        newest = seq >= newest ? seq : newest;
    }
    char *host = kb_xml_text_of(last, "HOSTNAME");
    if (host && *host)
        return host;
    free(host);
    return NULL;
}

/* A display that listens on one address is reached there; one that listens on all of them at the
 * host's name. */
static void place(struct kb_one_vm *v, const xmlNode *graphics, const char *host)
{
    struct kb_console *c = v->console;
    kb_auto_free char *listen = kb_xml_text_of(graphics, "LISTEN");
    c->hypervisor = kb_strdup(host);
    if (!listen || is_any_address(listen))
        return;
    if (!is_loopback(listen))
        c->hypervisor_ip = kb_strdup(listen);
    else
        v->unreachable = !is_loopback(host);
}

void kb_one_vm_read(const xmlNode *vm, struct kb_one_vm *v)
{
    *v = (struct kb_one_vm){0};
    kb_auto_free char *id = kb_xml_text_of(vm, "ID");
    size_t len = id ? strlen(id) : 0;
    if (!len || len > 18 || strspn(id, "0123456789") != len)
        return;
    v->id = kb_strdup(id);
    const xmlNode *graphics = kb_xml_child(kb_xml_child(vm, "TEMPLATE"), "GRAPHICS");
    const char *state = state_name(kb_xml_number_of(vm, "LCM_STATE", 0, INT32_MAX, -1));
    kb_auto_free char *type = kb_xml_text_of(graphics, "TYPE"), *host = host_of(vm);
    uint16_t port = (uint16_t)kb_xml_number_of(graphics, "PORT", 1, UINT16_MAX, 0);
    if (kb_xml_number_of(vm, "STATE", 0, INT32_MAX, -1) != STATE_ACTIVE || !state || !type ||
        strcasecmp(type, "spice") != 0 || !host || !port)
        return;
    kb_auto_free char *name = kb_xml_text_of(vm, "NAME");
    struct kb_console *c = v->console = kb_console_create(id, name && *name ? name : id);
    c->owner = kb_xml_text_of(vm, "UNAME");
    c->project = kb_xml_text_of(vm, "GNAME");
    c->state = kb_strdup(state);
    c->insecure_port = port;
    place(v, graphics, host);
    v->ticket.text = kb_xml_text_of(graphics, "PASSWD");
}

void kb_one_vm_finish(struct kb_one_vm *v)
{
    free(v->id);
    kb_console_destroy(v->console);
    kb_secret_finish(&v->ticket);
    *v = (struct kb_one_vm){0};
}
