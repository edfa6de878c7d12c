/* Start, reload, drain, stop. The main thread does nothing else than wait for signals; everything
 * it starts has a thread of its own. */
#include "daemon/daemon.h"

#include "base/clock.h"
#include "base/mem.h"
#include "daemon/admin.h"
#include "daemon/config.h"
#include "daemon/listeners.h"
#include "daemon/memory.h"
#include "daemon/version.h"
#include "http/http.h"
#include "identity/settings.h"
#include "net/certificate.h"
#include "net/listener.h"
#include "net/tls_context.h"
#include "net/tls_ticket.h"
#include "proxy/proxy.h"
#include "spice/host_subject.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>

/* Logins of the page and the API last a working day. */
#define LOGIN_LIFETIME_MS (8 * 3600 * 1000)

struct daemon {
    struct kb_config *config;
    struct kb_store *store;
    struct kb_sources *sources;
    struct kb_proxy *proxy;
    struct kb_http *http;
    struct kb_identity *identity;
    struct kb_listeners listeners;
    int lock_fd;
};

/* What a certificate means for the outside: the listeners' context and the .vv's two lines. */
struct identity_files {
    SSL_CTX *tls;
    char *ca_pem;
    char *host_subject;
};

static void finish_identity(struct identity_files *f)
{
    SSL_CTX_free(f->tls);
    free(f->ca_pem);
    free(f->host_subject);
}

static int fail(const char *what, const char *why)
{
    kb_log(KB_LOG_ERROR, "daemon.failed", KB_STR("what", what), KB_STR("detail", why));
    return 2;
}

static char *read_file(const char *path)
{
    kb_auto_fclose FILE *f = fopen(path, "re");
    kb_auto(kb_buf_finish) struct kb_buf b = {0};
    if (!f)
        return NULL;
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0 && b.len < 1 << 20;)
        kb_buf_add(&b, part, n);
    return kb_buf_steal(&b);
}

static bool load_identity(const struct kb_config *c, struct identity_files *f, char **error)
{
    *f = (struct identity_files){0};
    kb_auto(kb_certificate_files_finish) struct kb_certificate_files made = {0};
    const char *certificate = c->tls.certificate[0], *key = c->tls.key[0], *ca = c->tls.ca;
    if (!certificate) {
        if (!kb_certificate_ensure(c->state_dir, c->public.host, &made, error))
            return false;
        certificate = made.certificate;
        key = made.key;
        ca = made.ca;
    }
    f->tls = kb_tls_server_create(certificate, key, error);
    if (!f->tls)
        return false;
    for (size_t i = 1; i < KB_CONFIG_CERTIFICATES && c->tls.certificate[i]; i++)
        if (!kb_tls_server_add(f->tls, c->tls.certificate[i], c->tls.key[i], error))
            return false;
    if (ca && !(f->ca_pem = read_file(ca))) {
        *error = kb_printf("%s: %s", ca, strerror(errno));
        return false;
    }
    X509 *x = SSL_CTX_get0_certificate(f->tls);
    struct kb_buf subject = {0};
    if (kb_host_subject_format(&subject, X509_get_subject_name(x)))
        f->host_subject = kb_buf_steal(&subject);
    kb_buf_finish(&subject);
    return true;
}

static struct kb_proxy_options proxy_options(const struct kb_config *c)
{
    return (struct kb_proxy_options){
        .setup_ms = (uint64_t)c->timeouts.setup,
        .connect_ms = (uint64_t)c->timeouts.connect,
        .link_ms = (uint64_t)c->timeouts.link,
        .max_connections = c->limits.connections,
        .max_handshakes = c->limits.handshakes,
        .max_session_channels = c->limits.session_channels,
        .max_user_sessions = c->limits.user_sessions,
        .max_address_sessions = c->limits.address_sessions,
    };
}

