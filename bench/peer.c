/* See peer.h. Used by the benchmark programs, each of one thread. */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <spice/enums.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CYCLE_BYTES (4u << 20)

const char *const mix_names[MIX_COUNT] = {"64k", "16k", "small"};

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
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384") != 1)
        die("TLS context");
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    return ctx;
}

void peer_connect(struct peer *p, SSL_CTX *ctx, unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port)};
    int one = 1;
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connecting: %s", strerror(errno));
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!ctx)
        return;
    p->ssl = SSL_new(ctx);
    SSL_set_fd(p->ssl, p->fd);
    if (SSL_connect(p->ssl) != 1)
        die("TLS handshake");
}

bool take_exactly(struct peer *p, void *to, size_t n)
{
    for (size_t have = 0; have < n;) {
        ssize_t r = p->ssl ? SSL_read(p->ssl, (char *)to + have, (int)(n - have))
                           : read(p->fd, (char *)to + have, n - have);
        if (r < 0 && errno == EINTR && !p->ssl)
            continue;
        if (r <= 0) {
            if (have == 0)
                return false;
            die("the peer closed within a message of the link");
        }
        have += (size_t)r;
    }
    return true;
}

void give_all(struct peer *p, struct kb_span bytes)
{
    while (bytes.len) {
        ssize_t r = p->ssl ? SSL_write(p->ssl, bytes.data, (int)bytes.len)
                           : send(p->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (r <= 0)
            die("sending: %s", strerror(errno));
        bytes.data += r;
        bytes.len -= (size_t)r;
    }
}

void set_nonblocking(struct peer *p)
{
    if (fcntl(p->fd, F_SETFL, fcntl(p->fd, F_GETFL) | O_NONBLOCK) != 0)
        die("fcntl: %s", strerror(errno));
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

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

void cycle_make(struct cycle *c, enum mix mix)
{
    static const uint8_t stream_id[4];
    uint32_t random = 2463534242u;
    *c = (struct cycle){0};
    kb_buf_reserve(&c->bytes, CYCLE_BYTES + 65536);
    while (c->bytes.len < CYCLE_BYTES) {
        uint32_t size = mix == MIX_64K   ? 65536
                        : mix == MIX_16K ? 16384
                                         : 200 + next_random(&random) % (4096 - 200 + 1);
        uint32_t data = size - MSG_HEADER - 12;
        kb_buf_add_u16(&c->bytes, SPICE_MSG_DISPLAY_STREAM_DATA);
        kb_buf_add_u32(&c->bytes, size - MSG_HEADER);
        kb_buf_add(&c->bytes, stream_id, sizeof stream_id);
        kb_buf_add_u32(&c->bytes, 0); /* the time; in the first message the cycle's number */
        kb_buf_add_u32(&c->bytes, data);
        for (uint32_t i = 0; i < data; i += 4) {
            uint8_t word[4];
            kb_put_u32(word, next_random(&random));
            kb_buf_add(&c->bytes, word, data - i < 4 ? data - i : 4);
        }
        c->messages++;
    }
}
