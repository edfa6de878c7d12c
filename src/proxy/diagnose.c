/* diagnose.h: a dial and a link of their own, by the same dialler, the same rules and the same
 * link machine as a channel's. Called on an HTTP thread; all else on a loop's thread.
 *
 * The ticket is proved without a session. spice-server looks at the ticket before it looks at
 * the connection id and the channel (reds.cpp 0.15.1: reds_handle_ticket, then
 * reds_handle_other_links), so a link for inputs:0, which every server has, with a connection id
 * that it never gave, is answered PERMISSION_DENIED for a wrong ticket and BAD_CONNECTION_ID for
 * a good one. A main link would do harm: it throws out whoever is connected. */
#include "proxy/diagnose.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/dialer.h"
#include "net/tls_context.h"
#include "proxy/reach.h"
#include "proxy/shard.h"
#include "spice/link.h"
#include "spice/ticket.h"

#include <spice/protocol.h>
#include <stdlib.h>

struct diagnosis {
    struct kb_message message;
    struct kb_source_open open;
    struct kb_shard *shard;
    struct kb_diagnosis *out;
    struct kb_latch *latch;
    struct kb_target *target;
    struct kb_conn *conn;
    struct kb_timer deadline;
    struct kb_server_link link;
    enum kb_hop hop; /* under way */
    uint64_t step_us;
    bool tls, redirected;
};

static void dial(struct diagnosis *d);

/* --- the hops -----------------------------------------------------------------------------------
 */

/* All is said; the HTTP thread, and the memory that it lent, may go on. */
static void end(struct diagnosis *d)
{
    kb_timer_finish(&d->deadline);
    kb_conn_destroy(d->conn);
    d->conn = NULL;
    kb_target_unref(d->target);
    d->target = NULL;
    kb_wipe(&d->link, sizeof d->link);
    kb_latch_count_down(d->latch);
}

static void note(struct diagnosis *d, enum kb_hop hop, enum kb_hop_result result, uint64_t us,
                 const char *detail)
{
    struct kb_hop_view *h = &d->out->hops[hop];
    *h = (struct kb_hop_view){.result = result, .us = us};
    kb_copy_str(h->detail, sizeof h->detail, detail ? detail : "");
}

static uint64_t lap(struct diagnosis *d)
{
    uint64_t now = kb_clock_us(), us = now - d->step_us;
    d->step_us = now;
    return us;
}

static void done(struct diagnosis *d, const char *detail, enum kb_hop next)
{
    note(d, d->hop, KB_HOP_OK, lap(d), detail);
    d->hop = next;
}

static void fail(struct diagnosis *d, enum kb_reason reason, const char *detail)
{
    note(d, d->hop, KB_HOP_FAILED, lap(d), detail);
    d->out->hops[d->hop].reason = reason;
    end(d);
}

static void on_deadline(void *arg)
{
    struct diagnosis *d = arg;
    fail(d, KB_REASON_SERVER_LINK_TIMEOUT, NULL);
}

/* --- link and ticket ----------------------------------------------------------------------------
 */

static void start_link(struct diagnosis *d)
{
    struct kb_link hello = {.channel_type = KB_CHANNEL_INPUTS};
    hello.caps.common_words = 1;
    hello.caps.common[0] =
        1u << SPICE_COMMON_CAP_PROTOCOL_AUTH_SELECTION | 1u << SPICE_COMMON_CAP_MINI_HEADER;
    do /* by chance alone the id of a live session */
        kb_random(&hello.connection_id, sizeof hello.connection_id);
    while (hello.connection_id == 0);
    kb_server_link_init(&d->link);
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    kb_server_link_hello(&out, &hello);
    kb_conn_queue(d->conn, kb_buf_span(&out));
    kb_conn_want_read(d->conn, true);
    if (!kb_conn_flush(d->conn))
        fail(d, KB_REASON_SERVER_LINK_CLOSED, d->conn->detail);
}

static bool send_ticket(struct diagnosis *d)
{
    done(d, NULL, KB_HOP_TICKET);
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    if (!kb_ticket_seal(&out, d->link.pubkey, kb_secret_text(&d->target->ticket))) {
        fail(d, KB_REASON_SERVER_LINK_MALFORMED,
             "its key is no RSA-1024 key, or the ticket is longer than 59 characters");
        return false;
    }
    kb_conn_queue(d->conn, kb_buf_span(&out));
    if (kb_conn_flush(d->conn))
        return true;
    fail(d, KB_REASON_SERVER_LINK_CLOSED, d->conn->detail);
    return false;
}