/* With `port: 0` the true port is known only once it is open; then it goes into links and files. */
static struct kb_http_options http_options(const struct kb_config *c,
                                           const struct identity_files *f,
                                           struct kb_identity *identity, uint16_t open_port,
                                           char **url)
{
    uint16_t port = c->public.spice_port ? c->public.spice_port : open_port;
    bool v6 = strchr(c->public.host, ':');
    *url = c->public.url
               ? kb_strdup(c->public.url)
               : kb_printf("https://%s%s%s:%u", v6 ? "[" : "", c->public.host, v6 ? "]" : "", port);
    return (struct kb_http_options){
        .node = c->node_name,
        .version = KB_VERSION,
        .public_host = c->public.host,
        .public_spice_port = port,
        .public_plain_port = c->public.plain_port,
        .public_url = *url,
        .ca_pem = f->ca_pem,
        .host_subject = f->host_subject,
        .start_within = c->grants.start_within,
        .exchange_within = c->grants.exchange_within,
        .max_session = c->grants.max_session,
        .idle_timeout = c->grants.idle_timeout,
        .login_lifetime = LOGIN_LIFETIME_MS,
        .reusable = c->grants.reusable,
        .local_logins = c->local_logins,
        .requests = c->limits.http_requests,
        .request_ms = c->timeouts.request,
        .identity = identity,
        .policies = c->policies,
    };
}

static void log_problems(const char *event, const struct kb_buf *problems)
{
    kb_auto_free char *text = problems->len ? strndup((char *)problems->data, problems->len) : NULL;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));)
        if (*line)
            kb_log(KB_LOG_WARNING, event, KB_STR("problem", line));
}

static void audit_reload(struct daemon *d, const char *event, const char *detail)
{
    struct kb_audit_event e = {0};
    kb_copy_str(e.event, sizeof e.event, event);
    kb_copy_str(e.detail, sizeof e.detail, detail);
    kb_store_audit(d->store, &e);
}

/* --- reload ----------------------------------------------------------------------------------- */

/* Everything that can be refused is tried before anything is changed. */
static bool reload_with(struct daemon *d, struct kb_config *next, char **error)
{
    struct identity_files files;
    struct kb_listeners listeners = {0};
    bool ok = load_identity(next, &files, error) &&
              kb_listeners_open(&d->listeners, next, &listeners, error);
    if (!ok) {
        finish_identity(&files);
        return false;
    }
    kb_log_set_level(next->log.level);
    kb_store_set_retention(d->store, next->retention.audit, next->retention.sessions);
    struct kb_proxy_options o = proxy_options(next);
    kb_proxy_set_options(d->proxy, &o);
    kb_proxy_set_policies(d->proxy, next->policies);
    kb_proxy_set_tls(d->proxy, files.tls);
    kb_sources_load(d->sources, next->sources, next->source_count);
    next->sources = NULL;
    next->source_count = 0;
    kb_auto_free char *url = NULL;
    kb_identity_unref(d->identity);
    d->identity = kb_identity_create(&next->identity);
    struct kb_http_options h =
        http_options(next, &files, d->identity, kb_listeners_spice_port(&listeners), &url);
    kb_http_set_options(d->http, &h);
    kb_proxy_set_public(d->proxy, h.public_host, h.public_plain_port, h.public_spice_port,
                        h.host_subject);
    kb_listeners_apply(d->proxy, &d->listeners, &listeners);
    finish_identity(&files);
    return true;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void warn_unchangeable(const struct kb_config *old, const struct kb_config *next)
{
    if (!same(old->state_dir, next->state_dir) || !same(old->runtime_dir, next->runtime_dir) ||
        !same(old->store_url, next->store_url) || !same(old->node_name, next->node_name) ||
        old->loops != next->loops || !same(old->metrics_host, next->metrics_host) ||
        old->metrics_port != next->metrics_port || old->log.format != next->log.format)
        kb_log(KB_LOG_WARNING, "config.restart_needed",
               KB_STR("detail",
                      "state_dir, runtime_dir, store, node, metrics and log.format change "
                      "with a restart only"));
}

static void reload(struct daemon *d)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)kb_clock_us());
    kb_auto(kb_buf_finish) struct kb_buf problems = {0};
    kb_auto_free char *error = NULL;
    struct kb_config *next = kb_config_load(d->config->file, &problems);
    log_problems("config.problem", &problems);
    if (next && reload_with(d, next, &error)) {
        warn_unchangeable(d->config, next);
        kb_config_destroy(d->config);
        d->config = next;
        audit_reload(d, "config.reloaded", "");
    } else {
        kb_config_destroy(next);
        audit_reload(d, "config.rejected", error ? error : "see config.problem in the log");
    }
    sd_notify(0, "READY=1");
}

