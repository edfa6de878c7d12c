/* Reads a console's record from JSON. What makes it unusable is said; what is merely odd (a number
 * as a text, null) is taken for what it means. Any thread. */
#include "source/record.h"

#include "base/mem.h"
#include "source/api.h"

#include <string.h>

#define NAME_MAX_BYTES 255
#define TICKET_MAX_BYTES 59 /* SPICE_MAX_PASSWORD_LENGTH (60) with its NUL */

/* A text, or a number as one: inventories give ids as either. */
static char *text_of(const json_t *record, const char *key)
{
    const json_t *v = json_object_get(record, key);
    if (json_is_integer(v))
        return kb_printf("%lld", (long long)json_integer_value(v));
    const char *text = json_string_value(v);
    return text && *text ? kb_strdup(text) : NULL;
}

const char *kb_record_check_uuid(const char *uuid)
{
    if (!uuid || !*uuid)
        return "it has no uuid";
    if (strlen(uuid) > NAME_MAX_BYTES)
        return "its uuid is longer than 255 bytes";
    for (const char *c = uuid; *c; c++)
        if (*c == '/' || (unsigned char)*c < 0x20 || *c == 0x7f)
            return "its uuid has a slash or a control character";
    return strcmp(uuid, ".") == 0 || strcmp(uuid, "..") == 0 ? "its uuid is . or .." : NULL;
}

static void read_texts(struct kb_console *c, const json_t *record)
{
    c->project = text_of(record, "project");
    c->owner = text_of(record, "owner");
    c->state = text_of(record, "state");
    c->hypervisor = text_of(record, "hypervisor");
    c->hypervisor_ip = text_of(record, "hypervisor_ip");
    c->unix_socket = text_of(record, "unix_socket");
    c->host_subject = text_of(record, "host_subject");
    c->insecure_port = kb_json_port(record, "insecure_port");
    c->secure_port = kb_json_port(record, "secure_port");
    c->transport = c->unix_socket ? KB_TRANSPORT_UNIX : KB_TRANSPORT_TCP;
}

static const char *check(const struct kb_console *c, const char *protocol, const char *ticket)
{
    if (c->unix_socket)
        return strlen(c->unix_socket) > 107 ? "its unix_socket is longer than 107 bytes" : NULL;
    if (!c->hypervisor && !c->hypervisor_ip)
        return "it has neither hypervisor_ip, hypervisor nor unix_socket";
    if (!c->insecure_port && !c->secure_port)
        return "it has neither insecure_port, secure_port nor unix_socket";
    if (protocol && strcmp(protocol, kb_protocol_name(c->protocol)) != 0)
        return "its protocol is none of spice, vnc, serial";
    return strlen(ticket) > TICKET_MAX_BYTES ? "its ticket is longer than 59 bytes" : NULL;
}

struct kb_console *kb_record_read(const struct kb_source_config *config, const json_t *record,
                                  bool local, const char **why)
{
    kb_auto_free char *uuid = text_of(record, "uuid"), *name = text_of(record, "name");
    *why = json_is_object(record) ? kb_record_check_uuid(uuid) : "it is no object";
    if (*why)
        return NULL;
    struct kb_console *c = kb_console_create(uuid, name ? name : uuid);
    read_texts(c, record);
    const char *protocol = kb_json_str(record, "protocol"), *ticket = kb_json_str(record, "ticket");
    if (protocol)
        kb_protocol_of(protocol, &c->protocol);
    *why = check(c, protocol, ticket ? ticket : "");
    if (!*why && c->unix_socket && !local)
        *why = "it names a unix_socket, which is this machine's alone to name";
    if (*why) {
        kb_console_destroy(c);
        return NULL;
    }
    c->target = kb_target_of(config, c);
    kb_secret_set(&c->target->ticket, ticket);
    return c;
}
