/* The proxy as a whole: its shards, listeners, options, the end. Main thread; it reaches the shards
 * by message. */
#include "proxy/proxy.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "net/listener.h"
#include "proxy/channel.h"
#include "proxy/entry.h"
#include "proxy/session_state.h"
#include "proxy/shard.h"
#include "spice/migration.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>

static struct kb_family accepted_total = {
    .name = "kerbside_connections_accepted_total",
    .help = "Connections accepted, by listener.",
    .labels = {"listener"},
};

static struct kb_family refused_total = {
    .name = "kerbside_connections_refused_total",
    .help = "Connections turned away at once, by listener and reason.",
    .labels = {"listener", "reason"},
};

/* One shard's part in one listener. */
struct kb_port {
    struct kb_port *next;
    struct kb_shard *shard;
    struct kb_acceptor *acceptor;
    unsigned accepts;
    char *name;
    struct kb_series *accepted;
};

struct kb_proxy_options kb_proxy_options_now(struct kb_proxy *p)
{
    pthread_mutex_lock(&p->lock);
    struct kb_proxy_options o = p->options;
    pthread_mutex_unlock(&p->lock);
    return o;
}

void kb_proxy_set_options(struct kb_proxy *p, const struct kb_proxy_options *o)
{
    pthread_mutex_lock(&p->lock);
    p->options = *o;
    pthread_mutex_unlock(&p->lock);
}

void kb_proxy_set_http(struct kb_proxy *p, kb_proxy_http_fn *adopt, void *http)
{
    p->http_adopt = adopt;
    p->http = http;
}

/* --- visiting the shards ---------------------------------------------------------------------- */

struct visit {
    struct kb_message message;
    struct kb_shard *shard;
    void (*run)(struct kb_shard *s, void *arg);
    void *arg;
    struct kb_latch *latch;
};

static void run_visit(struct kb_message *m)
{
    struct visit *v = (struct visit *)m;
    v->run(v->shard, v->arg);
    kb_latch_count_down(v->latch);
}

void kb_proxy_visit(struct kb_proxy *p, void (*run)(struct kb_shard *s, void *arg), void *arg)
{
    struct kb_latch latch;
    kb_latch_init(&latch, p->shard_count);
    kb_auto_free struct visit *visits = kb_calloc(p->shard_count, sizeof *visits);
    for (unsigned i = 0; i < p->shard_count; i++) {
        visits[i] = (struct visit){.message.run = run_visit,
                                   .shard = &p->shards[i],
                                   .run = run,
                                   .arg = arg,
                                   .latch = &latch};
        kb_loop_post(p->shards[i].loop, &visits[i].message);
    }
    kb_latch_wait(&latch);
}

/* --- listeners -------------------------------------------------------------------------------- */

/* Before TLS there is nothing that the client could be told. No address is in the event: a storm
 * comes from many, and is to be one event that the store counts, not thousands. */
static void turned_away(struct kb_port *port, enum kb_reason reason)
{
    kb_metric_add(kb_metric(&refused_total, port->name, kb_reason_name(reason), NULL, NULL), 1);
    struct kb_audit_event e = {0};
    kb_copy_str(e.event, sizeof e.event, "channel.refused");
    kb_copy_str(e.reason, sizeof e.reason, kb_reason_name(reason));
    kb_auto_free char *detail =
        kb_printf("%s: %s", port->name,
                  reason == KB_REASON_TOO_MANY              ? "limits.connections is reached"
                  : reason == KB_REASON_TOO_MANY_HANDSHAKES ? "limits.handshakes is reached"
                                                            : "raise the limit of open files");
    kb_copy_str(e.detail, sizeof e.detail, detail);
    kb_store_audit(port->shard->proxy->store, &e);
}

/* NONE: it may come in. The kernel gives the lowest free number, so one above the ceiling says that
 * hardly any are left: those are for what live sessions, sources and the store have yet to open. */
static enum kb_reason may_enter(const struct kb_shard *s, int fd)
{
    struct kb_proxy *p = s->proxy;
    struct kb_proxy_options o = kb_proxy_options_now(p);
    if ((unsigned)fd >= p->fd_ceiling)
        return KB_REASON_NO_DESCRIPTOR;
    if (atomic_load(&p->connections) >= o.max_connections)
        return KB_REASON_TOO_MANY;
    if (s->handshakes >= o.max_handshakes)
        return KB_REASON_TOO_MANY_HANDSHAKES;
    return KB_REASON_NONE;
}

