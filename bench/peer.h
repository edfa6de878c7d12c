/* What both ends of a benchmark share: one connection, plain or TLS, that never blocks unless its
 * owner says so (peer_wait, take_whole). Single-threaded; whatever goes wrong ends the program with
 * a word on stderr, because a run with an error has no result. */
#ifndef KB_BENCH_PEER_H
#define KB_BENCH_PEER_H

#include "base/span.h"

#include <openssl/ssl.h>

struct peer {
    int fd;
    SSL *ssl; /* NULL: plain */
};

/* Where a connection leads on this machine. */
struct door {
    unsigned port;
    unsigned through; /* 0, or port is an HTTP proxy's, which is asked to CONNECT to this one */
    SSL_CTX *tls;     /* NULL: plain */
};

/* Ends the program. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ns(void);
/* TLS 1.3 with AES-256-GCM and nothing else. */
SSL_CTX *make_context(bool server);
/* Makes timerfd `timer` readable at now_ns() == ns. */
void set_alarm(int timer, uint64_t ns);

/* Connected when it returns; TLS is begun with peer_shake. */
void peer_connect(struct peer *p, const struct door *d);
/* Of an accepted socket. */
void peer_accepted(struct peer *p, int fd, SSL_CTX *tls);
/* Carries the handshake on as far as bytes have come: 1 when it is done, or there is none to do, 0
 * while it is not, -1 when it failed. */
int peer_shake(struct peer *p);
void peer_close(struct peer *p);

/* Until it is readable. */
void peer_wait(struct peer *p);
/* The number of bytes, 0 when it would block, -1 at the end. */
ssize_t take_some(struct peer *p, void *to, size_t n);
ssize_t give_some(struct peer *p, const void *from, size_t n);
/* Waits for all n bytes. */
void take_whole(struct peer *p, void *to, size_t n);
/* Of little that the socket must take at once. False: the peer has gone. */
bool give_whole(struct peer *p, struct kb_span bytes);

#endif
