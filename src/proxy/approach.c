/* Connects to a hypervisor where its target says, proves who it is, and links with a client's
 * capabilities and the real ticket. Whoever asked is told once how it ended, and may be gone after
 * that. The loop's thread. */
#include "proxy/approach.h"

#include "base/mem.h"
#include "net/tls_context.h"
#include "proxy/reach.h"
#include "proxy/shard.h"
#include "source/source.h"
#include "spice/ticket.h"

/* --- link ------------------------------------------------------------------------------------- */

static void finish_link(struct kb_approach *a)
{
    struct kb_conn *conn = a->conn;
    a->conn = NULL;
    kb_timer_finish(&a->deadline);
    a->done(a->owner, conn);
}

/* False: it has failed, and the approach may be gone. */
static bool send_ticket(struct kb_approach *a)
{
    struct kb_buf out = {0};
    bool ok = kb_ticket_seal(&out, a->server_link.pubkey, kb_secret_text(&a->target->ticket));
    kb_conn_queue(a->conn, kb_buf_span(&out));
    kb_buf_finish(&out);
    if (!ok)
        a->failed(a->owner, KB_REASON_SERVER_LINK_MALFORMED,
                  "its key is no RSA-1024 key, or the ticket is longer than 59 characters");
    else if (!(ok = kb_conn_flush(a->conn)))
        a->failed(a->owner, KB_REASON_SERVER_LINK_CLOSED, a->conn->detail);
    return ok;
}

/* The hypervisor wants TLS for this channel: followed once. */
static bool redirect(struct kb_approach *a)
{
    if (a->tls || a->redirected || !kb_reach_may_redirect(a->target, a->server_link.reason))
        return false;
    kb_conn_destroy(a->conn);
    a->conn = NULL;
    kb_timer_finish(&a->deadline);
    a->redirected = true;
    kb_approach_begin(a);
    return true;
}

static void on_link_readable(struct kb_conn *c)
{
    struct kb_approach *a = c->owner;
    struct kb_server_link *link = &a->server_link;
    for (;;) {
        uint8_t bytes[KB_LINK_BODY_MAX];
        size_t want = kb_server_link_want(link), got;
        enum kb_io io = kb_conn_read(c, bytes, want < sizeof bytes ? want : sizeof bytes, &got);
        if (io == KB_IO_AGAIN)
            return;
        if (io != KB_IO_OK) {
            a->failed(a->owner, KB_REASON_SERVER_LINK_CLOSED, io == KB_IO_ERROR ? c->detail : NULL);
            return;
        }
        switch (kb_server_link_feed(link, kb_span(bytes, got))) {
        case KB_LINK_MORE:
        case KB_LINK_TICKET:
            break;
        case KB_LINK_GOT:
            if (!send_ticket(a))
                return;
            break;
        case KB_LINK_DONE:
            finish_link(a);
            return;
        case KB_LINK_FAILED:
            if (!redirect(a))
                a->failed(a->owner, link->reason, NULL);
            return;
        }
    }
}

static void on_link_failed(struct kb_conn *c)
{
    struct kb_approach *a = c->owner;
    a->failed(a->owner, KB_REASON_SERVER_LINK_CLOSED, c->detail);
}

static void start_link(struct kb_approach *a)
{
    kb_server_link_init(&a->server_link);
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    kb_server_link_hello(&out, a->link);
    kb_conn_queue(a->conn, kb_buf_span(&out));
    kb_conn_want_read(a->conn, true);
    if (!kb_conn_flush(a->conn))
        on_link_failed(a->conn);
}

/* --- TLS: who is it? -------------------------------------------------------------------------- */

static void on_tls_ready(struct kb_conn *c)
{
    struct kb_approach *a = c->owner;
    kb_auto(kb_buf_finish) struct kb_buf detail = {0};
    enum kb_reason reason = kb_reach_check(a->target, SSL_get0_peer_certificate(c->ssl), &detail);
    if (reason == KB_REASON_NONE) {
        start_link(a);
        return;
    }
    kb_buf_add(&detail, "", 1);
    a->failed(a->owner, reason, (char *)detail.data);
}

static void on_tls_failed(struct kb_conn *c)
{
    struct kb_approach *a = c->owner;
    a->failed(a->owner,
              c->verify_result != X509_V_OK ? KB_REASON_SERVER_CERTIFICATE
                                            : KB_REASON_SERVER_TLS_FAILED,
              c->detail);
}

static void start_tls(struct kb_approach *a)
{
    kb_auto_free char *error = NULL;
    SSL_CTX *ctx = kb_tls_client_get(a->target->ca_pem, &error);
    if (!ctx) {
        a->failed(a->owner, KB_REASON_SERVER_CERTIFICATE, error);
        return;
    }
    kb_conn_connect_tls(a->conn, ctx, kb_reach_sni(a->target));
    SSL_CTX_free(ctx);
}

/* --- connect ---------------------------------------------------------------------------------- */

/* Before TLS is up a failure is TLS's, after that the link's. */
static void on_failed(struct kb_conn *c)
{
    if (c->ssl && !SSL_is_init_finished(c->ssl))
        on_tls_failed(c);
    else
        on_link_failed(c);
}

static void ignore(struct kb_conn *c)
{
    (void)c;
}

static void on_deadline(void *arg)
{
    struct kb_approach *a = arg;
    a->failed(a->owner, KB_REASON_SERVER_LINK_TIMEOUT, NULL);
}

void kb_approach_take(struct kb_approach *a, struct kb_conn *conn)
{
    static const struct kb_conn_events events = {on_tls_ready, on_link_readable, ignore, on_failed};
    a->conn = conn;
    kb_conn_set_owner(conn, &events, a);
    kb_timer_start(a->shard->loop, &a->deadline, kb_proxy_options_now(a->shard->proxy).link_ms, 0,
                   on_deadline, a);
    if (a->connected)
        a->connected(a->owner);
    if (a->tls)
        start_tls(a);
    else
        start_link(a);
}

static void on_dialled(void *arg, const struct kb_dial_result *r)
{
    struct kb_approach *a = arg;
    a->dial = NULL;
    if (r->conn)
        kb_approach_take(a, r->conn);
    else
        a->failed(a->owner, r->reason, r->detail);
}

void kb_approach_begin(struct kb_approach *a)
{
    struct kb_proxy *p = a->shard->proxy;
    enum kb_reason reason;
    const char *detail;
    a->tls = a->redirected || kb_reach_begins_with_tls(a->target);
    a->dial = kb_reach_dial(a->target, a->tls, a->shard->loop, &p->resolver,
                            kb_proxy_options_now(p).connect_ms, on_dialled, a, &reason, &detail);
    if (!a->dial)
        a->failed(a->owner, reason, detail);
    else if (a->small)
        kb_dial_begin_small(a->dial);
}

void kb_approach_finish(struct kb_approach *a)
{
    kb_dial_cancel(a->dial);
    a->dial = NULL;
    kb_timer_finish(&a->deadline);
    kb_conn_close(a->conn);
    a->conn = NULL;
}