static void on_accepted(struct kb_acceptor *a, int fd)
{
    struct kb_port *port = a->owner;
    kb_metric_add(port->accepted, 1);
    enum kb_reason reason = may_enter(port->shard, fd);
    if (reason == KB_REASON_NONE) {
        kb_entry_create(port->shard, fd, port->accepts);
        return;
    }
    close(fd);
    turned_away(port, reason);
}

static void on_exhausted(struct kb_acceptor *a)
{
    turned_away(a->owner, KB_REASON_NO_DESCRIPTOR);
}

struct listen {
    int fd;
    unsigned accepts;
    const char *name;
};

static void listen_here(struct kb_shard *s, void *arg)
{
    const struct listen *l = arg;
    struct kb_port *port = kb_zalloc(sizeof *port);
    port->shard = s;
    port->accepts = l->accepts;
    port->name = kb_strdup(l->name);
    port->accepted = kb_metric(&accepted_total, l->name, NULL, NULL, NULL);
    port->acceptor =
        kb_acceptor_create(s->loop, l->fd, &s->reserve, on_accepted, on_exhausted, port);
    port->next = s->ports;
    s->ports = port;
}

void kb_proxy_listen(struct kb_proxy *p, int fd, unsigned accepts, const char *name)
{
    struct listen l = {fd, accepts, name};
    kb_proxy_visit(p, listen_here, &l);
    close(fd); /* every shard has its own copy of the descriptor */
}

static void set_accepts_here(struct kb_shard *s, void *arg)
{
    const struct listen *l = arg;
    for (struct kb_port *port = s->ports; port; port = port->next)
        if (strcmp(port->name, l->name) == 0)
            port->accepts = l->accepts;
}

void kb_proxy_set_accepts(struct kb_proxy *p, const char *name, unsigned accepts)
{
    struct listen l = {-1, accepts, name};
    kb_proxy_visit(p, set_accepts_here, &l);
}

static void unlisten_here(struct kb_shard *s, void *arg)
{
    const char *name = arg;
    for (struct kb_port **at = &s->ports; *at;) {
        struct kb_port *port = *at;
        if (name && strcmp(port->name, name) != 0) {
            at = &port->next;
            continue;
        }
        *at = port->next;
        kb_acceptor_destroy(port->acceptor);
        free(port->name);
        free(port);
    }
}

void kb_proxy_unlisten(struct kb_proxy *p, const char *name)
{
    kb_auto_free char *copy = kb_strdup(name);
    kb_proxy_visit(p, unlisten_here, copy);
}

static void set_tls_here(struct kb_shard *s, void *arg)
{
    SSL_CTX *tls = arg;
    SSL_CTX_up_ref(tls);
    SSL_CTX_free(s->tls);
    s->tls = tls;
}

void kb_proxy_set_tls(struct kb_proxy *p, SSL_CTX *tls)
{
    kb_proxy_visit(p, set_tls_here, tls);
}

/* --- the way back ----------------------------------------------------------------------------- */

void kb_proxy_set_public(struct kb_proxy *p, const char *host, uint16_t port, uint16_t tls_port,
                         const char *host_subject)
{
    struct kb_buf body = {0};
    if (host)
        kb_migration_write(&body, host, port, tls_port, host_subject);
    pthread_mutex_lock(&p->lock);
    struct kb_buf old = p->way_back;
    p->way_back = body;
    pthread_mutex_unlock(&p->lock);
    kb_buf_finish(&old);
}

void kb_proxy_way_back(struct kb_proxy *p, struct kb_buf *body)
{
    pthread_mutex_lock(&p->lock);
    if (p->way_back.len)
        kb_buf_add(body, p->way_back.data, p->way_back.len);
    pthread_mutex_unlock(&p->lock);
}

/* --- policies --------------------------------------------------------------------------------- */

struct kb_policy_book *kb_proxy_policies(struct kb_proxy *p)
{
    pthread_mutex_lock(&p->lock);
    struct kb_policy_book *b = kb_policy_book_ref(p->policies);
    pthread_mutex_unlock(&p->lock);
    return b;
}

static void renew_rules_here(struct kb_shard *s, void *arg)
{
    (void)arg;
    for (struct kb_session *k = s->sessions; k; k = k->next)
        kb_session_renew_rules(k);
}

