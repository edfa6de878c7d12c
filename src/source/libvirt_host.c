/* Loads libvirt's library, runs its event loop, holds a source's connection, and runs jobs over it.
 * Three kinds of threads: one of events for the whole process, one a job, and those of calls, which
 * wait. libvirt is not asked anything with a lock held. */
#include "source/libvirt_host.h"

#include "base/clock.h"
#include "base/mem.h"

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEEPALIVE_S 5 /* between two questions whether libvirtd is there; */
#define KEEPALIVES 3  /* and how many go unanswered before it is not */
#define LEFT_MAX 16u  /* jobs of a host that nobody waits for */
#define SLICE_MS 250  /* how often a waiting call looks whether it is to stop */
#define SETTLE_MS 100 /* domains that start come with several events */
#define CLOSE_MS 200

/* --- the library ------------------------------------------------------------------------------ */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct kb_libvirt library;
static const char *trouble;

static void say_nothing(void *arg, virErrorPtr error)
{
    (void)arg;
    (void)error;
}

static void *run_events(void *arg)
{
    (void)arg;
    for (;;)
        if (library.virEventRunDefaultImpl() < 0)
            poll(NULL, 0, SLICE_MS); /* whatever it is, it need not be tried all the time */
    return NULL;
}

static bool begin_thread(void *(*run)(void *), void *arg)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    bool ok = pthread_create(&thread, &attr, run, arg) == 0;
    pthread_attr_destroy(&attr);
    return ok;
}

static void load(void)
{
    static const struct {
        const char *name;
        size_t offset;
    } calls[] = {
#define ROW(name) {#name, offsetof(struct kb_libvirt, name)},
        KB_LIBVIRT_CALLS(ROW)
#undef ROW
    };
    void *file = dlopen("libvirt.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!file) {
        trouble = "libvirt's library (libvirt.so.0) is not on this machine; install libvirt0";
        return;
    }
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        void *call = dlsym(file, calls[i].name);
        if (!call) {
            trouble = "libvirt's library on this machine is older than 6.0";
            return;
        }
        memcpy((char *)&library + calls[i].offset, &call, sizeof call);
    }
    library.virSetErrorFunc(NULL, say_nothing); /* it would write to stderr */
    if (library.virInitialize() < 0 || library.virEventRegisterDefaultImpl() < 0 ||
        !begin_thread(run_events, NULL))
        trouble = "libvirt's library does not start";
}

const struct kb_libvirt *kb_libvirt_load(const char **why)
{
    pthread_once(&once, load);
    *why = trouble;
    return trouble ? NULL : &library;
}

/* --- the host --------------------------------------------------------------------------------- */

struct kb_libvirt_host {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned refs; /* of the source, each job, and each call-back that libvirt has */
    char *uri, *user;
    struct kb_secret password;
    virConnectPtr conn;      /* NULL: none */
    char *name;              /* of the conn's host, or NULL */
    bool dead;               /* the conn has ended by itself */
    bool connecting;         /* a job is at it */
    bool over;               /* the source is gone */
    int lifecycle, metadata; /* of the conn's call-backs; -1: none */
    uint64_t changes, listed;
    unsigned left; /* jobs that nobody waits for */
};

struct kb_libvirt_host *kb_libvirt_host_create(const char *uri, const char *user,
                                               const char *password)
{
    pthread_condattr_t attr;
    struct kb_libvirt_host *h = kb_zalloc(sizeof *h);
    pthread_mutex_init(&h->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&h->changed, &attr);
    pthread_condattr_destroy(&attr);
    h->refs = 1;
    h->uri = kb_strdup(uri);
    h->user = kb_strdup(user);
    kb_secret_set(&h->password, password);
    h->lifecycle = h->metadata = -1;
    return h;
}

static struct kb_libvirt_host *ref(struct kb_libvirt_host *h)
{
    pthread_mutex_lock(&h->lock);
    h->refs++;
    pthread_mutex_unlock(&h->lock);
    return h;
}