/* What the server says to a ticket that it accepts, for a session that it does not know. */
static bool proves_ticket(enum kb_reason reason)
{
    return reason == KB_REASON_SERVER_CONNECTION_ID || reason == KB_REASON_SERVER_NO_CHANNEL;
}

static void link_failed(struct diagnosis *d)
{
    enum kb_reason reason = d->link.reason;
    if (d->hop == KB_HOP_TICKET && proves_ticket(reason)) {
        done(d, "accepted", KB_HOPS);
        end(d);
    } else if (!d->tls && !d->redirected && kb_reach_may_redirect(d->target, reason)) {
        kb_conn_destroy(d->conn);
        d->conn = NULL;
        d->tls = d->redirected = true;
        dial(d);
    } else {
        fail(d, reason, NULL);
    }
}

static void on_readable(struct kb_conn *c)
{
    struct diagnosis *d = c->owner;
    for (;;) {
        uint8_t bytes[KB_LINK_BODY_MAX];
        size_t want = kb_server_link_want(&d->link), got;
        enum kb_io io = kb_conn_read(c, bytes, want < sizeof bytes ? want : sizeof bytes, &got);
        if (io == KB_IO_AGAIN)
            return;
        if (io != KB_IO_OK) {
            fail(d, KB_REASON_SERVER_LINK_CLOSED, io == KB_IO_ERROR ? c->detail : NULL);
            return;
        }
        switch (kb_server_link_feed(&d->link, kb_span(bytes, got))) {
        case KB_LINK_MORE:
        case KB_LINK_TICKET:
            break;
        case KB_LINK_GOT:
            if (!send_ticket(d))
                return;
            break;
        case KB_LINK_DONE:
            done(d, "accepted", KB_HOPS);
            end(d);
            return;
        case KB_LINK_FAILED:
            link_failed(d);
            return;
        }
    }
}

/* --- TLS ----------------------------------------------------------------------------------------
 */

static void on_tls_ready(struct kb_conn *c)
{
    struct diagnosis *d = c->owner;
    kb_auto_free char *text =
        kb_printf("%s, %s", SSL_get_version(c->ssl), SSL_get_cipher_name(c->ssl));
    done(d, text, KB_HOP_IDENTITY);
    kb_auto(kb_buf_finish) struct kb_buf detail = {0};
    enum kb_reason reason = kb_reach_check(d->target, SSL_get0_peer_certificate(c->ssl), &detail);
    kb_buf_add(&detail, "", 1);
    if (reason != KB_REASON_NONE) {
        fail(d, reason, (const char *)detail.data);
        return;
    }
    done(d, d->target->host_subject ? "the pinned subject" : "the host's name", KB_HOP_LINK);
    start_link(d);
}

static void on_failed(struct kb_conn *c)
{
    struct diagnosis *d = c->owner;
    if (!c->ssl || SSL_is_init_finished(c->ssl)) {
        fail(d, KB_REASON_SERVER_LINK_CLOSED, c->detail);
    } else if (c->verify_result != X509_V_OK) {
        /* The handshake went well as far as the certificate, which is what failed. */
        done(d, NULL, KB_HOP_IDENTITY);
        fail(d, KB_REASON_SERVER_CERTIFICATE, c->detail);
    } else {
        fail(d, KB_REASON_SERVER_TLS_FAILED, c->detail);
    }
}

static void start_tls(struct diagnosis *d)
{
    const struct kb_target *t = d->target;
    kb_auto_free char *error = NULL;
    SSL_CTX *ctx = kb_tls_client_get(t->ca_pem, &error);
    if (!ctx) {
        fail(d, KB_REASON_SERVER_CERTIFICATE, error);
        return;
    }
    d->conn->fresh = true;
    kb_conn_connect_tls(d->conn, ctx, kb_reach_sni(t));
    SSL_CTX_free(ctx);
}

/* --- connect ------------------------------------------------------------------------------------
 */

static void ignore(struct kb_conn *c)
{
    (void)c;
}

static void on_dialled(void *arg, const struct kb_dial_result *r);

static void on_source_connected(struct kb_source_open *o)
{
    struct diagnosis *d =
        (struct diagnosis *)(void *)((char *)o - offsetof(struct diagnosis, open));
    if (o->reason != KB_REASON_NONE) {
        fail(d, o->reason, *o->detail ? o->detail : NULL);
        return;
    }
    struct kb_dial_result r = {.conn = kb_conn_create(d->shard->loop, o->fd, NULL, NULL)};
    on_dialled(d, &r);
}