void kb_proxy_set_policies(struct kb_proxy *p, struct kb_policy_book *policies)
{
    pthread_mutex_lock(&p->lock);
    struct kb_policy_book *old = p->policies;
    p->policies = kb_policy_book_ref(policies);
    pthread_mutex_unlock(&p->lock);
    kb_policy_book_unref(old);
    kb_proxy_visit(p, renew_rules_here, NULL);
}

/* --- life ------------------------------------------------------------------------------------- */

static void on_tick(void *arg)
{
    struct kb_shard *s = arg;
    s->ticks++;
    kb_loop_measure(s->loop);
    uint64_t now = kb_clock_us();
    for (struct kb_session *k = s->sessions, *next; k; k = next) {
        next = k->next; /* a session may end here, the next one cannot */
        kb_session_tick(k, now, s->ticks);
    }
}

static void start_here(struct kb_shard *s, void *arg)
{
    (void)arg;
    kb_timer_start(s->loop, &s->tick, 1000, 1000, on_tick, s);
}

/* An eighth of the descriptors is kept, 512 at most. */
static unsigned fd_ceiling(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur > INT_MAX)
        return INT_MAX;
    unsigned all = (unsigned)r.rlim_cur;
    return all - (all / 8 < 512 ? all / 8 : 512);
}

struct kb_proxy *kb_proxy_create(unsigned loops, const struct kb_proxy_options *o,
                                 struct kb_store *store, struct kb_sources *sources)
{
    struct kb_ticket_key *first = kb_ticket_key_create();
    if (!first)
        return NULL;
    if (loops == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        loops = cores > 0 ? (unsigned)cores : 1;
    }
    struct kb_proxy *p = kb_zalloc(sizeof *p);
    p->store = store;
    p->sources = sources;
    p->options = *o;
    p->fd_ceiling = fd_ceiling();
    p->policies = kb_policy_book_create();
    pthread_mutex_init(&p->lock, NULL);
    kb_worker_init(&p->resolver);
    kb_worker_start(&p->resolver, "resolver");
    kb_worker_init(&p->key_maker);
    kb_worker_start(&p->key_maker, "key-maker");
    p->shard_count = loops;
    p->shards = kb_calloc(loops, sizeof *p->shards);
    for (unsigned i = 0; i < loops; i++) {
        struct kb_shard *s = &p->shards[i];
        s->proxy = p;
        s->loop = kb_loop_create(i);
        s->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
        kb_keyring_init(&s->keys, s->loop, &p->key_maker, first);
        kb_loop_start(s->loop);
    }
    kb_ticket_key_unref(first);
    kb_proxy_visit(p, start_here, NULL);
    return p;
}

static void stop_here(struct kb_shard *s, void *arg)
{
    (void)arg;
    s->stopped = true;
    unlisten_here(s, NULL);
    while (s->sessions)
        kb_session_end(s->sessions, KB_REASON_DRAINED, NULL);
    while (s->channels)
        kb_channel_close(s->channels, KB_REASON_DRAINED, NULL);
    kb_entry_end_all(s);
    kb_timer_finish(&s->tick);
}

void kb_proxy_stop(struct kb_proxy *p)
{
    kb_proxy_visit(p, stop_here, NULL);
}

static void settle_here(struct kb_shard *s, void *arg)
{
    (void)s;
    (void)arg;
}

void kb_proxy_settle(struct kb_proxy *p)
{
    kb_proxy_visit(p, settle_here, NULL);
}

void kb_proxy_destroy(struct kb_proxy *p)
{
    if (!p)
        return;
    /* First those who post to the loops, then the loops. */
    kb_worker_stop(&p->resolver);
    kb_worker_stop(&p->key_maker);
    for (unsigned i = 0; i < p->shard_count; i++)
        kb_loop_destroy(p->shards[i].loop);
    for (unsigned i = 0; i < p->shard_count; i++) {
        struct kb_shard *s = &p->shards[i];
        kb_keyring_finish(&s->keys);
        SSL_CTX_free(s->tls);
        if (s->reserve >= 0)
            close(s->reserve);
    }
    pthread_mutex_destroy(&p->lock);
    kb_policy_book_unref(p->policies);
    kb_buf_finish(&p->way_back);
    free(p->shards);
    free(p);
}

unsigned kb_proxy_session_count(const struct kb_proxy *p)
{
    return atomic_load(&p->sessions);
}
