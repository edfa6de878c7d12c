/* Machines that announce themselves to a source of the type registered. HTTP threads, which wait
 * for the sources thread. */
#include "base/clock.h"
#include "http/access.h"
#include "http/route.h"
#include "http/server.h"
#include "http/text.h"

#define AGENT_MAX 64

/* Whether the asker may speak for this machine; else answered. */
static bool may_register(struct kb_request *r)
{
    const char *source = r->params[0], *name = r->params[1];
    if (kb_request_may_at(r, KB_MAY_REGISTER, source, name, name, NULL))
        return true;
    kb_reply_hidden(r, "source_not_found", "there is no such source");
    return false;
}

static void audit(struct kb_request *r, const char *event)
{
    struct kb_audit_event e;
    kb_request_audit_init(r, &e, event);
    kb_copy_str(e.source, sizeof e.source, r->params[0]);
    kb_copy_str(e.console, sizeof e.console, r->params[1]);
    kb_store_audit(r->store, &e);
}

static void reply_not(struct kb_request *r, const struct kb_source_lease *l)
{
    switch (l->answer) {
    case KB_LEASE_TAKEN:
        kb_reply_error(r, 409, "machine_taken", "%s until its lease ends", l->why);
        break;
    case KB_LEASE_FULL:
        kb_reply_error(r, 409, "source_full", "%s", l->why);
        break;
    case KB_LEASE_OTHER_TYPE:
        kb_reply_error(r, 409, "source_not_registered",
                       "the source is not of the type registered: no machine announces itself to "
                       "it");
        break;
    case KB_LEASE_REFUSED:
        kb_reply_error(r, 422, "invalid_machine", "the machine cannot be taken: %s", l->why);
        break;
    case KB_LEASE_NO_SOURCE:
        kb_reply_error(r, 404, "source_not_found", "there is no such source");
        break;
    case KB_LEASE_NOT_THERE:
        kb_reply_error(r, 404, "machine_not_found", "no such machine has a lease");
        break;
    case KB_LEASE_FAILED:
    default:
        kb_reply_header(r, "Retry-After", "5");
        kb_reply_error(r, 503, "source_failed", "the source cannot take it now: %s", l->why);
        break;
    }
}

void kb_api_machine_register(struct kb_request *r)
{
    struct kb_source_lease l = {.source = r->params[0],
                                .holder = r->asker.actor,
                                .agent = "",
                                .from = r->client_address,
                                .ms = KB_LEASE_MS};
    const char *ip = NULL, *host = NULL, *subject = NULL, *owner = NULL, *ticket = NULL;
    const struct kb_json_field fields[] = {
        {"hypervisor_ip", KB_JSON_TEXT, false, 253, &ip},
        {"hypervisor", KB_JSON_TEXT, false, 253, &host},
        {"insecure_port", KB_JSON_PORT, false, 0, &l.machine.insecure_port},
        {"secure_port", KB_JSON_PORT, false, 0, &l.machine.secure_port},
        {"ticket", KB_JSON_SECRET, false, 59, &ticket}, /* SPICE_MAX_PASSWORD_LENGTH less its NUL */
        {"host_subject", KB_JSON_TEXT, false, 1024, &subject},
        {"owner", KB_JSON_TEXT, false, 255, &owner},
        {"lease", KB_JSON_DURATION, false, 0, &l.ms},
        {"agent", KB_JSON_TEXT, false, AGENT_MAX, &l.agent},
    };
    if (!may_register(r) || !kb_request_read(r, fields, sizeof fields / sizeof *fields))
        return;
    if (!kb_text_is_name(r->params[1], 255)) {
        kb_reply_error(r, 422, "invalid_machine",
                       "a machine's name is a text of at most 255 bytes without control characters "
                       "and spaces at its ends");
        return;
    }
    l.machine.uuid = kb_strdup(r->params[1]);
    l.machine.hypervisor_ip = kb_strdup(ip);
    l.machine.hypervisor = kb_strdup(host);
    l.machine.host_subject = kb_strdup(subject);
    l.machine.owner = kb_strdup(owner);
    kb_secret_set(&l.machine.ticket, ticket);
    kb_source_register(r->http->sources, &l);
    if (l.answer == KB_LEASE_NEW)
        audit(r, "machine.registered");
    if (l.answer == KB_LEASE_NEW || l.answer == KB_LEASE_RENEWED)
        kb_reply_json(r, l.answer == KB_LEASE_NEW ? 201 : 200,
                      json_pack("{s:o, s:o, s:o, s:o}", "source", kb_json_text(r->params[0]),
                                "uuid", kb_json_text(r->params[1]), "lease",
                                kb_json_duration(l.granted), "expires_at",
                                kb_json_time(kb_clock_wall_ms() + l.granted)));
    else
        reply_not(r, &l);
    kb_source_lease_finish(&l);
}

/* An admin may end anybody's: the machine may be lost. */
void kb_api_machine_deregister(struct kb_request *r)
{
    const char *agent = kb_http_target_query(&r->target, "agent");
    if (!may_register(r))
        return;
    struct kb_source_lease l = {
        .source = r->params[0],
        .holder =
            kb_access_everywhere(&r->asker.principal, KB_MAY_MANAGE_USERS) ? NULL : r->asker.actor,
        .agent = agent ? agent : "",
        .machine.uuid = kb_strdup(r->params[1]),
    };
    kb_source_deregister(r->http->sources, &l);
    if (l.answer == KB_LEASE_ENDED) {
        audit(r, "machine.left");
        kb_reply_empty(r, 204);
    } else {
        reply_not(r, &l);
    }
    kb_source_lease_finish(&l);
}