static void ask_source(struct diagnosis *d)
{
    d->open.done = on_source_connected;
    kb_source_connect(d->shard->proxy->sources, &d->open);
}

static void on_dialled(void *arg, const struct kb_dial_result *r)
{
    static const struct kb_conn_events events = {on_tls_ready, on_readable, ignore, on_failed};
    struct diagnosis *d = arg;
    if (d->hop == KB_HOP_RESOLVE) {
        if (r->reason == KB_REASON_RESOLVE_FAILED) {
            fail(d, r->reason, r->detail);
            return;
        }
        note(d, KB_HOP_RESOLVE, KB_HOP_OK, r->resolve_us, NULL);
        d->step_us += r->resolve_us;
        d->hop = KB_HOP_CONNECT;
    }
    if (!r->conn) {
        fail(d, r->reason, r->detail);
        return;
    }
    d->conn = r->conn;
    kb_conn_set_owner(r->conn, &events, d);
    kb_auto_free char *peer =
        d->target->unix_socket ? kb_strdup(d->target->unix_socket)
        : d->target->transport == KB_TRANSPORT_CONNECT
            ? kb_printf("through the proxy %s port %u", r->conn->peer, r->conn->peer_port)
            : kb_printf("%s port %u", r->conn->peer, r->conn->peer_port);
    done(d, peer, d->tls ? KB_HOP_TLS : KB_HOP_LINK);
    struct kb_proxy_options o = kb_proxy_options_now(d->shard->proxy);
    kb_timer_start(d->shard->loop, &d->deadline, o.link_ms, 0, on_deadline, d);
    if (d->tls)
        start_tls(d);
    else
        start_link(d);
}

static void dial(struct diagnosis *d)
{
    const struct kb_target *t = d->target;
    struct kb_proxy *p = d->shard->proxy;
    uint64_t each_ms = kb_proxy_options_now(p).connect_ms;
    kb_timer_finish(&d->deadline);
    d->step_us = kb_clock_us();
    if (!d->tls) {
        const char *why = t->unix_socket ? "a unix socket never leaves the machine"
                          : t->transport == KB_TRANSPORT_SOURCE ? "the source makes the connection"
                          : t->tls == KB_TLS_PLAIN              ? "the source says plain"
                                                   : "the source prefers TLS but has no CA for it";
        note(d, KB_HOP_TLS, KB_HOP_NOT_NEEDED, 0, why);
        note(d, KB_HOP_IDENTITY, KB_HOP_NOT_NEEDED, 0, "nothing proves who answers without TLS");
    } else {
        note(d, KB_HOP_TLS, KB_HOP_UNTRIED, 0, NULL);
        note(d, KB_HOP_IDENTITY, KB_HOP_UNTRIED, 0, NULL);
        note(d, KB_HOP_LINK, KB_HOP_UNTRIED, 0, NULL);
    }
    const char *dialled = t->transport == KB_TRANSPORT_CONNECT ? t->proxy_host : t->host;
    bool named = dialled && !kb_reach_is_address(dialled);
    d->hop = named ? KB_HOP_RESOLVE : KB_HOP_CONNECT;
    if (!named)
        note(d, KB_HOP_RESOLVE, KB_HOP_NOT_NEEDED, 0, dialled ? "it is an address" : "no name");
    if (t->transport == KB_TRANSPORT_SOURCE) {
        ask_source(d);
        return;
    }
    enum kb_reason reason;
    const char *detail;
    if (!kb_reach_dial(t, d->tls, d->shard->loop, &p->resolver, each_ms, on_dialled, d, &reason,
                       &detail)) {
        d->hop = KB_HOP_CONNECT;
        fail(d, reason, detail);
    }
}

/* --- the source ---------------------------------------------------------------------------------
 */

static void on_opened(struct kb_source_open *o)
{
    struct diagnosis *d =
        (struct diagnosis *)(void *)((char *)o - offsetof(struct diagnosis, open));
    if (o->reason != KB_REASON_NONE) {
        fail(d, o->reason, *o->detail ? o->detail : NULL);
        return;
    }
    d->target = o->target;
    done(d, NULL, KB_HOP_RESOLVE);
    d->tls = kb_reach_begins_with_tls(d->target);
    dial(d);
}

static void begin(struct kb_message *m)
{
    struct diagnosis *d = (struct diagnosis *)m;
    d->step_us = kb_clock_us();
    d->open.reply_to = &d->shard->loop->box;
    d->open.done = on_opened;
    kb_source_open(d->shard->proxy->sources, &d->open);
}

