/* A connection: one socket, plain or TLS, on one loop. It reads what is asked for, queues what is
 * written, and tells its owner when something can go on.
 *
 * What is queued and not yet sent is held in blocks; the owner keeps that bounded by reading no
 * more from the other leg while kb_conn_backlog() is not 0. TLS goes through a BIO of ours: all
 * records of one wake-up leave in one system call, and a bulk read takes many records in one. */
#ifndef KB_NET_CONN_H
#define KB_NET_CONN_H

#include "base/auto.h"
#include "base/span.h"
#include "net/loop.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

struct kb_conn;

struct kb_conn_events {
    void (*ready)(struct kb_conn *c);    /* the TLS handshake is done */
    void (*readable)(struct kb_conn *c); /* a read may give bytes, the end or the error */
    void (*drained)(struct kb_conn *c);  /* the backlog is 0 again */
    void (*failed)(struct kb_conn *c);   /* the handshake or a write failed; see detail */
};

enum kb_io {
    KB_IO_OK,
    KB_IO_AGAIN, /* nothing now; readable() will come */
    KB_IO_END,   /* the peer closed */
    KB_IO_ERROR, /* the connection broke; see detail */
};

struct kb_conn {
    struct kb_loop *loop;
    int fd;
    uv_poll_t *poll;
    int polled;   /* the events that the kernel watches for us */
    bool reading; /* the owner wants readable() */
    bool watched; /* the owner wants to know when the peer leaves while nothing is read */
    bool handshaking;
    bool broken; /* a write failed; all later ones do nothing */
    bool direct; /* TLS: the BIO may read the socket itself */
    bool
        setup; /* handshake, link, HTTP: has its turns when live channels have had theirs; the owner
                   of a live channel clears it */
    bool fresh;         /* TLS client: proves the peer anew, resumes nothing */
    bool emptied;       /* the last read took all there was: the next would be AGAIN, or the end */
    bool much;          /* the last read took much */
    unsigned bulk_gone; /* for kb_loop_bulk_may */
    long verify_result; /* TLS client: X509_V_OK or why the server's certificate is not trusted */
    SSL *ssl;           /* NULL: plain */
    struct kb_span in;  /* TLS: bytes read from the socket that OpenSSL has not had yet; empty
                           between calls */
    struct kb_block *out, *out_last;
    size_t out_bytes;
    uint64_t sent; /* bytes that the socket has taken; with TLS, of its records */
    const struct kb_conn_events *events;
    void *owner;
    struct kb_timer linger;
    size_t discarded;
    char peer[64]; /* address without port: "192.0.2.1", "2001:db8::1", "unix" */
    uint16_t peer_port;
    char detail[160]; /* what went wrong, in the system's or OpenSSL's words */
};

/* Takes fd over (non-blocking already), sets the TCP options, watches nothing yet. */
struct kb_conn *kb_conn_create(struct kb_loop *l, int fd, const struct kb_conn_events *events,
                               void *owner);
void kb_conn_set_owner(struct kb_conn *c, const struct kb_conn_events *events, void *owner);
/* TLS from now on; ready() or failed() follows. ctx is referenced. name: SNI, for the client side,
 * or NULL. */
void kb_conn_accept_tls(struct kb_conn *c, SSL_CTX *ctx);
void kb_conn_connect_tls(struct kb_conn *c, SSL_CTX *ctx, const char *name);

/* Whether the owner wants readable(). */
void kb_conn_want_read(struct kb_conn *c, bool want);

/* For a peer that has to wait: while the owner does not read, failed() tells that the peer is gone;
 * detail is "" when it closed the connection, or what broke it. It may be told in the middle of
 * bytes that were not read. */
void kb_conn_watch(struct kb_conn *c, bool watch);

/* Reads at most n bytes. With n of KB_CONN_BULK or more, all that OpenSSL holds comes out with it;
 * after smaller reads go on until KB_IO_AGAIN, or bytes may wait unseen. */
#define KB_CONN_BULK 32768
enum kb_io kb_conn_read(struct kb_conn *c, void *to, size_t n, size_t *got);
/* Looks at the first bytes without taking them. Plain only. */
enum kb_io kb_conn_peek(struct kb_conn *c, void *to, size_t n, size_t *got);

/* Queues bytes; with TLS they make records of their own, ended at the last byte. Then flush. */
void kb_conn_queue(struct kb_conn *c, struct kb_span bytes);
/* Sends what the socket takes. False when the connection is broken (failed() is not called then).
 */
KB_MUST_CHECK bool kb_conn_flush(struct kb_conn *c);
static inline size_t kb_conn_backlog(const struct kb_conn *c)
{
    return c->out_bytes;
}

/* Smoothed round-trip time of the socket in microseconds; 0: unknown. */
uint32_t kb_conn_rtt_us(const struct kb_conn *c);

/* Off this loop, onto another: detach on the old thread, attach on the new one. In between the
 * connection belongs to the message that carries it. */
void kb_conn_detach(struct kb_conn *c);
void kb_conn_attach(struct kb_conn *c, struct kb_loop *l);

/* Ends it now. */
void kb_conn_destroy(struct kb_conn *c); /* takes NULL */
/* Ends it so that the peer gets what is queued: sends it, says goodbye (close_notify, FIN), reads
 * and forgets what still comes, for a few seconds at most. Owned by nobody from here on. */
void kb_conn_close(struct kb_conn *c); /* takes NULL */

/* Says goodbye and ends it now, for a peer that waits for nothing. */
void kb_conn_hang_up(struct kb_conn *c);

/* An address as text without the port; the port comes back. */
uint16_t kb_conn_format_address(const struct sockaddr *a, char *text, size_t size);

#endif