static void unref(void *arg)
{
    struct kb_libvirt_host *h = arg;
    pthread_mutex_lock(&h->lock);
    bool last = --h->refs == 0;
    pthread_mutex_unlock(&h->lock);
    if (!last)
        return;
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    free(h->uri);
    free(h->user);
    free(h->name);
    kb_secret_finish(&h->password);
    free(h);
}

/* With the lock: until something changed, at most so long. */
static void wait_for_change(struct kb_libvirt_host *h, unsigned ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += (long)ms * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&h->changed, &h->lock, &t);
}

/* --- events, on their own thread -------------------------------------------------------------- */

static void note_change(struct kb_libvirt_host *h, const virConnect *dead)
{
    pthread_mutex_lock(&h->lock);
    h->changes++;
    if (dead && dead == h->conn)
        h->dead = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

static void on_closed(virConnectPtr conn, int reason, void *arg)
{
    (void)reason;
    note_change(arg, conn);
}

static int on_lifecycle(virConnectPtr conn, virDomainPtr domain, int event, int detail, void *arg)
{
    (void)conn, (void)domain, (void)event, (void)detail;
    note_change(arg, NULL);
    return 0;
}

static void on_metadata(virConnectPtr conn, virDomainPtr domain, int type, const char *uri,
                        void *arg)
{
    (void)conn, (void)domain, (void)type, (void)uri;
    note_change(arg, NULL);
}

bool kb_libvirt_wait(struct kb_source_call *call, struct kb_libvirt_host *h)
{
    pthread_mutex_lock(&h->lock);
    bool deaf = h->conn && !h->dead && h->lifecycle < 0;
    while (!deaf && h->changes == h->listed && !kb_call_stopped(call))
        wait_for_change(h, SLICE_MS);
    bool changed = !deaf && h->changes != h->listed;
    uint64_t until = kb_clock_us() + SETTLE_MS * 1000;
    while (changed && kb_clock_us() < until && !kb_call_stopped(call))
        wait_for_change(h, SETTLE_MS);
    pthread_mutex_unlock(&h->lock);
    if (deaf)
        kb_call_failed(call, "libvirtd sends no events");
    return changed;
}

void kb_libvirt_listing(struct kb_libvirt_job *j)
{
    struct kb_libvirt_host *h = j->host;
    pthread_mutex_lock(&h->lock);
    h->listed = h->changes;
    pthread_mutex_unlock(&h->lock);
}

/* --- the connection, on jobs' threads --------------------------------------------------------- */

static int give_credentials(virConnectCredentialPtr wanted, unsigned count, void *arg)
{
    const struct kb_libvirt_host *h = arg;
    for (unsigned i = 0; i < count; i++) {
        bool name = wanted[i].type == VIR_CRED_AUTHNAME || wanted[i].type == VIR_CRED_USERNAME;
        const char *answer = name ? h->user : kb_secret_text(&h->password);
        if (!*answer)
            return -1;
        wanted[i].result = strdup(answer); /* libvirt frees it */
        wanted[i].resultlen = (unsigned)strlen(answer);
    }
    return 0;
}

struct closing {
    virConnectPtr conn;
    int lifecycle, metadata;
};

/* It asks libvirtd to say goodbye, so it may block as well. */
static void close_conn(const struct closing *c)
{
    if (c->lifecycle >= 0)
        library.virConnectDomainEventDeregisterAny(c->conn, c->lifecycle);
    if (c->metadata >= 0)
        library.virConnectDomainEventDeregisterAny(c->conn, c->metadata);
    library.virConnectUnregisterCloseCallback(c->conn, on_closed);
    library.virConnectClose(c->conn);
}

/* With the lock: the host has no connection any more. */
static struct closing detach(struct kb_libvirt_host *h)
{
    struct closing c = {h->conn, h->lifecycle, h->metadata};
    h->conn = NULL;
    h->lifecycle = h->metadata = -1;
    return c;
}

static int listen_for(struct kb_libvirt_host *h, virConnectPtr conn, int event,
                      virConnectDomainEventGenericCallback callback)
{
    ref(h);
    int id = library.virConnectDomainEventRegisterAny(conn, NULL, event, callback, h, unref);
    if (id < 0)
        unref(h);
    return id;
}

/* A connection with its call-backs; NULL with the job's why. */
static virConnectPtr open_conn(struct kb_libvirt_job *j, struct closing *c, char **name)
{
    static int types[] = {VIR_CRED_USERNAME, VIR_CRED_AUTHNAME, VIR_CRED_PASSPHRASE,
                          VIR_CRED_NOECHOPROMPT};
    struct kb_libvirt_host *h = j->host;
    virConnectAuth auth = {types, sizeof types / sizeof types[0], give_credentials, h};
    virConnectPtr conn = library.virConnectOpenAuth(h->uri, &auth, 0);
    if (!conn) {
        kb_libvirt_failed(j, "connecting");
        return NULL;
    }
    /* What a driver of libvirt cannot do we do without: then a lost connection shows when it is
     * used, and changes when the list is due. */
    library.virConnectSetKeepAlive(conn, KEEPALIVE_S, KEEPALIVES);
    ref(h);
    if (library.virConnectRegisterCloseCallback(conn, on_closed, h, unref) < 0)
        unref(h);
    *c = (struct closing){
        conn,
        listen_for(h, conn, VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)),
        listen_for(h, conn, VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
                   VIR_DOMAIN_EVENT_CALLBACK(on_metadata)),
    };
    *name = library.virConnectGetHostname(conn);
    return conn;
}