void kb_proxy_diagnose(struct kb_proxy *p, const char *source, const char *uuid,
                       struct kb_diagnosis *out)
{
    struct kb_latch latch;
    kb_latch_init(&latch, 1);
    *out = (struct kb_diagnosis){0};
    struct diagnosis d = {
        .message.run = begin,
        .shard = &p->shards[0],
        .out = out,
        .latch = &latch,
        .hop = KB_HOP_SOURCE,
    };
    kb_copy_str(d.open.source, sizeof d.open.source, source);
    kb_copy_str(d.open.uuid, sizeof d.open.uuid, uuid);
    kb_loop_post(d.shard->loop, &d.message);
    kb_latch_wait(&latch);
}

/* --- words --------------------------------------------------------------------------------------
 */

const char *kb_hop_name(enum kb_hop hop)
{
    static const char *const names[KB_HOPS] = {
        [KB_HOP_SOURCE] = "source", [KB_HOP_RESOLVE] = "resolve",   [KB_HOP_CONNECT] = "connect",
        [KB_HOP_TLS] = "tls",       [KB_HOP_IDENTITY] = "identity", [KB_HOP_LINK] = "link",
        [KB_HOP_TICKET] = "ticket",
    };
    return names[hop];
}

const char *kb_diagnosis_advice(enum kb_reason reason)
{
    static const char *const advice[KB_REASON_COUNT] = {
        [KB_REASON_CONSOLE_GONE] =
            "Look whether the machine still exists; refresh the source if it does.",
        [KB_REASON_SOURCE_FAILED] = "Look at the source's own error, then refresh it.",
        [KB_REASON_RESOLVE_FAILED] =
            "Make the hypervisor's name known to this machine's resolver, or give the console a "
            "hypervisor_ip.",
        [KB_REASON_CONNECT_FAILED] =
            "Look whether the machine runs, whether its SPICE server listens on that address and "
            "port, and whether a firewall rejects this machine.",
        [KB_REASON_CONNECT_TIMEOUT] =
            "Look whether the hypervisor is up and whether a firewall on the way drops packets; "
            "timeouts.connect says how long is waited.",
        [KB_REASON_PROXY_REFUSED] = "Look at the clocks of this machine and of the proxy: its "
                                    "tickets live for half a minute; "
                                    "and at the proxy's log.",
        [KB_REASON_SERVER_TLS_FAILED] =
            "Look whether secure_port is really the TLS port, and which TLS versions the "
            "hypervisor speaks.",
        [KB_REASON_SERVER_CERTIFICATE] =
            "Put the CA that signed the hypervisor's certificate into the source's ca_cert, or "
            "renew the certificate.",
        [KB_REASON_SERVER_NAME] =
            "Give the console the name that the certificate has as hypervisor, or pin its subject "
            "with host_subject.",
        [KB_REASON_SERVER_SUBJECT] =
            "Set the console's host_subject to what the certificate says, if that is the right "
            "hypervisor.",
        [KB_REASON_SERVER_NO_TLS_PORT] =
            "Give the console a secure_port, or set the source's tls to prefer or plain.",
        [KB_REASON_SERVER_NO_ADDRESS] =
            "Give the console an address and a port that the source's tls setting allows.",
        [KB_REASON_SERVER_NOT_SPICE] =
            "Open it with the cloud's own tools; or give the machine a SPICE display.",
        [KB_REASON_SERVER_NEEDS_TLS] =
            "Give the console a secure_port and set the source's tls to require or prefer.",
        [KB_REASON_SERVER_NEEDS_PLAIN] =
            "Let the hypervisor offer its inputs channel with TLS, or set the source's tls to "
            "plain.",
        [KB_REASON_SERVER_LINK_TIMEOUT] =
            "Look whether the machine is stalled or paused, and whether a SPICE server answers on "
            "that port; timeouts.link says how long is waited.",
        [KB_REASON_SERVER_LINK_MALFORMED] = "Look whether a SPICE server listens on that port.",
        [KB_REASON_SERVER_LINK_CLOSED] =
            "Look whether a SPICE server listens on that port, and at the hypervisor's log.",
        [KB_REASON_SERVER_VERSION] = "The hypervisor's SPICE server is too old; update it.",
        [KB_REASON_SERVER_CAPABILITIES] =
            "Switch SASL off for SPICE on the hypervisor and set a ticket, or update its server.",
        [KB_REASON_SERVER_TICKET] =
            "Give the console the ticket that the hypervisor has now; on the hypervisor, look "
            "whether it has one and whether it has expired.",
    };
    return advice[reason] ? advice[reason] : "Look at the hypervisor's log.";
}
