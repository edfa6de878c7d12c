/* What both ends of a benchmark share: one connection, plain or TLS, blocking while it links and
 * non-blocking afterwards, and the stream of messages that one sends and the other expects.
 * Single-threaded; whatever goes wrong ends the program with a word on stderr, because a run with
 * an error has no result. */
#ifndef KB_BENCH_PEER_H
#define KB_BENCH_PEER_H

#include "base/buf.h"

#include <openssl/ssl.h>

struct peer {
    int fd;
    SSL *ssl; /* NULL: plain */
};

/* Ends the program. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ns(void);
/* TLS 1.3 with AES-256-GCM and nothing else. */
SSL_CTX *make_context(bool server);

/* To a port of this machine, blocking, with TLS unless ctx is NULL. */
void peer_connect(struct peer *p, SSL_CTX *ctx, unsigned port);
/* Exactly n bytes, blocking. False: the peer closed before the first of them. */
bool take_exactly(struct peer *p, void *to, size_t n);
void give_all(struct peer *p, struct kb_span bytes);
/* The data phase: non-blocking from here on. */
void set_nonblocking(struct peer *p);
/* The number of bytes, 0 when it would block, -1 at the end. */
ssize_t take_some(struct peer *p, void *to, size_t n);
ssize_t give_some(struct peer *p, const void *from, size_t n);

/* Mixes of display messages, by the size of a whole message. */
enum mix {
    MIX_64K,   /* 65536 */
    MIX_16K,   /* 16384 */
    MIX_SMALL, /* 200 to 4096, a different one each time */
    MIX_COUNT,
};
extern const char *const mix_names[MIX_COUNT];

/* An endless stream is this one cycle of some 4 MiB again and again, with the cycle's number in its
 * first message: every byte has one right value at every place. Messages are display's STREAM_DATA.
 */
struct cycle {
    struct kb_buf bytes;
    size_t messages;
};
void cycle_make(struct cycle *c, enum mix mix);
/* Where the cycle's number stands, 4 bytes. */
#define CYCLE_NUMBER_AT 10

/* Echoed messages: a port's DATA of this size, header included. */
#define ECHO_SIZE 64
#define MSG_HEADER 6

/* Every port's name, and the body of the INIT that tells it. */
#define PORT_NAME "org.test.bench"
#define PORT_INIT_SIZE (9 + sizeof PORT_NAME)

#endif
