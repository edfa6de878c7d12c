/* The sessions of each client context, by peer, behind a lock that is a leaf. */
#include "net/tls_resume.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

struct kept_session {
    char *peer;
    SSL_SESSION *session;
    uint64_t proved_us; /* the full handshake that it goes back to */
    UT_hash_handle hh;
};

struct resume_cache {
    pthread_mutex_t lock;
    struct kept_session *by_peer; /* the oldest first */
};

static int ctx_index = -1, ssl_index = -1;

static char *peer_of(const struct kb_conn *c)
{
    const char *name = SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name);
    return kb_printf("%s %u %s", c->peer, c->peer_port, name ? name : "");
}

static void drop(struct resume_cache *cache, struct kept_session *k)
{
    HASH_DEL(cache->by_peer, k);
    SSL_SESSION_free(k->session);
    free(k->peer);
    free(k);
}

static void free_cache(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long l, void *p)
{
    (void)parent, (void)ad, (void)index, (void)l, (void)p;
    struct resume_cache *cache = ptr;
    if (!cache)
        return;
    while (cache->by_peer)
        drop(cache, cache->by_peer);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static void make_indexes(void)
{
    ctx_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_cache);
    ssl_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    if (ctx_index < 0 || ssl_index < 0)
        abort();
}

/* OpenSSL has a session for us: at the end of a handshake, with TLS 1.3 at any later read. */
static int keep(SSL *ssl, SSL_SESSION *session)
{
    const struct kb_conn *c = SSL_get_ex_data(ssl, ssl_index);
    struct resume_cache *cache = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ctx_index);
    if (!c || !SSL_SESSION_is_resumable(session))
        return 0;
    struct kept_session *k = kb_zalloc(sizeof *k), *old;
    k->peer = peer_of(c);
    k->session = session; /* returning 1 keeps the reference */
    pthread_mutex_lock(&cache->lock);
    HASH_FIND_STR(cache->by_peer, k->peer, old);
    bool reused = SSL_session_reused(ssl);
    k->proved_us = !reused ? kb_clock_us() : old ? old->proved_us : 0;
    if (!old && HASH_COUNT(cache->by_peer) >= KB_RESUME_MAX)
        old = cache->by_peer;
    if (old)
        drop(cache, old);
    HASH_ADD_KEYPTR(hh, cache->by_peer, k->peer, strlen(k->peer), k);
    pthread_mutex_unlock(&cache->lock);
    return 1;
}

void kb_tls_resume_init(SSL_CTX *ctx)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_indexes);
    struct resume_cache *cache = kb_zalloc(sizeof *cache);
    pthread_mutex_init(&cache->lock, NULL);
    if (SSL_CTX_set_ex_data(ctx, ctx_index, cache) != 1)
        abort();
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep);
}

void kb_tls_resume_offer(struct kb_conn *c)
{
    struct resume_cache *cache = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(c->ssl), ctx_index);
    SSL_set_ex_data(c->ssl, ssl_index, c);
    char *peer = peer_of(c);
    struct kept_session *k;
    pthread_mutex_lock(&cache->lock);
    HASH_FIND_STR(cache->by_peer, peer, k);
    if (k && kb_clock_us() - k->proved_us > KB_RESUME_LIFE_S * 1000000ull) {
        drop(cache, k);
        k = NULL;
    }
    /* OpenSSL spoils a session of TLS 1.3 when it is used, so that tickets are used once: whoever
     * watches shall not see that two connections are one client's (RFC 8446 C.4). Here everybody
     * sees that, and all channels of a session are dialled at the same time: a copy is spoilt. */
    SSL_SESSION *copy = k ? SSL_SESSION_dup(k->session) : NULL;
    pthread_mutex_unlock(&cache->lock);
    if (copy)
        SSL_set_session(c->ssl, copy);
    SSL_SESSION_free(copy);
    free(peer);
}
