/* One socket on one loop: readiness, the queue of unsent bytes, plain reads and writes, the end.
 * TLS is in conn_tls.c. The loop's thread, save between detach and attach. */
#include "net/conn.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/conn_tls.h"
#include "net/tls_resume.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/uio.h>

/* A peer that vanished without a FIN is noticed after 15 + 3 x 5 seconds of silence, or when what
 * we sent is not acknowledged for 30. */
#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_PROBES 3
#define USER_TIMEOUT_MS 30000

/* A closed connection has so long to send what is queued; then it listens on for a while, and for
 * so many bytes, so that its last words are read by the peer instead of being thrown away with a
 * reset. */
#define LINGER_SEND_MS 10000
#define LINGER_READ_MS 3000
#define LINGER_BYTES (1 << 20)

/* A read of so much has more behind it, most likely. */
#define MUCH (KB_BLOCK_SIZE / 4)

uint16_t kb_conn_format_address(const struct sockaddr *a, char *text, size_t size)
{
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)a;
        inet_ntop(AF_INET, &v4->sin_addr, text, (socklen_t)size);
        return ntohs(v4->sin_port);
    }
    if (a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)a;
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
            inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text, (socklen_t)size);
        else
            inet_ntop(AF_INET6, &v6->sin6_addr, text, (socklen_t)size);
        return ntohs(v6->sin6_port);
    }
    kb_copy_str(text, size, "unix");
    return 0;
}

static void set_option(int fd, int level, int name, int value)
{
    /* Best effort: a unix socket has none of these. */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

static void on_poll(uv_poll_t *h, int status, int events);

static void open_poll(struct kb_conn *c)
{
    c->poll = kb_zalloc(sizeof *c->poll);
    if (uv_poll_init(&c->loop->uv, c->poll, c->fd) != 0)
        abort();
    c->poll->data = c;
    c->polled = 0;
}

struct kb_conn *kb_conn_create(struct kb_loop *l, int fd, const struct kb_conn_events *events,
                               void *owner)
{
    struct kb_conn *c = kb_zalloc(sizeof *c);
    c->loop = l;
    c->fd = fd;
    c->events = events;
    c->owner = owner;
    c->setup = true;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0)
        c->peer_port = kb_conn_format_address((struct sockaddr *)&peer, c->peer, sizeof c->peer);
    open_poll(c);
    return c;
}

void kb_conn_set_owner(struct kb_conn *c, const struct kb_conn_events *events, void *owner)
{
    c->events = events;
    c->owner = owner;
}

static bool is_watching(const struct kb_conn *c)
{
    return c->watched && !c->reading && !c->handshaking && !c->linger.uv;
}

/* Tells the kernel what we wait for, if that changed. */
static void update_poll(struct kb_conn *c)
{
    int want = 0;
    if (c->reading || c->handshaking || c->linger.uv)
        want |= UV_READABLE;
    if (c->out_bytes && !c->broken)
        want |= UV_WRITABLE;
    if (is_watching(c))
        want |= UV_DISCONNECT;
    if (want == c->polled)
        return;
    c->polled = want;
    if (want)
        uv_poll_start(c->poll, want, on_poll);
    else
        uv_poll_stop(c->poll);
}

void kb_conn_want_read(struct kb_conn *c, bool want)
{
    c->reading = want;
    update_poll(c);
}

void kb_conn_watch(struct kb_conn *c, bool watch)
{
    c->watched = watch;
    update_poll(c);
}

static void set_detail(struct kb_conn *c, int error)
{
    char text[96];
    kb_copy_str(c->detail, sizeof c->detail, strerror_r(error, text, sizeof text));
}

/* --- the queue -------------------------------------------------------------------------------- */

/* Also conn_tls.c's way out: the BIO puts its records here. */
void kb_conn_put(struct kb_conn *c, struct kb_span bytes)
{
    while (bytes.len) {
        struct kb_block *b = c->out_last;
        if (!b || kb_block_room(b) == 0) {
            b = kb_block_get(&c->loop->blocks);
            if (c->out_last)
                c->out_last->next = b;
            else
                c->out = b;
            c->out_last = b;
        }
        size_t n = bytes.len < kb_block_room(b) ? bytes.len : kb_block_room(b);
        memcpy(b->data + b->end, bytes.data, n);
        b->end += (uint32_t)n;
        c->out_bytes += n;
        bytes.data += n;
        bytes.len -= n;
    }
}

static void drop_queue(struct kb_conn *c)
{
    while (c->out) {
        struct kb_block *b = c->out;
        c->out = b->next;
        kb_block_put(&c->loop->blocks, b);
    }
    c->out_last = NULL;
    c->out_bytes = 0;
}

