/* Resolve and connect. A dial belongs to its loop; only the look-up runs elsewhere, as a message
 * that carries nothing of the dial but its number, so that a cancelled one is not missed. */
#include "net/dialer.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/tcp.h"
#include "net/tunnel.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>

struct kb_dial {
    struct kb_loop *loop;
    void (*done)(void *arg, const struct kb_dial_result *r);
    void *arg;
    uint64_t each_ms, began_us, resolve_us;
    struct lookup *lookup;      /* under way, or NULL */
    struct addrinfo *addresses; /* what is left is from next on */
    struct addrinfo *next;
    struct addrinfo own; /* for a unix socket, which nobody has to look up */
    struct sockaddr_un unix_address;
    int fd;
    bool begin_small;
    uv_poll_t *poll;
    struct kb_timer timer;
    struct kb_buf ask, said; /* of a tunnel: the request, empty without; the answer so far */
    size_t asked;            /* of it, sent */
    enum kb_reason reason;
    char detail[160];
};

/* The look-up travels to the resolver and back; dial is set to NULL when it was cancelled
 * meanwhile. Only the loop's thread touches dial. */
struct lookup {
    struct kb_message message;
    struct kb_loop *loop;
    struct kb_dial *dial;
    char *host;
    char service[8];
    struct addrinfo *addresses;
    int error;
};

static void try_next(struct kb_dial *d);

static void free_handle(uv_handle_t *h)
{
    free(h);
}

/* Gives up the attempt under way, but for the descriptor when it is wanted. */
static void end_attempt(struct kb_dial *d)
{
    if (d->poll)
        uv_close((uv_handle_t *)d->poll, free_handle);
    d->poll = NULL;
    kb_timer_finish(&d->timer);
}

static void finish(struct kb_dial *d)
{
    end_attempt(d);
    if (d->fd >= 0)
        close(d->fd);
    if (d->lookup)
        d->lookup->dial = NULL;
    if (d->addresses)
        freeaddrinfo(d->addresses);
    kb_buf_finish(&d->ask);
    kb_buf_finish(&d->said);
    free(d);
}

static void report(struct kb_dial *d, int fd)
{
    struct kb_dial_result r = {
        .reason = d->reason, .detail = d->detail, .resolve_us = d->resolve_us};
    if (fd >= 0) {
        r.reason = KB_REASON_NONE;
        r.conn = kb_conn_create(d->loop, fd, NULL, NULL);
    }
    void (*done)(void *, const struct kb_dial_result *) = d->done;
    void *arg = d->arg;
    d->done = NULL;
    done(arg, &r);
    finish(d);
}

static void attempt_failed(struct kb_dial *d, enum kb_reason reason, const char *what)
{
    char address[64] = "";
    uint16_t port = kb_conn_format_address(d->next->ai_addr, address, sizeof address);
    d->reason = reason;
    if (d->next->ai_family == AF_UNIX)
        snprintf(d->detail, sizeof d->detail, "%.100s: %s", d->unix_address.sun_path, what);
    else
        snprintf(d->detail, sizeof d->detail, "%s port %u: %s", address, port, what);
    end_attempt(d);
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
    d->next = d->next->ai_next;
    try_next(d);
}

static void succeed(struct kb_dial *d)
{
    end_attempt(d);
    int fd = d->fd;
    d->fd = -1;
    report(d, fd);
}

/* --- a tunnel through a proxy ----------------------------------------------------------------- */

/* The proxy is there, so no other of its addresses is tried. */
static void refused(struct kb_dial *d, const char *why)
{
    char address[64] = "";
    uint16_t port = kb_conn_format_address(d->next->ai_addr, address, sizeof address);
    d->reason = KB_REASON_PROXY_REFUSED;
    snprintf(d->detail, sizeof d->detail, "proxy %s port %u: %s", address, port, why);
    end_attempt(d);
    report(d, -1);
}

static void on_proxy_deadline(void *arg)
{
    refused(arg, "no answer in time");
}

