/* A route that upstream Kerbside has and that goes around grants: the .vv of the hypervisor itself,
 * for admins. Threads for slow work: the source may have to ask its cloud. */
#include "http/access.h"
#include "http/route.h"
#include "http/server.h"
#include "http/vv_file.h"

static void audit_direct(struct kb_request *r, const struct kb_target *t)
{
    struct kb_audit_event e;
    kb_request_audit_init(r, &e, "console.direct");
    kb_copy_str(e.source, sizeof e.source, t->source);
    kb_copy_str(e.console, sizeof e.console, t->uuid);
    kb_copy_str(e.console_name, sizeof e.console_name, t->name);
    kb_copy_str(e.detail, sizeof e.detail, "the hypervisor's address and ticket were given out");
    kb_store_audit(r->store, &e);
}

static void reply_direct(struct kb_request *r, const struct kb_target *t)
{
    bool tls = t->tls != KB_TLS_PLAIN && t->tls_port;
    struct kb_vv_file v = {
        .host = t->host,
        .tls_port = tls ? t->tls_port : 0,
        .plain_port = t->tls == KB_TLS_REQUIRE ? 0 : t->port,
        .password = kb_secret_text(&t->ticket),
        .title = t->name,
        .ca_pem = tls ? t->ca_pem : NULL,
        .host_subject = tls ? t->host_subject : NULL,
        .usbredir = true,
        .usb_autoshare = true,
        .smartcard = true,
    };
    kb_auto(kb_buf_finish) struct kb_buf disposition = {0};
    kb_vv_disposition(t->name, &disposition);
    kb_reply_text(r, 200, KB_VV_CONTENT_TYPE, "");
    if (r->head)
        return;
    kb_vv_file_write(&v, &r->out);
    kb_reply_header(r, "Content-Disposition", "%.*s", (int)disposition.len,
                    (const char *)disposition.data);
    audit_direct(r, t);
}

static void open_direct(struct kb_request *r)
{
    struct kb_target *t;
    enum kb_reason reason = kb_source_open_now(r->http->sources, r->params[0], r->params[1], &t);
    if (reason == KB_REASON_CONSOLE_GONE)
        kb_reply_error(r, 404, "console_not_found", "there is no such console");
    else if (reason != KB_REASON_NONE)
        kb_reply_error(r, 503, kb_reason_name(reason), "%s", kb_reason_text(reason));
    else if (t->transport != KB_TRANSPORT_TCP)
        kb_reply_error(r, 409, "console_not_direct",
                       "the console has no address that a viewer could be told");
    else
        reply_direct(r, t);
    kb_target_unref(t);
}

void kb_api_console_direct(struct kb_request *r)
{
    if (kb_request_need_on(r, KB_MAY_OPEN_DIRECT, r->params[0], r->params[1], false))
        kb_request_defer(r, open_direct); /* its cloud may be slow */
}
