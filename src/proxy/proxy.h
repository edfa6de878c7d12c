/* The heart, as the daemon sees it: loops, listeners, limits, the end. The rest of the program sees
 * session.h. Main thread. */
#ifndef KB_PROXY_PROXY_H
#define KB_PROXY_PROXY_H

#include "base/auto.h"
#include "net/conn.h"
#include "proxy/session.h"

struct kb_store;
struct kb_sources;
struct kb_policy_book;

enum { KB_LISTEN_SPICE = 1, KB_LISTEN_HTTP = 2, KB_LISTEN_REDIRECT = 4 };

struct kb_proxy_options {
    uint64_t setup_ms;   /* client: accept to ticket */
    uint64_t connect_ms; /* hypervisor: each address */
    uint64_t link_ms;    /* hypervisor: TLS and link */
    unsigned max_connections;
    unsigned max_handshakes;                          /* on each loop */
    unsigned max_session_channels;                    /* of one session */
    unsigned max_user_sessions, max_address_sessions; /* 0: no limit */
};

/* Takes an HTTP client over on the loop it is on; prefix is what was read of it. */
typedef void kb_proxy_http_fn(void *http, struct kb_conn *c, struct kb_span prefix);

/* loops 0: one per core. NULL if there is no key to be had from OpenSSL. Starts the loops. */
struct kb_proxy *kb_proxy_create(unsigned loops, const struct kb_proxy_options *o,
                                 struct kb_store *store, struct kb_sources *sources);
/* Before the first listener. */
void kb_proxy_set_http(struct kb_proxy *p, kb_proxy_http_fn *adopt, void *http);
/* Any time: from now on. tls is referenced. */
void kb_proxy_set_options(struct kb_proxy *p, const struct kb_proxy_options *o);
void kb_proxy_set_tls(struct kb_proxy *p, SSL_CTX *tls);
/* How clients reach us, as their .vv files say; before that, and with a host of NULL, a client
 * whose desktop has moved cannot be sent back here. */
void kb_proxy_set_public(struct kb_proxy *p, const char *host, uint16_t port, uint16_t tls_port,
                         const char *host_subject);
/* From now on sessions have these policies; the book is referenced. Returns when every live session
 * has its new rules. Before the first one the book holds a `default` that says nothing. */
void kb_proxy_set_policies(struct kb_proxy *p, struct kb_policy_book *policies);
/* Accepts from fd on every loop; accepts is a set of KB_LISTEN_*. fd is taken over. name is a label
 * of the metrics ("127.0.0.1:8443"). */
void kb_proxy_listen(struct kb_proxy *p, int fd, unsigned accepts, const char *name);
/* What the listener of that name accepts from now on. */
void kb_proxy_set_accepts(struct kb_proxy *p, const char *name, unsigned accepts);
/* Closes the listener of that name, or all with NULL. Returns when no loop accepts any more. */
void kb_proxy_unlisten(struct kb_proxy *p, const char *name);

unsigned kb_proxy_session_count(const struct kb_proxy *p);
/* Ends all that is left, with DRAINED; nothing begins any more. The store and the sources must
 * still be there. */
void kb_proxy_stop(struct kb_proxy *p);
/* Returns when every loop has dealt with the answers that were posted to it before. */
void kb_proxy_settle(struct kb_proxy *p);
/* Joins the loops. No answer of store or sources may be under way any more. */
void kb_proxy_destroy(struct kb_proxy *p);

#endif
