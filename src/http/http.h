/* REST, the .vv files, health and metrics, over libmicrohttpd with a small pool of threads. It has no
 * public listener of its own: the proxy's loops hand over connections on which a client spoke HTTP
 * inside TLS. */
#ifndef KB_HTTP_HTTP_H
#define KB_HTTP_HTTP_H

#include "net/conn.h"
#include "proxy/session.h"

struct kb_store;
struct kb_sources;
struct kb_identity;
struct kb_policy_book;
struct kb_http;

/* What pages and files say; a copy is kept. Changed as a whole at reload. */
struct kb_http_options {
    const char *node, *version;
    const char *public_host;    /* .vv: host */
    uint16_t public_spice_port; /* .vv: tls-port */
    uint16_t public_plain_port; /* .vv: port; 0: left out */
    const char *public_url;     /* links: "https://host:port", no slash at the end */
    const char *ca_pem;         /* .vv: ca; NULL: left out (a public CA) */
    const char *host_subject;   /* .vv: host-subject; NULL: left out */
    int64_t start_within, exchange_within, max_session, idle_timeout, login_lifetime; /* ms */
    bool reusable;
    bool local_logins;  /* identity.local.enabled */
    unsigned requests;  /* a second, of each address and each key or user; 0: no limit */
    int64_t request_ms; /* a request must have come whole, and its answer begun, in this time */
    struct kb_identity
        *identity; /* roles and providers; NULL: none. Counted; a reference is kept */
    struct kb_policy_book *policies; /* the same; NULL: a `default` that says nothing */
};

/* admin_fd: a listening unix socket (the file's mode is the permission), or -1.
 * metrics_fd: a listening TCP socket for /metrics alone, or -1. Both are taken over. NULL on
 * failure. */
struct kb_http *kb_http_create(const struct kb_http_options *o, struct kb_store *store,
                               struct kb_sources *sources, struct kb_proxy *proxy, int admin_fd,
                               int metrics_fd);
void kb_http_destroy(struct kb_http *h);
/* Main thread, at reload. */
void kb_http_set_options(struct kb_http *h, const struct kb_http_options *o);
/* /readyz: false while starting or draining. Any thread. */
void kb_http_set_ready(struct kb_http *h, bool ready);
/* Loop thread: takes the connection over; prefix is what was already read of the first request. */
void kb_http_adopt(struct kb_http *h, struct kb_conn *c, struct kb_span prefix);

#endif