/* Takes the head off the socket and not a byte more: what follows is the tunnel's. */
static void on_proxy_readable(uv_poll_t *h, int status, int events)
{
    (void)status;
    (void)events;
    struct kb_dial *d = h->data;
    uint8_t bytes[1024];
    char why[KB_TUNNEL_WHY];
    ssize_t n = recv(d->fd, bytes, sizeof bytes, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        refused(d, n ? strerror_r(errno, why, sizeof why) : "it closed the connection");
        return;
    }
    size_t before = d->said.len, len = 0;
    kb_buf_add(&d->said, bytes, (size_t)n);
    enum kb_tunnel t = kb_tunnel_answer(kb_buf_span(&d->said), &len, why);
    if (t == KB_TUNNEL_REFUSED) {
        refused(d, why);
        return;
    }
    size_t take = t == KB_TUNNEL_OPEN ? len - before : (size_t)n;
    if (recv(d->fd, bytes, take, 0) != (ssize_t)take)
        refused(d, "its answer could not be read");
    else if (t == KB_TUNNEL_OPEN)
        succeed(d);
}

static void on_proxy_writable(uv_poll_t *h, int status, int events)
{
    (void)status;
    (void)events;
    struct kb_dial *d = h->data;
    char text[96];
    ssize_t n = send(d->fd, d->ask.data + d->asked, d->ask.len - d->asked, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        refused(d, strerror_r(errno, text, sizeof text));
        return;
    }
    d->asked += n > 0 ? (size_t)n : 0;
    if (d->asked == d->ask.len)
        uv_poll_start(d->poll, UV_READABLE, on_proxy_readable);
}

static void ask_proxy(struct kb_dial *d)
{
    kb_timer_finish(&d->timer);
    kb_timer_start(d->loop, &d->timer, d->each_ms, 0, on_proxy_deadline, d);
    uv_poll_start(d->poll, UV_WRITABLE, on_proxy_writable);
}

/* --- connecting ------------------------------------------------------------------------------- */

static void on_connected(uv_poll_t *h, int status, int events)
{
    (void)status;
    (void)events;
    struct kb_dial *d = h->data;
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error) {
        char text[96];
        attempt_failed(d, KB_REASON_CONNECT_FAILED, strerror_r(error, text, sizeof text));
        return;
    }
    if (d->ask.len)
        ask_proxy(d);
    else
        succeed(d);
}

static void on_deadline(void *arg)
{
    attempt_failed(arg, KB_REASON_CONNECT_TIMEOUT, "no answer in time");
}

/* Gives the event loop a turn before the next address or the report, so that no callback comes from
 * within the caller's own call. */
static void on_turn(void *arg);

static void try_next(struct kb_dial *d)
{
    kb_timer_start(d->loop, &d->timer, 0, 0, on_turn, d);
}

static void on_turn(void *arg)
{
    struct kb_dial *d = arg;
    if (!d->next) {
        report(d, -1);
        return;
    }
    d->fd = socket(d->next->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    char text[96];
    if (d->fd < 0) {
        attempt_failed(d, KB_REASON_CONNECT_FAILED, strerror_r(errno, text, sizeof text));
        return;
    }
    if (d->begin_small)
        kb_tcp_begin_small(d->fd);
    int r = connect(d->fd, d->next->ai_addr, d->next->ai_addrlen);
    if (r != 0 && errno != EINPROGRESS) {
        attempt_failed(d, KB_REASON_CONNECT_FAILED, strerror_r(errno, text, sizeof text));
        return;
    }
    d->poll = kb_zalloc(sizeof *d->poll);
    if (uv_poll_init(&d->loop->uv, d->poll, d->fd) != 0)
        abort();
    d->poll->data = d;
    uv_poll_start(d->poll, UV_WRITABLE, on_connected);
    kb_timer_start(d->loop, &d->timer, d->each_ms, 0, on_deadline, d);
}

/* The look-up goes on, for nobody. */
static void on_lookup_deadline(void *arg)
{
    struct kb_dial *d = arg;
    d->reason = KB_REASON_RESOLVE_FAILED;
    snprintf(d->detail, sizeof d->detail, "%.100s: no answer in time", d->lookup->host);
    d->lookup->dial = NULL;
    d->lookup = NULL;
    report(d, -1);
}

static void looked_up(struct kb_message *m)
{
    struct lookup *k = (struct lookup *)m;
    struct kb_dial *d = k->dial;
    if (d) {
        d->lookup = NULL;
        d->resolve_us = kb_clock_us() - d->began_us;
        d->addresses = d->next = k->addresses;
        k->addresses = NULL;
        d->reason = KB_REASON_RESOLVE_FAILED;
        snprintf(d->detail, sizeof d->detail, "%.100s: %s", k->host,
                 k->error ? gai_strerror(k->error) : "no address");
        try_next(d);
    }
    if (k->addresses)
        freeaddrinfo(k->addresses);
    free(k->host);
    free(k);
}

static void look_up(struct kb_message *m)
{
    struct lookup *k = (struct lookup *)m;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG};
    k->error = getaddrinfo(k->host, k->service, &hints, &k->addresses);
    k->message.run = looked_up;
    kb_loop_post(k->loop, &k->message);
}

