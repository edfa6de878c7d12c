/* A shard: the proxy's share of one loop. Private to proxy.
 *
 *   proxy => shard => session => (borrowed) channel
 *                  => channel => client leg, server leg
 *                  => entry   (a connection that is not a channel yet)
 *
 * => owns, -> borrows. All of a shard is touched by its loop's thread only. */
#ifndef KB_PROXY_SHARD_H
#define KB_PROXY_SHARD_H

#include "base/buf.h"
#include "proxy/keyring.h"
#include "proxy/proxy.h"

#include <stdatomic.h>

struct kb_entry;
struct kb_channel;
struct kb_session;
struct kb_policy_book;
struct kb_port;

/* A token's sessions are found by the first byte of its hash. */
#define KB_TOKEN_BUCKETS 256

struct kb_shard {
    struct kb_proxy *proxy;
    struct kb_loop *loop;
    SSL_CTX *tls;
    struct kb_port *ports; /* listening here */
    struct kb_entry *entries;
    unsigned handshakes; /* how many entries */
    struct kb_channel *channels;
    struct kb_session *sessions;
    struct kb_session *by_token[KB_TOKEN_BUCKETS];
    struct kb_keyring keys;
    struct kb_timer tick; /* once a second */
    unsigned ticks;
    int reserve;  /* a spare descriptor for the acceptors */
    bool stopped; /* nothing new may begin */
};

struct kb_proxy {
    struct kb_store *store;
    struct kb_sources *sources;
    struct kb_worker resolver;       /* getaddrinfo */
    struct kb_worker key_maker;      /* RSA keys */
    struct kb_proxy_options options; /* under lock; shards copy what they need when they need it */
    struct kb_policy_book *policies; /* counted; under lock */
    struct kb_buf way_back;          /* body of a SWITCH_HOST to us; under lock */
    pthread_mutex_t lock;            /* leaf */
    kb_proxy_http_fn *http_adopt;
    void *http;
    atomic_uint connections, sessions;
    unsigned fd_ceiling; /* a client's descriptor is below it */
    unsigned shard_count;
    struct kb_shard *shards;
};

struct kb_proxy_options kb_proxy_options_now(struct kb_proxy *p);

/* Referenced for the caller. Any thread. */
struct kb_policy_book *kb_proxy_policies(struct kb_proxy *p);

/* Appends the body of a SWITCH_HOST that leads to us; nothing while we do not know it. Any thread.
 */
void kb_proxy_way_back(struct kb_proxy *p, struct kb_buf *body);

/* Runs visit(shard, arg) on every shard's own thread and waits for all. Not from a loop. */
void kb_proxy_visit(struct kb_proxy *p, void (*visit)(struct kb_shard *s, void *arg), void *arg);

#endif