/* --- start ------------------------------------------------------------------------------------ */

static bool make_dir(const char *path, mode_t mode)
{
    if (mkdir(path, mode) == 0 || errno == EEXIST)
        return access(path, W_OK | X_OK) == 0;
    return false;
}

static int prepare_dirs(struct daemon *d)
{
    const struct kb_config *c = d->config;
    if (!make_dir(c->state_dir, 0700))
        return fail(c->state_dir, strerror(errno));
    if (!make_dir(c->runtime_dir, 0755))
        return fail(c->runtime_dir, strerror(errno));
    kb_auto_free char *lock = kb_printf("%s/lock", c->state_dir);
    d->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return fail(lock, strerror(errno));
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return fail(lock, "another kerbside is running on this state_dir");
    return 0;
}

static int open_store(struct daemon *d)
{
    const struct kb_config *c = d->config;
    kb_auto_free char *error = NULL;
    d->store = kb_store_create(c->store_url, c->state_dir, c->node_name, &error);
    if (!d->store)
        return fail("store", error);
    kb_store_set_retention(d->store, c->retention.audit, c->retention.sessions);
    struct kb_store_recover recover = {.call.verb = KB_STORE_RECOVER};
    if (kb_store_run(d->store, &recover.call) != KB_STORE_OK)
        return fail("store", "it cannot be written");
    if (recover.ended)
        kb_log(KB_LOG_WARNING, "session.recovered", KB_UINT("ended", recover.ended));
    return kb_admin_ensure(d->store, c->state_dir) ? 0
                                                   : fail("store", "no administrator can be made");
}

static int open_side_sockets(const struct kb_config *c, int *admin_fd, int *metrics_fd)
{
    kb_auto_free char *error = NULL;
    kb_auto_free char *path = kb_printf("%s/admin.sock", c->runtime_dir);
    *metrics_fd = -1;
    *admin_fd = kb_listen_unix(path, 0660, &error);
    if (*admin_fd < 0)
        return fail(path, error);
    if (c->metrics_host &&
        kb_listen_tcp(c->metrics_host, c->metrics_port, metrics_fd, 1, &error) == 0) {
        close(*admin_fd);
        return fail("metrics", error);
    }
    return 0;
}

/* The proxy knows HTTP only as somebody who takes connections over. */
static void adopt_http(void *http, struct kb_conn *c, struct kb_span prefix)
{
    kb_http_adopt(http, c, prefix);
}

static int start(struct daemon *d)
{
    struct kb_config *c = d->config;
    int code = prepare_dirs(d);
    if (code == 0)
        code = open_store(d);
    if (code)
        return code;
    kb_auto_free char *error = NULL;
    kb_auto(finish_identity) struct identity_files files = {0};
    if (!load_identity(c, &files, &error))
        return fail("tls", error);
    struct kb_listeners listeners = {0};
    if (!kb_listeners_open(&d->listeners, c, &listeners, &error))
        return fail("listen", error);
    d->sources = kb_sources_create(d->store);
    kb_sources_load(d->sources, c->sources, c->source_count);
    c->sources = NULL;
    c->source_count = 0;
    struct kb_proxy_options o = proxy_options(c);
    d->proxy = kb_proxy_create(c->loops, &o, d->store, d->sources);
    if (!d->proxy) {
        kb_listeners_finish(&listeners);
        return fail("openssl",
                    "it cannot make an RSA-1024 key, which SPICE needs; is FIPS mode on?");
    }
    int admin_fd, metrics_fd;
    code = open_side_sockets(c, &admin_fd, &metrics_fd);
    if (code) {
        kb_listeners_finish(&listeners);
        return code;
    }
    kb_auto_free char *url = NULL;
    d->identity = kb_identity_create(&c->identity);
    struct kb_http_options h =
        http_options(c, &files, d->identity, kb_listeners_spice_port(&listeners), &url);
    d->http = kb_http_create(&h, d->store, d->sources, d->proxy, admin_fd, metrics_fd);
    if (!d->http) {
        kb_listeners_finish(&listeners);
        return fail("http", "libmicrohttpd cannot start");
    }
    kb_proxy_set_policies(d->proxy, c->policies);
    kb_proxy_set_public(d->proxy, h.public_host, h.public_plain_port, h.public_spice_port,
                        h.host_subject);
    kb_proxy_set_tls(d->proxy, files.tls);
    kb_proxy_set_http(d->proxy, adopt_http, d->http);
    kb_listeners_apply(d->proxy, &d->listeners, &listeners);
    kb_http_set_ready(d->http, true);
    kb_log(KB_LOG_INFO, "daemon.started", KB_STR("version", KB_VERSION),
           KB_STR("node", c->node_name), KB_STR("url", url));
    return 0;
}