static struct kb_dial *begin(struct kb_loop *l, uint64_t each_ms,
                             void (*done)(void *arg, const struct kb_dial_result *r), void *arg)
{
    struct kb_dial *d = kb_zalloc(sizeof *d);
    d->loop = l;
    d->each_ms = each_ms;
    d->began_us = kb_clock_us();
    d->done = done;
    d->arg = arg;
    d->fd = -1;
    return d;
}

struct kb_dial *kb_dial_tcp(struct kb_loop *l, struct kb_worker *resolver, const char *host,
                            uint16_t port, uint64_t each_ms,
                            void (*done)(void *arg, const struct kb_dial_result *r), void *arg)
{
    struct kb_dial *d = begin(l, each_ms, done, arg);
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    if (getaddrinfo(host, service, &hints, &d->addresses) == 0) {
        d->next = d->addresses;
        try_next(d);
        return d;
    }
    d->addresses = NULL;
    struct lookup *k = d->lookup = kb_zalloc(sizeof *k);
    k->message.run = look_up;
    k->loop = l;
    k->dial = d;
    k->host = kb_strdup(host);
    kb_copy_str(k->service, sizeof k->service, service);
    kb_timer_start(l, &d->timer, each_ms, 0, on_lookup_deadline, d);
    kb_mailbox_post(&resolver->box, &k->message);
    return d;
}

struct kb_dial *kb_dial_unix(struct kb_loop *l, const char *path, uint64_t each_ms,
                             void (*done)(void *arg, const struct kb_dial_result *r), void *arg)
{
    struct kb_dial *d = begin(l, each_ms, done, arg);
    d->unix_address.sun_family = AF_UNIX;
    if (!kb_copy_str(d->unix_address.sun_path, sizeof d->unix_address.sun_path, path)) {
        d->reason = KB_REASON_CONNECT_FAILED;
        snprintf(d->detail, sizeof d->detail, "%.100s: path too long", path);
    } else {
        d->own = (struct addrinfo){.ai_family = AF_UNIX,
                                   .ai_addr = (struct sockaddr *)&d->unix_address,
                                   .ai_addrlen = sizeof d->unix_address};
        d->next = &d->own;
    }
    try_next(d);
    return d;
}

struct kb_dial *kb_dial_tunnel(struct kb_loop *l, struct kb_worker *resolver, const char *proxy,
                               uint16_t proxy_port, const char *host, uint16_t port,
                               uint64_t each_ms,
                               void (*done)(void *arg, const struct kb_dial_result *r), void *arg)
{
    struct kb_buf ask = {0};
    if (!kb_tunnel_request(&ask, host, port)) {
        kb_buf_finish(&ask);
        struct kb_dial *d = begin(l, each_ms, done, arg);
        d->reason = KB_REASON_PROXY_REFUSED;
        kb_copy_str(d->detail, sizeof d->detail, "the host that it should connect to is no host");
        try_next(d);
        return d;
    }
    struct kb_dial *d = kb_dial_tcp(l, resolver, proxy, proxy_port, each_ms, done, arg);
    d->ask = ask;
    return d;
}

void kb_dial_begin_small(struct kb_dial *d)
{
    d->begin_small = true;
}

void kb_dial_cancel(struct kb_dial *d)
{
    if (d && d->done)
        finish(d);
}