/* With the lock, which is let go meanwhile: makes the host's connection anew. */
static bool reconnect(struct kb_libvirt_job *j)
{
    struct kb_libvirt_host *h = j->host;
    struct closing old = detach(h), new = {0};
    char *name = NULL;
    h->connecting = true;
    pthread_mutex_unlock(&h->lock);
    if (old.conn)
        close_conn(&old);
    bool ok = open_conn(j, &new, &name) != NULL;
    pthread_mutex_lock(&h->lock);
    h->connecting = false;
    h->dead = false;
    h->conn = new.conn;
    h->lifecycle = ok ? new.lifecycle : -1;
    h->metadata = ok ? new.metadata : -1;
    if (ok) {
        free(h->name);
        h->name = name;
        h->changes++; /* what happened while nobody listened */
    }
    pthread_cond_broadcast(&h->changed);
    return ok;
}

/* One reference to a living connection, in j->conn. */
static bool take_conn(struct kb_libvirt_job *j)
{
    struct kb_libvirt_host *h = j->host;
    bool ok = true;
    pthread_mutex_lock(&h->lock);
    while (h->connecting && !h->over && !atomic_load(&j->left))
        wait_for_change(h, SLICE_MS);
    if (h->over || h->connecting || atomic_load(&j->left))
        ok = false;
    else if (!h->conn || h->dead)
        ok = reconnect(j);
    struct closing late = {0};
    if (ok && h->over) { /* the source went while we connected: nobody else closes it */
        late = detach(h);
        ok = false;
    }
    if (ok) {
        j->conn = h->conn;
        library.virConnectRef(j->conn);
        j->events = h->lifecycle >= 0;
        kb_copy_str(j->host_name, sizeof j->host_name, h->name ? h->name : "");
    }
    pthread_mutex_unlock(&h->lock);
    if (late.conn)
        close_conn(&late);
    return ok;
}

/* True: the connection was lost under the job; it is not to be used again. */
static bool lost(struct kb_libvirt_job *j)
{
    if (library.virConnectIsAlive(j->conn) == 1)
        return false;
    note_change(j->host, j->conn);
    return true;
}

struct ending {
    struct kb_libvirt_host *host;
    struct closing closing;
};

static void *run_ending(void *arg)
{
    struct ending *e = arg;
    close_conn(&e->closing);
    pthread_mutex_lock(&e->host->lock);
    e->host->connecting = false;
    pthread_cond_broadcast(&e->host->changed);
    pthread_mutex_unlock(&e->host->lock);
    unref(e->host);
    free(e);
    return NULL;
}