/* --- stop ------------------------------------------------------------------------------------- */

/* Waits for a signal, or until the time is over; 0 then. */
static int wait_signal(const sigset_t *signals, int64_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    int s = sigtimedwait(signals, NULL, &t);
    return s > 0 ? s : 0;
}

static void drain(struct daemon *d, const sigset_t *signals)
{
    sd_notify(0, "STOPPING=1");
    kb_http_set_ready(d->http, false);
    kb_proxy_unlisten(d->proxy, NULL);
    uint64_t until = kb_clock_us() + (uint64_t)d->config->drain * 1000;
    kb_log(KB_LOG_INFO, "daemon.draining", KB_UINT("sessions", kb_proxy_session_count(d->proxy)));
    while (kb_proxy_session_count(d->proxy) && kb_clock_us() < until) {
        int s = wait_signal(signals, 50);
        if (s == SIGTERM || s == SIGINT)
            break; /* asked twice: now */
    }
}

/* Those who ask go before those who answer; what was answered is dealt with before the store goes.
 */
static void stop(struct daemon *d)
{
    kb_sources_stop(d->sources); /* HTTP may wait for a cloud */
    kb_http_destroy(d->http);
    if (d->proxy)
        kb_proxy_stop(d->proxy);
    kb_sources_destroy(d->sources);
    if (d->proxy) {
        struct kb_store_ping ping = {.call.verb = KB_STORE_PING};
        kb_store_run(d->store, &ping.call);
        kb_proxy_settle(d->proxy);
    }
    kb_store_destroy(d->store);
    kb_proxy_destroy(d->proxy);
    kb_listeners_finish(&d->listeners);
    kb_identity_unref(d->identity);
    kb_tls_client_forget();
    kb_tls_ticket_forget();
    if (d->lock_fd >= 0)
        close(d->lock_fd);
}

static void serve(struct daemon *d, const sigset_t *signals)
{
    uint64_t watchdog_us = 0, alive_us = 0;
    struct kb_memory memory = {0};
    sd_watchdog_enabled(0, &watchdog_us);
    sd_notify(0, "READY=1");
    int64_t turn_ms = watchdog_us && watchdog_us < 2000000 ? (int64_t)(watchdog_us / 2000) : 1000;
    for (;;) {
        int s = wait_signal(signals, turn_ms);
        if (watchdog_us && kb_clock_us() - alive_us >= watchdog_us / 4) {
            alive_us = kb_clock_us();
            sd_notify(0, "WATCHDOG=1");
        }
        if (s == 0)
            kb_memory_tick(&memory);
        if (s == SIGHUP)
            reload(d);
        else if (s == SIGTERM || s == SIGINT)
            break;
    }
    drain(d, signals);
}

/* Two descriptors a channel: as many as the service manager lets us have. */
static void raise_limits(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
    /* Tickets are in memory; a core file would put them on a disk. */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
}

int kb_daemon_main(const char *config_file)
{
    if (!kb_secret_start())
        return fail("libsodium", "no randomness");
    kb_auto(kb_buf_finish) struct kb_buf problems = {0};
    struct daemon d = {.lock_fd = -1, .config = kb_config_load(config_file, &problems)};
    if (!d.config) {
        log_problems("config.problem", &problems);
        return fail(config_file, "the configuration has errors; `kerbside check` lists them");
    }
    /* Threads inherit the mask: signals come to the main thread only, and only when it waits. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    raise_limits();
    kb_log_start(d.config->log.format, d.config->log.level);
    log_problems("config.problem", &problems);
    int code = start(&d);
    if (code == 0)
        serve(&d, &signals);
    stop(&d);
    kb_config_destroy(d.config);
    if (code == 0)
        kb_log(KB_LOG_INFO, "daemon.stopped", KB_STR("version", KB_VERSION));
    kb_log_stop();
    return code;
}
