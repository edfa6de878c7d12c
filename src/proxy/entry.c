/* accept -> TLS -> what is it? An entry lives until that is known, or its time is up. The loop's
 * thread. */
#include "proxy/entry.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/channel.h"
#include "proxy/metrics.h"
#include "store/store.h"

#include <stdlib.h>
#include <utlist.h>

struct kb_entry {
    struct kb_entry *prev, *next;
    struct kb_shard *shard;
    struct kb_conn *conn;
    unsigned accepts;
    struct kb_timer deadline;
    uint64_t began_us;
    uint8_t first[KB_SNIFF_SIZE];
    size_t have;
    bool secure; /* the handshake is done */
};

/* Methods that our HTTP side may be asked with; RFC 9110 has others that no client of ours needs.
 */
enum kb_sniffed kb_sniff(struct kb_span bytes)
{
    static const struct {
        const char *begins;
        enum kb_sniffed is;
    } known[] = {
        {"REDQ", KB_SNIFF_SPICE}, {"GET ", KB_SNIFF_HTTP}, {"HEAD", KB_SNIFF_HTTP},
        {"POST", KB_SNIFF_HTTP},  {"PUT ", KB_SNIFF_HTTP}, {"DELE", KB_SNIFF_HTTP},
        {"OPTI", KB_SNIFF_HTTP},  {"PATC", KB_SNIFF_HTTP},
    };
    if (bytes.len == 0)
        return KB_SNIFF_MORE;
    if (bytes.data[0] == 0x16) /* a TLS handshake record, RFC 8446 5.1 */
        return KB_SNIFF_TLS;
    size_t n = bytes.len < KB_SNIFF_SIZE ? bytes.len : KB_SNIFF_SIZE;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (memcmp(bytes.data, known[i].begins, n) == 0)
            return n == KB_SNIFF_SIZE ? known[i].is : KB_SNIFF_MORE;
    return KB_SNIFF_UNKNOWN;
}

/* Takes the connection out; the entry is gone after this. */
static struct kb_conn *leave(struct kb_entry *e)
{
    struct kb_conn *c = e->conn;
    DL_DELETE(e->shard->entries, e);
    e->shard->handshakes--;
    kb_timer_finish(&e->deadline);
    free(e);
    return c;
}

static void refuse(struct kb_entry *e, enum kb_reason reason, const char *detail)
{
    struct kb_shard *s = e->shard;
    struct kb_audit_event a = {0};
    kb_copy_str(a.event, sizeof a.event, "channel.refused");
    kb_copy_str(a.client_address, sizeof a.client_address, e->conn->peer);
    kb_copy_str(a.reason, sizeof a.reason, kb_reason_name(reason));
    kb_copy_str(a.detail, sizeof a.detail, detail && *detail ? detail : kb_reason_text(reason));
    kb_store_audit(s->proxy->store, &a);
    kb_conn_close(leave(e));
    atomic_fetch_sub(&s->proxy->connections, 1);
}

/* A connection that ends before it has said what it speaks is a port check or a load
 * balancer's health check: worth a line for who debugs, not an audit event. */
static void left(struct kb_entry *e)
{
    struct kb_shard *s = e->shard;
    kb_log(KB_LOG_DEBUG, "connection.left", KB_STR("client_address", e->conn->peer));
    kb_conn_destroy(leave(e));
    atomic_fetch_sub(&s->proxy->connections, 1);
}

static void become_channel(struct kb_entry *e, bool clear)
{
    struct kb_shard *s = e->shard;
    uint8_t first[KB_SNIFF_SIZE];
    memcpy(first, e->first, sizeof first);
    size_t have = e->have;
    uint64_t began_us = e->began_us;
    kb_channel_create(s, leave(e), kb_span(first, have), clear, began_us);
}

static void become_http(struct kb_entry *e)
{
    struct kb_shard *s = e->shard;
    uint8_t first[KB_SNIFF_SIZE];
    memcpy(first, e->first, sizeof first);
    size_t have = e->have;
    struct kb_conn *c = leave(e);
    atomic_fetch_sub(&s->proxy->connections, 1);
    s->proxy->http_adopt(s->proxy->http, c, kb_span(first, have));
}

/* Takes more of the bytes that decide. False: there are none, or the client has left. */
static bool read_more(struct kb_entry *e)
{
    size_t got;
    enum kb_io io = kb_conn_read(e->conn, e->first + e->have, sizeof e->first - e->have, &got);
    if (io == KB_IO_OK)
        e->have += got;
    else if (io != KB_IO_AGAIN)
        left(e);
    return io == KB_IO_OK;
}