void kb_libvirt_host_destroy(struct kb_libvirt_host *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->over = true;
    pthread_cond_broadcast(&h->changed);
    if (h->conn) {
        struct ending *e = kb_zalloc(sizeof *e);
        e->host = h;
        e->closing = detach(h);
        h->refs++;
        h->connecting = true; /* until it is closed */
        uint64_t until = kb_clock_us() + CLOSE_MS * 1000;
        if (!begin_thread(run_ending, e)) {
            h->refs--; /* the connection ends with the process */
            h->connecting = false;
            free(e);
        }
        while (h->connecting && kb_clock_us() < until)
            wait_for_change(h, CLOSE_MS);
    }
    pthread_mutex_unlock(&h->lock);
    unref(h);
}

/* --- jobs ------------------------------------------------------------------------------------- */

bool kb_libvirt_failed(struct kb_libvirt_job *j, const char *what)
{
    const virError *error = library.virGetLastError();
    j->error.code = error ? error->code : VIR_ERR_INTERNAL_ERROR;
    kb_auto_free char *text =
        kb_printf("%s: %s", what, error && error->message ? error->message : "it failed");
    kb_copy_str(j->error.why, sizeof j->error.why, text);
    library.virResetLastError();
    return false;
}

bool kb_libvirt_left(struct kb_libvirt_job *j)
{
    atomic_store(&j->answer_us, kb_clock_us());
    return atomic_load(&j->left);
}

void kb_libvirt_release(struct kb_libvirt_job *j)
{
    struct kb_libvirt_host *h = j->host;
    if (h) {
        pthread_mutex_lock(&h->lock);
        bool last = --j->refs == 0;
        pthread_mutex_unlock(&h->lock);
        if (!last)
            return;
    }
    if (j->finish)
        j->finish(j);
    if (h)
        unref(h);
    free(j);
}

static void *run_job(void *arg)
{
    struct kb_libvirt_job *j = arg;
    struct kb_libvirt_host *h = j->host;
    bool ok = false;
    for (int attempt = 0; attempt < 2 && !ok && !kb_libvirt_left(j); attempt++) {
        j->error = (struct kb_libvirt_error){0};
        if (!take_conn(j))
            break;
        ok = j->work(j);
        bool again = !ok && lost(j);
        library.virConnectClose(j->conn);
        if (!again)
            break;
    }
    pthread_mutex_lock(&h->lock);
    j->ok = ok;
    j->done = true;
    if (atomic_load(&j->left))
        h->left--;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    kb_libvirt_release(j);
    return NULL;
}

/* With the lock: until it is done, or need not be waited for any more. */
static void wait_for_job(struct kb_source_call *call, struct kb_libvirt_host *h,
                         struct kb_libvirt_job *j)
{
    int64_t each = call->config->timeout ? call->config->timeout : KB_SOURCE_TIMEOUT_MS;
    while (!j->done && !kb_call_stopped(call) &&
           kb_clock_us() < atomic_load(&j->answer_us) + (uint64_t)each * 1000)
        wait_for_change(h, SLICE_MS);
    if (j->done)
        return;
    atomic_store(&j->left, true);
    h->left++;
    kb_call_failed(call, "libvirtd at %s does not answer", h->uri);
}

bool kb_libvirt_run(struct kb_source_call *call, struct kb_libvirt_host *h,
                    struct kb_libvirt_job *j)
{
    const char *why;
    j->lib = kb_libvirt_load(&why);
    if (!j->lib)
        return kb_call_failed(call, "%s", why);
    j->host = ref(h);
    j->refs = 1;
    atomic_store(&j->answer_us, kb_clock_us());
    pthread_mutex_lock(&h->lock);
    bool full = h->left >= LEFT_MAX;
    if (!full)
        j->refs++;
    if (full || !begin_thread(run_job, j)) {
        j->refs = 1;
        pthread_mutex_unlock(&h->lock);
        return full ? kb_call_failed(call, "libvirtd at %s has not answered %u earlier questions",
                                     h->uri, LEFT_MAX)
                    : kb_call_failed(call, "this machine gives kerbside no further thread");
    }
    wait_for_job(call, h, j);
    bool ok = j->done && j->ok;
    if (j->done)
        j->said = j->error;
    if (j->done && !ok)
        kb_call_failed(call, "%s", *j->said.why ? j->said.why : "libvirt said no");
    pthread_mutex_unlock(&h->lock);
    return ok;
}