static void break_conn(struct kb_conn *c, int error)
{
    if (!c->broken)
        set_detail(c, error);
    c->broken = true;
    drop_queue(c);
}

void kb_conn_queue(struct kb_conn *c, struct kb_span bytes)
{
    if (c->broken || !bytes.len)
        return;
    if (c->ssl) {
        if (!kb_conn_tls_write(c, bytes)) {
            c->broken = true;
            drop_queue(c);
        }
        return;
    }
    if (!c->out) {
        /* Nothing waits before it: straight from where it lies, without a copy. */
        ssize_t n = send(c->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            break_conn(c, errno);
            return;
        }
        if (n > 0) {
            c->sent += (size_t)n;
            bytes.data += n;
            bytes.len -= (size_t)n;
        }
    }
    kb_conn_put(c, bytes);
}

static void send_queue(struct kb_conn *c)
{
    while (c->out && !c->broken) {
        struct iovec parts[8];
        int count = 0;
        for (struct kb_block *b = c->out; b && count < 8; b = b->next)
            parts[count++] = (struct iovec){b->data + b->start, b->end - b->start};
        struct msghdr m = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno != EAGAIN)
                break_conn(c, errno);
            return;
        }
        c->sent += (size_t)n;
        c->out_bytes -= (size_t)n;
        while (n > 0) {
            struct kb_block *b = c->out;
            size_t have = b->end - b->start;
            if ((size_t)n < have) {
                b->start += (uint32_t)n;
                break;
            }
            n -= (ssize_t)have;
            c->out = b->next;
            if (!c->out)
                c->out_last = NULL;
            kb_block_put(&c->loop->blocks, b);
        }
    }
}

bool kb_conn_flush(struct kb_conn *c)
{
    send_queue(c);
    update_poll(c);
    return !c->broken;
}

/* --- reading ---------------------------------------------------------------------------------- */

static enum kb_io read_plain(struct kb_conn *c, void *to, size_t n, int flags, size_t *got)
{
    *got = 0;
    for (;;) {
        ssize_t r = recv(c->fd, to, n, flags);
        if (r > 0) {
            *got = (size_t)r;
            c->emptied = *got < n;
            return KB_IO_OK;
        }
        if (r == 0)
            return KB_IO_END;
        if (errno == EAGAIN)
            return KB_IO_AGAIN;
        if (errno != EINTR) {
            set_detail(c, errno);
            return KB_IO_ERROR;
        }
    }
}

enum kb_io kb_conn_read(struct kb_conn *c, void *to, size_t n, size_t *got)
{
    enum kb_io io = c->ssl ? kb_conn_tls_read(c, to, n, got) : read_plain(c, to, n, 0, got);
    if (io == KB_IO_OK)
        c->much = *got >= MUCH;
    return io;
}

enum kb_io kb_conn_peek(struct kb_conn *c, void *to, size_t n, size_t *got)
{
    return read_plain(c, to, n, MSG_PEEK, got);
}

uint32_t kb_conn_rtt_us(const struct kb_conn *c)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return 0;
    return info.tcpi_rtt;
}

/* --- events ----------------------------------------------------------------------------------- */

static void linger_more(struct kb_conn *c);

static void continue_handshake(struct kb_conn *c)
{
    enum kb_io io = kb_conn_tls_handshake(c);
    bool flushed = kb_conn_flush(c);
    if (io == KB_IO_AGAIN && flushed)
        return;
    c->handshaking = false;
    update_poll(c);
    if (io == KB_IO_OK && flushed)
        c->events->ready(c);
    else
        c->events->failed(c);
}

static void serve(struct kb_conn *c, int events)
{
    if (c->linger.uv) {
        linger_more(c);
        return;
    }
    if (c->handshaking) {
        continue_handshake(c);
        return;
    }
    /* The owner may end the connection in any of its callbacks; c is then kept alive by nobody, so
     * one event is delivered a turn, and the level-triggered poll brings the other back. */
    if (events & UV_WRITABLE && c->out_bytes) {
        bool ok = kb_conn_flush(c);
        if (!ok) {
            c->events->failed(c);
            return;
        }
        if (c->out_bytes == 0) {
            c->events->drained(c);
            return;
        }
    }
    if (events & UV_READABLE && c->reading) {
        c->events->readable(c);
    } else if (events & UV_DISCONNECT && is_watching(c)) {
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        c->detail[0] = '\0';
        if (error)
            set_detail(c, error);
        c->events->failed(c);
    }
}

