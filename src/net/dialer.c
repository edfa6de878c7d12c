/* Resolve and connect. A dial belongs to its loop; only the look-up runs elsewhere, as a message
 * that carries nothing of the dial but its number, so that a cancelled one is not missed. */
#include "net/dialer.h"

#include "base/clock.h"
#include "base/mem.h"

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
    uv_poll_t *poll;
    struct kb_timer timer;
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
    end_attempt(d);
    int fd = d->fd;
    d->fd = -1;
    report(d, fd);
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

void kb_dial_cancel(struct kb_dial *d)
{
    if (d && d->done)
        finish(d);
}