/* The first byte of TLS stays where it is, for OpenSSL. */
static bool is_tls(struct kb_entry *e)
{
    uint8_t first;
    size_t got;
    return e->have == 0 && kb_conn_peek(e->conn, &first, 1, &got) == KB_IO_OK &&
           kb_sniff(kb_span(&first, 1)) == KB_SNIFF_TLS;
}

/* Before TLS. Whatever is not TLS is read and not only looked at: bytes that nobody takes would
 * keep the socket readable, and the loop busy, until the time is up. */
static void look_clear(struct kb_entry *e)
{
    if (is_tls(e)) {
        if (!(e->accepts & (KB_LISTEN_SPICE | KB_LISTEN_HTTP))) {
            refuse(e, KB_REASON_NOT_ACCEPTED_HERE, NULL);
            return;
        }
        kb_conn_want_read(e->conn, false);
        kb_conn_accept_tls(e->conn, e->shard->tls);
        return;
    }
    if (!read_more(e))
        return;
    switch (kb_sniff(kb_span(e->first, e->have))) {
    case KB_SNIFF_MORE:
        return;
    case KB_SNIFF_SPICE:
        become_channel(e, true);
        return;
    case KB_SNIFF_TLS:
    case KB_SNIFF_HTTP:
    case KB_SNIFF_UNKNOWN:
        refuse(e, KB_REASON_NOT_TLS, NULL);
        return;
    }
}

/* Inside TLS: exactly as many bytes as decide. */
static void look_inside(struct kb_entry *e)
{
    if (!read_more(e))
        return;
    switch (kb_sniff(kb_span(e->first, e->have))) {
    case KB_SNIFF_MORE:
        look_inside(e); /* three times at most */
        return;
    case KB_SNIFF_SPICE:
        if (e->accepts & KB_LISTEN_SPICE)
            become_channel(e, false);
        else
            refuse(e, KB_REASON_NOT_ACCEPTED_HERE, "SPICE");
        return;
    case KB_SNIFF_HTTP:
        if (e->accepts & KB_LISTEN_HTTP && e->shard->proxy->http_adopt)
            become_http(e);
        else
            refuse(e, KB_REASON_NOT_ACCEPTED_HERE, "HTTP");
        return;
    case KB_SNIFF_TLS:
    case KB_SNIFF_UNKNOWN:
        /* Not SPICE's magic, and the link machine is the one who says so to the client. */
        if (e->accepts & KB_LISTEN_SPICE)
            become_channel(e, false);
        else
            refuse(e, KB_REASON_UNKNOWN_PROTOCOL, NULL);
        return;
    }
}

static void on_readable(struct kb_conn *c)
{
    struct kb_entry *e = c->owner;
    if (e->secure)
        look_inside(e);
    else
        look_clear(e);
}

static void on_ready(struct kb_conn *c)
{
    struct kb_entry *e = c->owner;
    e->secure = true;
    e->have = 0;
    kb_count_phase(KB_PHASE_TLS, kb_clock_us() - e->began_us);
    kb_conn_want_read(c, true);
    look_inside(e);
}

static void on_drained(struct kb_conn *c)
{
    (void)c;
}

static void on_failed(struct kb_conn *c)
{
    refuse(c->owner, KB_REASON_TLS_FAILED, c->detail);
}

static void on_deadline(void *arg)
{
    struct kb_entry *e = arg;
    refuse(e, KB_REASON_SETUP_TIMEOUT,
           e->secure              ? "nothing inside TLS"
           : e->conn->handshaking ? "unfinished TLS handshake"
                                  : "no first byte");
}

void kb_entry_create(struct kb_shard *s, int fd, unsigned accepts)
{
    static const struct kb_conn_events events = {on_ready, on_readable, on_drained, on_failed};
    struct kb_entry *e = kb_zalloc(sizeof *e);
    e->shard = s;
    e->accepts = accepts;
    e->began_us = kb_clock_us();
    e->conn = kb_conn_create(s->loop, fd, &events, e);
    DL_APPEND(s->entries, e);
    s->handshakes++;
    atomic_fetch_add(&s->proxy->connections, 1);
    kb_timer_start(s->loop, &e->deadline, kb_proxy_options_now(s->proxy).setup_ms, 0, on_deadline,
                   e);
    kb_conn_want_read(e->conn, true);
}

void kb_entry_end_all(struct kb_shard *s)
{
    while (s->entries)
        left(s->entries);
}