/* What the loop cannot take up in this turn, the level-triggered poll brings back in the next; but
 * an error it tells of once, and watches no more after that. */
static void on_poll(uv_poll_t *h, int status, int events)
{
    struct kb_conn *c = h->data;
    struct kb_loop *l = c->loop;
    enum kb_work work = c->setup ? KB_WORK_SETUP : KB_WORK_RELAY;
    if (status == 0 && work == KB_WORK_SETUP && kb_loop_is_spent(l))
        return;
    bool bulk = work == KB_WORK_RELAY && (c->much || c->out_bytes);
    if (status == 0 && bulk && !kb_loop_bulk_may(l, &c->bulk_gone))
        return;
    if (status < 0)
        events = UV_READABLE | UV_WRITABLE | UV_DISCONNECT; /* let the system call say what it is */
    uint64_t began = kb_clock_us();
    serve(c, events); /* c may be gone after this */
    uint64_t took = kb_clock_us() - began;
    if (bulk)
        l->bulk_us += took;
    kb_loop_worked(l, work, took);
}

void kb_conn_accept_tls(struct kb_conn *c, SSL_CTX *ctx)
{
    kb_conn_tls_init(c, ctx);
    SSL_set_accept_state(c->ssl);
    c->handshaking = true;
    update_poll(c);
}

void kb_conn_connect_tls(struct kb_conn *c, SSL_CTX *ctx, const char *name)
{
    kb_conn_tls_init(c, ctx);
    SSL_set_connect_state(c->ssl);
    if (name)
        SSL_set_tlsext_host_name(c->ssl, name);
    if (!c->fresh)
        kb_tls_resume_offer(c);
    c->handshaking = true;
    /* The first flight goes out at once; the answer makes the socket readable. */
    if (kb_conn_tls_handshake(c) == KB_IO_ERROR || !kb_conn_flush(c)) {
        /* Never from within the caller's own call: let the poll find the broken socket. */
        shutdown(c->fd, SHUT_RDWR);
    }
    update_poll(c);
}

/* --- moving and ending ------------------------------------------------------------------------ */

static void free_poll(uv_handle_t *h)
{
    free(h);
}

void kb_conn_detach(struct kb_conn *c)
{
    uv_close((uv_handle_t *)c->poll, free_poll);
    c->poll = NULL;
}

void kb_conn_attach(struct kb_conn *c, struct kb_loop *l)
{
    c->loop = l;
    open_poll(c);
    update_poll(c);
}

void kb_conn_destroy(struct kb_conn *c)
{
    if (!c)
        return;
    kb_timer_finish(&c->linger);
    drop_queue(c);
    if (c->poll)
        uv_close((uv_handle_t *)c->poll, free_poll);
    kb_conn_tls_finish(c);
    close(c->fd);
    free(c);
}

static void linger_over(void *arg)
{
    kb_conn_destroy(arg);
}

/* All is sent: FIN, and a last while for the peer to do the same. */
static void begin_goodbye(struct kb_conn *c)
{
    shutdown(c->fd, SHUT_WR);
    kb_timer_start(c->loop, &c->linger, LINGER_READ_MS, 0, linger_over, c);
}

/* Sends the rest, then FIN, then reads until the peer is done too. */
static void linger_more(struct kb_conn *c)
{
    if (c->out_bytes) {
        if (!kb_conn_flush(c)) {
            kb_conn_destroy(c);
            return;
        }
        if (c->out_bytes)
            return;
        begin_goodbye(c);
    }
    for (;;) {
        ssize_t n = recv(c->fd, c->loop->scratch, KB_BLOCK_SIZE, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        c->discarded += n > 0 ? (size_t)n : 0;
        if (n <= 0 || c->discarded > LINGER_BYTES) {
            kb_conn_destroy(c);
            return;
        }
    }
}

void kb_conn_close(struct kb_conn *c)
{
    if (!c)
        return;
    if (c->broken || c->handshaking) {
        kb_conn_destroy(c);
        return;
    }
    if (c->ssl)
        kb_conn_tls_goodbye(c);
    if (!kb_conn_flush(c)) {
        kb_conn_destroy(c);
        return;
    }
    if (c->out_bytes)
        kb_timer_start(c->loop, &c->linger, LINGER_SEND_MS, 0, linger_over, c);
    else
        begin_goodbye(c);
    update_poll(c);
}

void kb_conn_hang_up(struct kb_conn *c)
{
    if (c->ssl && !c->broken && !c->handshaking) {
        kb_conn_tls_goodbye(c);
        send_queue(c);
    }
    kb_conn_destroy(c);
}
