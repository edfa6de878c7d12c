/* Dialling out: resolve a name off the loop, then try its addresses one after the other, each with
 * a deadline. TLS comes after, by kb_conn_connect_tls. */
#ifndef KB_NET_DIALER_H
#define KB_NET_DIALER_H

#include "base/reason.h"
#include "net/conn.h"

struct kb_dial;

struct kb_dial_result {
    struct kb_conn *conn;  /* connected; owned by the receiver; NULL on failure */
    enum kb_reason reason; /* RESOLVE_FAILED, CONNECT_FAILED, CONNECT_TIMEOUT, PROXY_REFUSED */
    const char *detail;    /* the system's words; borrowed */
    uint64_t resolve_us;   /* of the time that it took; 0 for what is an address already */
};

/* resolver: a worker that may block in getaddrinfo; nobody waits for it longer than each_ms, and no
 * longer than that for each address. The result comes later, never from within this call. The
 * loop's thread. */
struct kb_dial *kb_dial_tcp(struct kb_loop *l, struct kb_worker *resolver, const char *host,
                            uint16_t port, uint64_t each_ms,
                            void (*done)(void *arg, const struct kb_dial_result *r), void *arg);
struct kb_dial *kb_dial_unix(struct kb_loop *l, const char *path, uint64_t each_ms,
                             void (*done)(void *arg, const struct kb_dial_result *r), void *arg);
/* The same through an HTTP proxy: CONNECT to host:port, which the proxy understands and nobody here
 * looks up. PROXY_REFUSED with its status when it says no. One request for all of that may take
 * each_ms after connecting. */
struct kb_dial *kb_dial_tunnel(struct kb_loop *l, struct kb_worker *resolver, const char *proxy,
                               uint16_t proxy_port, const char *host, uint16_t port,
                               uint64_t each_ms,
                               void (*done)(void *arg, const struct kb_dial_result *r), void *arg);
/* In the turn of the loop in which the dial began: see kb_tcp_begin_small. */
void kb_dial_begin_small(struct kb_dial *d);
/* done() will not be called. Not after it was. */
void kb_dial_cancel(struct kb_dial *d);

#endif
