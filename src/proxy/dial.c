/* States DIAL and SERVER_LINK: reach the hypervisor as the source says, prove who it is, link with
 * the client's capabilities and the real ticket, and only then tell the client the result. The
 * loop's thread. */
#include "net/dialer.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/tls_context.h"
#include "proxy/channel.h"
#include "proxy/gate.h"
#include "proxy/reach.h"
#include "proxy/session_state.h"
#include "source/source.h"

#include <stdlib.h>

static void dial(struct kb_channel *ch);

/* --- link ------------------------------------------------------------------------------------- */

static void finish_link(struct kb_channel *ch)
{
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    kb_link_result(&out, KB_LINK_OK);
    kb_conn_queue(ch->client.conn, kb_buf_span(&out));
    if (!kb_conn_flush(ch->client.conn))
        kb_channel_close(ch, KB_REASON_CLIENT_LOST, ch->client.conn->detail);
    else
        kb_channel_relay(ch);
}

static void send_ticket(struct kb_channel *ch)
{
    struct kb_buf out = {0};
    bool ok = kb_ticket_seal(&out, ch->setup->server_link.pubkey,
                             kb_secret_text(&ch->setup->target->ticket));
    kb_conn_queue(ch->server.conn, kb_buf_span(&out));
    kb_buf_finish(&out);
    if (!ok)
        kb_channel_close(ch, KB_REASON_SERVER_LINK_MALFORMED,
                         "its key is no RSA-1024 key, or the ticket is longer than 59 characters");
    else if (!kb_conn_flush(ch->server.conn))
        kb_channel_close(ch, KB_REASON_SERVER_LINK_CLOSED, ch->server.conn->detail);
}

/* The hypervisor wants TLS for this channel: followed once. */
static bool redirect(struct kb_channel *ch)
{
    struct kb_setup *setup = ch->setup;
    if (setup->tls || setup->redirected ||
        !kb_reach_may_redirect(setup->target, setup->server_link.reason))
        return false;
    kb_conn_destroy(ch->server.conn);
    ch->server.conn = NULL;
    setup->tls = setup->redirected = true;
    dial(ch);
    return true;
}

static void on_link_readable(struct kb_conn *c)
{
    struct kb_channel *ch = c->owner;
    while (ch->state == KB_STATE_SERVER_LINK && ch->server.conn == c) {
        struct kb_server_link *link = &ch->setup->server_link;
        uint8_t bytes[KB_LINK_BODY_MAX];
        size_t want = kb_server_link_want(link), got;
        enum kb_io io = kb_conn_read(c, bytes, want < sizeof bytes ? want : sizeof bytes, &got);
        if (io == KB_IO_AGAIN)
            return;
        if (io != KB_IO_OK) {
            kb_channel_close(ch, KB_REASON_SERVER_LINK_CLOSED,
                             io == KB_IO_ERROR ? c->detail : NULL);
            return;
        }
        switch (kb_server_link_feed(link, kb_span(bytes, got))) {
        case KB_LINK_MORE:
        case KB_LINK_TICKET:
            break;
        case KB_LINK_GOT:
            send_ticket(ch);
            break;
        case KB_LINK_DONE:
            finish_link(ch);
            return;
        case KB_LINK_FAILED:
            if (!redirect(ch))
                kb_channel_close(ch, link->reason, NULL);
            return;
        }
    }
}

static void on_link_failed(struct kb_conn *c)
{
    kb_channel_close(c->owner, KB_REASON_SERVER_LINK_CLOSED, c->detail);
}

static void start_link(struct kb_channel *ch)
{
    struct kb_setup *setup = ch->setup;
    kb_server_link_init(&setup->server_link);
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    kb_server_link_hello(&out, &setup->client_link.link);
    kb_conn_queue(ch->server.conn, kb_buf_span(&out));
    kb_conn_want_read(ch->server.conn, true);
    if (!kb_conn_flush(ch->server.conn))
        kb_channel_close(ch, KB_REASON_SERVER_LINK_CLOSED, ch->server.conn->detail);
}

/* --- TLS: who is it? -------------------------------------------------------------------------- */

static void on_tls_ready(struct kb_conn *c)
{
    struct kb_channel *ch = c->owner;
    kb_auto(kb_buf_finish) struct kb_buf detail = {0};
    enum kb_reason reason =
        kb_reach_check(ch->setup->target, SSL_get0_peer_certificate(c->ssl), &detail);
    if (reason != KB_REASON_NONE) {
        kb_buf_add(&detail, "", 1);
        kb_channel_close(ch, reason, (char *)detail.data);
        return;
    }
    start_link(ch);
}

static void on_tls_failed(struct kb_conn *c)
{
    kb_channel_close(c->owner,
                     c->verify_result != X509_V_OK ? KB_REASON_SERVER_CERTIFICATE
                                                   : KB_REASON_SERVER_TLS_FAILED,
                     c->detail);
}

static void start_tls(struct kb_channel *ch)
{
    const struct kb_target *t = ch->setup->target;
    kb_auto_free char *error = NULL;
    SSL_CTX *ctx = kb_tls_client_get(t->ca_pem, &error);
    if (!ctx) {
        kb_channel_close(ch, KB_REASON_SERVER_CERTIFICATE, error);
        return;
    }
    kb_conn_connect_tls(ch->server.conn, ctx, kb_reach_sni(t));
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

static void on_dialled(void *arg, const struct kb_dial_result *r)
{
    struct kb_channel *ch = arg;
    ch->setup->dial = NULL;
    if (r->conn)
        kb_channel_connected(ch, r->conn);
    else
        kb_channel_close(ch, r->reason, r->detail);
}

void kb_channel_connected(struct kb_channel *ch, struct kb_conn *conn)
{
    static const struct kb_conn_events events = {on_tls_ready, on_link_readable, ignore, on_failed};
    ch->server.conn = conn;
    kb_conn_set_owner(conn, &events, ch);
    kb_channel_enter(ch, KB_STATE_SERVER_LINK);
    if (ch->setup->tls)
        start_tls(ch);
    else
        start_link(ch);
}

static void dial(struct kb_channel *ch)
{
    struct kb_setup *setup = ch->setup;
    struct kb_proxy *p = ch->shard->proxy;
    const struct kb_target *t = setup->target;
    uint64_t each_ms = kb_proxy_options_now(p).connect_ms;
    enum kb_reason reason;
    const char *detail;
    kb_channel_enter(ch, KB_STATE_DIAL);
    if (t->transport == KB_TRANSPORT_SOURCE) {
        kb_channel_ask_source(ch);
        return;
    }
    setup->dial = kb_reach_dial(t, setup->tls, ch->shard->loop, &p->resolver, each_ms, on_dialled,
                                ch, &reason, &detail);
    if (!setup->dial)
        kb_channel_close(ch, reason, detail);
    else if (kb_gate_begins_small(ch))
        kb_dial_begin_small(setup->dial);
}

void kb_channel_dial(struct kb_channel *ch)
{
    ch->setup->target = ch->session->target;
    ch->setup->tls = kb_reach_begins_with_tls(ch->setup->target);
    dial(ch);
}
