/* The inside of the http room's server: for the bridge that hands connections over, and for the
 * handlers that need more than their request. */
#ifndef KB_HTTP_SERVER_H
#define KB_HTTP_SERVER_H

#include "http/http.h"
#include "http/limit.h"
#include "http/slow.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

struct MHD_Daemon;

/* The options, counted: a request keeps those it began with. */
struct kb_http_config {
    unsigned refs; /* by __atomic */
    struct kb_http_options options;
};

/* What a daemon's callbacks get: which door a request comes through. */
struct kb_http_entry {
    struct kb_http *http;
    unsigned which; /* enum kb_http_door */
};

struct kb_http {
    struct kb_http_entry entries[3];
    struct MHD_Daemon *web, *admin, *metrics; /* the last two may be NULL */
    pthread_mutex_t lock;                     /* leaf; over config */
    struct kb_http_config *config;
    atomic_bool ready;
    struct kb_store *store;
    struct kb_sources *sources;
    struct kb_proxy *proxy;
    int64_t started_at; /* wall clock ms */
    struct kb_limit login_failures;
    struct kb_limit requests, request_log; /* a pace each; the log's: one line a key */
    _Atomic(int64_t) request_ms;           /* as in the options; for bridges */
    struct kb_limit refusals; /* of what is refused again and again one event a minute is audited */
    struct kb_slow slow;
};

/* Any thread: hands one end of a stream socket to the HTTP threads, who own it from then on, also
 * on failure. peer is the client's address, for limits and the audit. False when there are too many
 * connections already. */
bool kb_http_add_socket(struct kb_http *h, int fd, const struct sockaddr *peer, socklen_t len);

#endif
