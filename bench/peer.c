/* See peer.h. Used by the benchmark programs, each of one thread. */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 60000

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    ERR_print_errors_fp(stderr);
    exit(1);
}

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

SSL_CTX *make_context(bool server)
{
    signal(SIGPIPE, SIG_IGN); /* OpenSSL's writes say nothing of MSG_NOSIGNAL */
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384") != 1)
        die("TLS context");
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    return ctx;
}

void set_alarm(int timer, uint64_t ns)
{
    struct itimerspec t = {
        .it_value = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &t, NULL);
}

/* A byte at a time: what follows the head belongs to TLS. */
static void ask_for_tunnel(struct peer *p, unsigned port)
{
    char head[1024];
    size_t have = 0;
    int n = snprintf(head, sizeof head, "CONNECT 127.0.0.1:%u HTTP/1.0\r\n\r\n", port);
    if (send(p->fd, head, (size_t)n, MSG_NOSIGNAL) != n)
        die("asking for a tunnel: %s", strerror(errno));
    while (have < sizeof head - 1 && (have < 4 || memcmp(head + have - 4, "\r\n\r\n", 4) != 0))
        if (recv(p->fd, head + have++, 1, 0) != 1)
            die("closed instead of a tunnel");
    head[have] = '\0';
    unsigned status = 0;
    if (sscanf(head, "HTTP/%*u.%*u %u", &status) != 1 || status != 200)
        die("no tunnel: %.200s", head);
}

static void make_ready(struct peer *p, SSL_CTX *tls)
{
    int one = 1;
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fcntl(p->fd, F_SETFL, fcntl(p->fd, F_GETFL) | O_NONBLOCK) != 0)
        die("fcntl: %s", strerror(errno));
    p->ssl = tls ? SSL_new(tls) : NULL;
    if (tls && (!p->ssl || SSL_set_fd(p->ssl, p->fd) != 1))
        die("TLS");
}

void peer_connect(struct peer *p, const struct door *d)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)d->port)};
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connecting: %s", strerror(errno));
    if (d->through)
        ask_for_tunnel(p, d->through);
    make_ready(p, d->tls);
    if (p->ssl)
        SSL_set_connect_state(p->ssl);
}

void peer_accepted(struct peer *p, int fd, SSL_CTX *tls)
{
    p->fd = fd;
    make_ready(p, tls);
    if (p->ssl)
        SSL_set_accept_state(p->ssl);
}

int peer_shake(struct peer *p)
{
    if (!p->ssl || SSL_is_init_finished(p->ssl))
        return 1;
    int r = SSL_do_handshake(p->ssl);
    if (r == 1)
        return 1;
    int e = SSL_get_error(p->ssl, r);
    if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
        return -1; /* the reason stays in OpenSSL's queue, for die() */
    ERR_clear_error();
    return 0;
}

void peer_close(struct peer *p)
{
    if (p->ssl && SSL_is_init_finished(p->ssl)) {
        SSL_shutdown(p->ssl);
        ERR_clear_error();
    }
    SSL_free(p->ssl);
    close(p->fd);
    *p = (struct peer){.fd = -1};
}

void peer_wait(struct peer *p)
{
    struct pollfd f = {.fd = p->fd, .events = POLLIN};
    if (poll(&f, 1, PATIENCE_MS) == 0)
        die("nothing came for %d s", PATIENCE_MS / 1000);
}

static ssize_t tls_result(struct peer *p, int r)
{
    if (r > 0)
        return r;
    int e = SSL_get_error(p->ssl, r);
    ERR_clear_error();
    return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

ssize_t take_some(struct peer *p, void *to, size_t n)
{
    if (p->ssl)
        return tls_result(p, SSL_read(p->ssl, to, (int)n));
    ssize_t r = recv(p->fd, to, n, 0);
    if (r > 0)
        return r;
    return r < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

ssize_t give_some(struct peer *p, const void *from, size_t n)
{
    if (p->ssl)
        return tls_result(p, SSL_write(p->ssl, from, (int)n));
    ssize_t r = send(p->fd, from, n, MSG_NOSIGNAL);
    if (r > 0)
        return r;
    return r < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

void take_whole(struct peer *p, void *to, size_t n)
{
    for (size_t have = 0; have < n;) {
        ssize_t r = take_some(p, (char *)to + have, n - have);
        if (r < 0)
            die("the peer closed");
        if (r == 0)
            peer_wait(p);
        have += (size_t)r;
    }
}

bool give_whole(struct peer *p, struct kb_span bytes)
{
    while (bytes.len) {
        ssize_t r = give_some(p, bytes.data, bytes.len);
        if (r < 0)
            return false;
        if (r == 0)
            die("a few bytes were not taken");
        bytes.data += r;
        bytes.len -= (size_t)r;
    }
    return true;
}
