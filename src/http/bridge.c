/* kb_http_adopt: carries an HTTP client from a data loop, where its TLS lives, to the HTTP threads.
 *
 * What the loop decrypts goes through a socket pair, whose other end libmicrohttpd serves as if it
 * had accepted it: one TLS stack, one port, and the true address of the client. Bytes are copied
 * unseen, with the relay's own rule of back-pressure, and a request that never becomes whole is
 * ended. The loop's thread. */
#include "http/server.h"

#include "base/auto.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"

#include <errno.h>
#include <stdlib.h>

struct bridge {
    struct kb_http *http;
    struct kb_conn *client, *inner;
    uint64_t heard_us;        /* when bytes last went either way */
    bool asking;              /* bytes of a request have come, and none of its answer */
    struct kb_timer patience; /* while asking */
    bool closed;
    struct kb_deferred end;
};

/* A client that has had its answer for so long is not about to lose it when its idle connection is
 * dropped; waiting for it to close would hold up every stop for as long as browsers like. */
#define IDLE_US 1000000

static void free_bridge(struct kb_deferred *d)
{
    free((char *)d - offsetof(struct bridge, end));
}

/* An answer that came before the request was read to its end (a body that is too long) is there
 * although nothing can be written any more: the client still gets it. The inner socket's buffer
 * bounds it. */
static void take_last_answer(struct bridge *b)
{
    struct kb_block *block = kb_block_get(&b->inner->loop->blocks);
    size_t got;
    while (kb_conn_read(b->inner, block->data, KB_BLOCK_SIZE, &got) == KB_IO_OK)
        kb_conn_queue(b->client, kb_span(block->data, got));
    kb_block_put(&b->inner->loop->blocks, block);
}

static void close_bridge(struct bridge *b)
{
    if (b->closed)
        return;
    b->closed = true;
    if (!b->client->broken)
        take_last_answer(b);
    kb_timer_finish(&b->patience);
    kb_loop_defer(b->client->loop, &b->end, free_bridge);
    if (!b->asking && kb_clock_us() - b->heard_us > IDLE_US)
        kb_conn_hang_up(b->client);
    else
        kb_conn_close(b->client);
    kb_conn_destroy(b->inner);
}

static bool carry(struct bridge *b, struct kb_conn *from, struct kb_conn *to);

/* --- the time of a request -------------------------------------------------------------------- */

/* libmicrohttpd closes what is silent; this is for who sends a byte now and then. No byte of an
 * answer has gone out, so ours can. */
static void on_patience_over(void *arg)
{
    struct bridge *b = arg;
    char id[KB_ID_SIZE];
    /* The answer may be there by now. */
    if (!carry(b, b->inner, b->client) || !b->asking)
        return;
    kb_id_create(id);
    kb_log(KB_LOG_INFO, "http.request_timeout", KB_STR("request_id", id),
           KB_STR("client_address", b->client->peer));
    kb_auto_free char *body =
        kb_printf("{\"error\":{\"code\":\"request_timeout\",\"message\":\"the request took too "
                  "long to arrive\",\"request_id\":\"%s\"}}\n",
                  id);
    kb_auto_free char *answer =
        kb_printf("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
                  "Content-Type: application/json; charset=utf-8\r\nCache-Control: no-store\r\n"
                  "X-Request-Id: %s\r\nContent-Length: %zu\r\n\r\n%s",
                  id, strlen(body), body);
    kb_conn_queue(b->client, kb_span_str(answer));
    close_bridge(b);
}

/* Told by the bytes alone, so that nothing here has to know HTTP. */
static void note_bytes(struct bridge *b, bool from_client)
{
    if (from_client == b->asking)
        return;
    b->asking = from_client;
    if (from_client)
        kb_timer_start(b->client->loop, &b->patience, (uint64_t)atomic_load(&b->http->request_ms),
                       0, on_patience_over, b);
    else
        kb_timer_finish(&b->patience);
}

/* --- the bytes -------------------------------------------------------------------------------- */

/* Whatever is there goes from one side to the other; false when the bridge has ended. */
static bool carry(struct bridge *b, struct kb_conn *from, struct kb_conn *to)
{
    struct kb_block *block = kb_block_get(&from->loop->blocks);
    size_t got = 0;
    enum kb_io io = kb_conn_read(from, block->data, KB_BLOCK_SIZE, &got);
    kb_conn_queue(to, kb_span(block->data, got));
    kb_block_put(&from->loop->blocks, block);
    if (got > 0) {
        b->heard_us = kb_clock_us();
        note_bytes(b, from == b->client);
    }
    if (io == KB_IO_END || io == KB_IO_ERROR || !kb_conn_flush(to)) {
        close_bridge(b);
        return false;
    }
    kb_conn_want_read(from, kb_conn_backlog(to) == 0);
    return true;
}

static struct kb_conn *other(const struct bridge *b, const struct kb_conn *c)
{
    return c == b->client ? b->inner : b->client;
}

static void on_readable(struct kb_conn *c)
{
    struct bridge *b = c->owner;
    carry(b, c, other(b, c));
}

static void on_drained(struct kb_conn *c)
{
    struct bridge *b = c->owner;
    carry(b, other(b, c), c);
}

static void on_failed(struct kb_conn *c)
{
    close_bridge(c->owner);
}

static void ignore(struct kb_conn *c)
{
    (void)c;
}

void kb_http_adopt(struct kb_http *h, struct kb_conn *c, struct kb_span prefix)
{
    static const struct kb_conn_events events = {ignore, on_readable, on_drained, on_failed};
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    int pair[2];
    if (getpeername(c->fd, (struct sockaddr *)&peer, &len) != 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        kb_log(KB_LOG_WARNING, "http.refused", KB_STR("detail", strerror(errno)));
        kb_conn_close(c);
        return;
    }
    struct bridge *b = kb_zalloc(sizeof *b);
    b->http = h;
    b->client = c;
    b->inner = kb_conn_create(c->loop, pair[0], &events, b);
    kb_conn_set_owner(c, &events, b);
    if (!kb_http_add_socket(h, pair[1], (const struct sockaddr *)&peer, len)) {
        close_bridge(b);
        return;
    }
    kb_conn_queue(b->inner, prefix);
    if (!kb_conn_flush(b->inner)) {
        close_bridge(b);
        return;
    }
    note_bytes(b, true);
    kb_conn_want_read(b->inner, true);
    /* What TLS has decrypted already makes no socket readable. */
    if (carry(b, c, b->inner))
        kb_conn_want_read(c, kb_conn_backlog(b->inner) == 0);
}
