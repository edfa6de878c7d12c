/* KubeVirt: virtual machine instances of a Kubernetes cluster, with a VNC and a serial console each
 * behind a WebSocket of the API server; SPICE it has none. A whole list is followed by a watch,
 * whose events are applied to what the list said. docs/sources/kubevirt.md. Threads of calls.
 * Facts: kubernetes.io, "Kubernetes API Concepts"; pkg/virt-api/api.go of KubeVirt. */
#include "source/api.h"
#include "source/vmi.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>

#define PAGES_MAX 10000
#define TOKEN_MAX 16384
#define WATCH_S 240 /* a watch is asked for this long, and begun anew */
#define REST_US UINT64_C(1000000)
#define REST_DOUBLINGS 6 /* at most 64 s */

static const struct kb_source_key keys[] = {
    {"url", KB_KEY_URL, .max = 1024, .required = true},
    {"token", KB_KEY_SECRET, .max = TOKEN_MAX},
    {"token_file", KB_KEY_PATH, .max = 1024},
    {"namespace", KB_KEY_TEXT, .max = 253},
    {"serial", KB_KEY_BOOL, .fallback = "true"},
    {"verify", KB_KEY_VERIFY, .fallback = "true"},
};

/* What calls share. */
struct cluster {
    pthread_mutex_t lock;
    struct kb_console *known; /* the last whole list, and all that a watch has told since */
    char *version;            /* of known: where a watch begins; NULL: it must be listed anew */
    atomic_bool relisted;     /* known was replaced: the watch under way is of the one before */
    unsigned troubles;        /* in a row, of watches; they make it rest longer */
    uint64_t rested_us;       /* when the last rest began */
    bool complained;          /* that it cannot watch */
};

static void *kubevirt_start(const struct kb_source_config *config)
{
    (void)config;
    struct cluster *k = kb_zalloc(sizeof *k);
    pthread_mutex_init(&k->lock, NULL);
    return k;
}

static void kubevirt_finish(void *state)
{
    struct cluster *k = state;
    kb_consoles_destroy(&k->known);
    pthread_mutex_destroy(&k->lock);
    free(k->version);
    free(k);
}

/* --- asking ----------------------------------------------------------------------------------- */

/* "Authorization: Bearer ...". A file is read each time: kubelet and its like write a new token
 * into it before the old one ends. False with call->why. */
static bool bearer_of(struct kb_source_call *call, struct kb_secret *bearer)
{
    const char *path = kb_setting_text(call->config, "token_file");
    const char *token = kb_setting_secret(call->config, "token");
    char text[TOKEN_MAX] = "";
    if (path) {
        kb_auto_fclose FILE *f = fopen(path, "re");
        if (f)
            setvbuf(f, NULL, _IONBF, 0); /* no second copy */
        size_t len = f ? fread(text, 1, sizeof text - 1, f) : 0;
        text[len] = '\0';
        text[strcspn(text, " \t\r\n")] = '\0';
        if (!*text)
            return kb_call_failed(call, "logging in: %.150s holds no token, or cannot be read",
                                  path);
        token = text;
    }
    *bearer = (struct kb_secret){*token ? kb_printf("Authorization: Bearer %s", token) : NULL};
    kb_wipe(text, sizeof text);
    return true;
}

/* The rest of a holds what else is wished. The answer of any status is in it; false: there is
 * none. */
static bool ask(struct kb_source_call *call, const char *what, const char *path, struct kb_api *a)
{
    kb_auto_free char *url = kb_printf("%s%s", kb_setting_text(call->config, "url"), path);
    kb_auto(kb_secret_finish) struct kb_secret bearer = {0};
    if (!bearer_of(call, &bearer))
        return false;
    a->what = what;
    a->url = url;
    a->headers[0] = "Accept: application/json";
    a->headers[1] = a->body ? "Content-Type: application/json" : NULL;
    a->headers[2] = bearer.text;
    a->no_verify = !kb_setting_flag(call->config, "verify");
    bool ok = kb_api_ask(call, a);
    memset(a->headers, 0, sizeof a->headers);
    a->url = kb_setting_text(call->config, "url"); /* for messages, and lives on */
    return ok;
}

#define INSTANCES "virtualmachineinstances"

/* Of all namespaces, or of the configured one. */
static char *list_path(const struct kb_source_config *c, const char *query)
{
    const char *space = kb_setting_text(c, "namespace");
    kb_auto_free char *escaped = space ? kb_fetch_escape(space) : NULL;
    return kb_printf("/apis/kubevirt.io/v1/%s%s%s" INSTANCES "?%s", space ? "namespaces/" : "",
                     space ? escaped : "", space ? "/" : "", query);
}

/* Of one instance, whose console has "NAMESPACE/NAME" in extra. group: of the API. */
static char *instance_path(const char *group, const struct kb_console *console, const char *end)
{
    const char *slash = strchr(console->extra, '/');
    kb_auto_free char *space = kb_printf("%.*s", (int)(slash - console->extra), console->extra);
    kb_auto_free char *s = kb_fetch_escape(space), *n = kb_fetch_escape(slash + 1);
    return kb_printf("/apis/%s/v1/namespaces/%s/" INSTANCES "/%s%s", group, s, n, end);
}

/* --- the whole list --------------------------------------------------------------------------- */

/* from: where the page begins; NULL: the first; "" for all of it at once. *next: to be freed; NULL
 * at the end. *version: the list's, to be freed. *expired: it took too long for the pages to belong
 * together. */
static bool list_page(struct kb_source_call *call, const char *from, struct kb_console **map,
                      char **next, char **version, bool *expired)
{
    kb_auto_free char *escaped = from ? kb_fetch_escape(from) : NULL;
    kb_auto_free char *query = !from   ? kb_strdup("limit=500")
                               : *from ? kb_printf("limit=500&continue=%s", escaped)
                                       : kb_strdup("");
    kb_auto_free char *path = list_path(call->config, query);
    kb_auto(kb_api_finish) struct kb_api a = {.max = KB_API_LIST_MAX};
    if (!ask(call, "listing instances", path, &a))
        return false;
    const json_t *items = json_object_get(a.json, "items"), *vmi;
    const json_t *meta = json_object_get(a.json, "metadata");
    const char *now = kb_json_str(meta, "resourceVersion"), *more = kb_json_str(meta, "continue");
    *expired = a.status == 410 && from && *from;
    if (*expired)
        return true;
    if (a.status != 200 || !now || (!json_is_array(items) && !json_is_null(items)))
        return kb_api_refused(call, &a);
    size_t i;
    json_array_foreach(items, i, vmi) kb_vmi_add(map, vmi, kb_setting_flag(call->config, "serial"));
    free(*version);
    *version = kb_strdup(now);
    *next = more && *more ? kb_strdup(more) : NULL;
    return true;
}

static bool list_whole(struct kb_source_call *call, struct kb_console **map, char **version)
{
    kb_auto_free char *from = NULL;
    bool whole = false;
    for (int page = 0; page < PAGES_MAX; page++) {
        bool expired = false;
        char *next = NULL;
        if (!list_page(call, from, map, &next, version, &expired))
            return false;
        if (expired && whole)
            return kb_call_failed(call, "listing instances: the list changes faster than its "
                                        "pages can be asked for");
        if (expired) { /* all at once, which cannot be too late */
            kb_consoles_destroy(map);
            next = kb_strdup("");
            whole = true;
        }
        free(from);
        from = next;
        if (!from)
            return true;
    }
    return kb_call_failed(call, "listing instances: the pages have no end");
}

static void copy_map(struct kb_console *from, struct kb_console **to)
{
    for (const struct kb_console *c = from; c; c = c->hh.next)
        kb_consoles_add(to, kb_console_copy(c));
}

/* What a watch has told needs no further question. */
static bool take_known(struct cluster *k, struct kb_console **map)
{
    pthread_mutex_lock(&k->lock);
    bool known = k->version != NULL;
    if (known)
        copy_map(k->known, map);
    pthread_mutex_unlock(&k->lock);
    return known;
}

static enum kb_listed kubevirt_list(struct kb_source_call *call, struct kb_console **map)
{
    struct cluster *k = call->state;
    kb_auto_free char *version = NULL;
    if (call->announced && take_known(k, map))
        return KB_LISTED;
    if (!list_whole(call, map, &version))
        return KB_LIST_FAILED;
    if (call->check)
        return KB_LISTED;
    pthread_mutex_lock(&k->lock);
    kb_consoles_destroy(&k->known);
    copy_map(*map, &k->known);
    free(k->version);
    k->version = version;
    version = NULL;
    atomic_store(&k->relisted, true);
    pthread_mutex_unlock(&k->lock);
    return KB_LISTED;
}

/* --- the watch -------------------------------------------------------------------------------- */

enum watched {
    WATCH_ENDED,   /* as all of them do: go on from where it was */
    WATCH_CHANGED, /* known is another */
    WATCH_EXPIRED, /* from that version on it cannot be told: list anew */
    WATCH_BROKEN,  /* no answer, or none that makes sense; call->why */
    WATCH_REFUSED, /* we may not; call->why */
};

struct watch {
    struct cluster *cluster;
    struct kb_vmi_watch events;
    enum kb_vmi_news news;
    bool told; /* something came at all */
};

/* False ends it: there is news, or what is known now is of a later list. */
static bool take_bytes(void *to, const void *data, size_t len)
{
    struct watch *w = to;
    pthread_mutex_lock(&w->cluster->lock);
    bool ours = !atomic_load(&w->cluster->relisted);
    if (ours)
        w->news = kb_vmi_watch_take(&w->events, data, len);
    pthread_mutex_unlock(&w->cluster->lock);
    w->told = w->told || w->news == KB_VMI_SAME || w->news == KB_VMI_CHANGED;
    return ours && w->news == KB_VMI_SAME;
}

static enum watched result_of(struct kb_source_call *call, const struct watch *w, bool ok,
                              const struct kb_api *a)
{
    if (w->events.changed && w->news != KB_VMI_EXPIRED) /* what else came is said again */
        return WATCH_CHANGED;
    if (w->news == KB_VMI_EXPIRED)
        return WATCH_EXPIRED;
    if (w->news == KB_VMI_BROKEN) {
        char words[160];
        kb_api_copy_words(words, sizeof words, w->events.why);
        *call->why = '\0';
        kb_call_failed(call, "watching instances: %s", words);
        return WATCH_BROKEN;
    }
    if (atomic_load(&w->cluster->relisted) || (ok && a->status == 200))
        return WATCH_ENDED;
    if (!ok) /* balancers and restarts cut watches off */
        return w->told ? WATCH_ENDED : WATCH_BROKEN;
    kb_api_refused(call, a);
    return a->status == 410                       ? WATCH_EXPIRED
           : a->status == 401 || a->status == 403 ? WATCH_REFUSED
                                                  : WATCH_BROKEN;
}

/* One watch from version on, until it ends or has told of a change. */
static enum watched watch(struct kb_source_call *call, const char *version)
{
    struct cluster *k = call->state;
    struct watch w = {.cluster = k,
                      .events = {.serial = kb_setting_flag(call->config, "serial"),
                                 .known = &k->known,
                                 .version = &k->version}};
    kb_auto_free char *escaped = kb_fetch_escape(version);
    kb_auto_free char *query = kb_printf(
        "watch=1&resourceVersion=%s&allowWatchBookmarks=true&timeoutSeconds=%d", escaped, WATCH_S);
    kb_auto_free char *path = list_path(call->config, query);
    kb_auto(kb_api_finish) struct kb_api a = {
        .take = take_bytes,
        .take_to = &w,
        .stop_too = &k->relisted,
        .deadline = (WATCH_S + 10) * 1000,
    };
    bool ok = ask(call, "watching instances", path, &a);
    if (w.told)
        k->troubles = 0; /* this thread's alone: there is one watch at a time */
    enum watched result = result_of(call, &w, ok, &a);
    kb_vmi_watch_finish(&w.events);
    return result;
}

/* A second between watches, so that a storm of changes is taken in gulps; longer after trouble.
 * False: the call is over. */
static bool rest(const struct kb_source_call *call)
{
    struct cluster *k = call->state;
    unsigned doublings = k->troubles < REST_DOUBLINGS ? k->troubles : REST_DOUBLINGS;
    uint64_t until = k->rested_us + (REST_US << doublings);
    while (!kb_call_stopped(call) && kb_clock_us() < until)
        poll(NULL, 0, 50);
    k->rested_us = kb_clock_us();
    return !kb_call_stopped(call);
}

/* Where a watch begins; NULL: nowhere, it must be listed. To be freed. */
static char *begin_watch(struct cluster *k)
{
    pthread_mutex_lock(&k->lock);
    char *version = kb_strdup(k->version);
    atomic_store(&k->relisted, false);
    pthread_mutex_unlock(&k->lock);
    return version;
}

static void forget_version(struct cluster *k)
{
    pthread_mutex_lock(&k->lock);
    free(k->version);
    k->version = NULL;
    pthread_mutex_unlock(&k->lock);
}

/* Once, until it works again: the list by the clock goes on meanwhile. */
static void complain(struct kb_source_call *call)
{
    struct cluster *k = call->state;
    if (!k->complained && !kb_call_stopped(call))
        kb_log(KB_LOG_WARNING, "source.not_watched", KB_STR("source", call->config->name),
               KB_STR("why", call->why));
    k->complained = true;
}

static bool kubevirt_wait(struct kb_source_call *call)
{
    struct cluster *k = call->state;
    while (rest(call)) {
        kb_auto_free char *version = begin_watch(k);
        enum watched result = version ? watch(call, version) : WATCH_EXPIRED;
        if (result == WATCH_EXPIRED)
            forget_version(k);
        if (result == WATCH_BROKEN || result == WATCH_REFUSED)
            complain(call);
        else
            k->complained = false;
        if (result == WATCH_BROKEN || result == WATCH_EXPIRED)
            k->troubles++;
        if (result == WATCH_CHANGED || result == WATCH_EXPIRED)
            return true;
        if (result == WATCH_REFUSED)
            return false;
        *call->why = '\0';
    }
    return false;
}

/* --- open ------------------------------------------------------------------------------------- */

/* How to reach the console over the API server's WebSocket. */
static bool set_way(struct kb_source_call *call, const struct kb_console *console,
                    struct kb_target *t)
{
    const char *url = kb_setting_text(call->config, "url");
    bool secure = strncmp(url, "https:", 6) == 0;
    uint16_t port;
    free(t->host);
    free(t->tls_name);
    free(t->ca_pem);
    t->host = t->tls_name = NULL;
    t->ca_pem = kb_strdup(kb_api_ca(call->config));
    if (!kb_api_place(url, &t->host, &port))
        return kb_call_failed(call, "opening: url names no host");
    t->tls = secure ? KB_TLS_REQUIRE : KB_TLS_PLAIN;
    *(secure ? &t->tls_port : &t->port) = port ? port : secure ? 443 : 80;
    t->path = instance_path("subresources.kubevirt.io", console,
                            console->protocol == KB_PROTOCOL_VNC ? "/vnc" : "/console");
    return bearer_of(call, &t->header);
}

static enum kb_reason kubevirt_open(struct kb_source_call *call, const struct kb_console *console,
                                    struct kb_target **target)
{
    kb_auto_free char *path = instance_path("kubevirt.io", console, "");
    kb_auto(kb_api_finish) struct kb_api a = {0};
    if (!ask(call, "asking for the instance", path, &a))
        return KB_REASON_SOURCE_FAILED;
    if (a.status == 404)
        return KB_REASON_CONSOLE_GONE;
    if (a.status != 200 || !json_is_object(json_object_get(a.json, "metadata"))) {
        kb_api_refused(call, &a);
        return KB_REASON_SOURCE_FAILED;
    }
    /* A name may be another machine's by now. */
    struct kb_console *map = NULL;
    kb_vmi_add(&map, a.json, kb_setting_flag(call->config, "serial"));
    const struct kb_console *now = kb_consoles_find(map, console->uuid);
    enum kb_reason reason = now ? KB_REASON_NONE : KB_REASON_CONSOLE_GONE;
    struct kb_target *t = now ? kb_target_of(call->config, now) : NULL;
    if (t && !set_way(call, now, t)) {
        reason = KB_REASON_SOURCE_FAILED;
        kb_target_unref(t);
        t = NULL;
    }
    *target = t;
    kb_consoles_destroy(&map);
    return reason;
}

/* --- check ------------------------------------------------------------------------------------ */

static bool check_login(struct kb_source_call *call)
{
    kb_auto(kb_api_finish) struct kb_api a = {0};
    if (!ask(call, "logging in", "/apis/kubevirt.io/v1", &a))
        return kb_check_failed(call, "login", "Look at token_file.");
    if (a.status == 200 && json_is_array(json_object_get(a.json, "resources"))) {
        kb_check_ok(call, "login", "the cluster has kubevirt.io/v1");
        return true;
    }
    kb_api_refused(call, &a);
    return kb_check_failed(call, "login",
                           a.status == 401   ? "Look at token or token_file: a service account's "
                                               "token has an end."
                           : a.status == 404 ? "Look whether KubeVirt runs in this cluster, and "
                                               "whether url is that of its API server."
                                             : "Look whether url is that of an API server.");
}

/* Whether the account may, in the words of RBAC; -1: the cluster does not say. */
static int may(struct kb_source_call *call, const char *verb, const char *group, const char *sub)
{
    const char *space = kb_setting_text(call->config, "namespace");
    kb_auto(kb_secret_finish) struct kb_secret body =
        kb_json_body(json_pack("{s:s, s:s, s:{s:{s:s, s:s, s:s, s:s, s:s}}}", "apiVersion",
                               "authorization.k8s.io/v1", "kind", "SelfSubjectAccessReview", "spec",
                               "resourceAttributes", "namespace", space ? space : "", "verb", verb,
                               "group", group, "resource", INSTANCES, "subresource", sub));
    kb_auto(kb_api_finish) struct kb_api a = {.body = body.text};
    bool ok = ask(call, "asking for the account's rights",
                  "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &a);
    a.body = NULL;
    const json_t *allowed = json_object_get(json_object_get(a.json, "status"), "allowed");
    if (ok && (a.status == 200 || a.status == 201) && json_is_boolean(allowed))
        return json_is_true(allowed);
    if (ok)
        kb_api_refused(call, &a);
    return -1;
}

static bool check_rights(struct kb_source_call *call)
{
    static const char *const verbs[] = {"list", "get", "watch"};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        int yes = may(call, verbs[i], "kubevirt.io", "");
        if (yes > 0)
            continue;
        if (yes == 0)
            kb_call_failed(call, "the account may not %s " INSTANCES ".kubevirt.io%s", verbs[i],
                           kb_setting_text(call->config, "namespace") ? " in the namespace" : "");
        return kb_check_failed(call, "rights",
                               "Give the account a ClusterRole (with namespace: a Role) with the "
                               "verbs get, list and watch on virtualmachineinstances.");
    }
    int vnc = may(call, "get", "subresources.kubevirt.io", "vnc");
    int serial = vnc < 0 ? -1 : may(call, "get", "subresources.kubevirt.io", "console");
    if (serial < 0)
        return kb_check_failed(call, "rights", "Look at the API server's log.");
    kb_check_ok(call, "rights", "get, list, watch%s%s", vnc ? ", vnc" : "; not vnc",
                serial ? ", console" : "; not console");
    return true;
}

static bool kubevirt_check(struct kb_source_call *call)
{
    kb_auto_free char *url = kb_printf("%s/version", kb_setting_text(call->config, "url"));
    return kb_api_check(call, url, !kb_setting_flag(call->config, "verify")) && check_login(call) &&
           check_rights(call);
}

const struct kb_source_driver kb_source_driver_kubevirt = {
    .type = "kubevirt",
    .keys = keys,
    .key_count = sizeof keys / sizeof keys[0],
    .start = kubevirt_start,
    .finish = kubevirt_finish,
    .list = kubevirt_list,
    .open = kubevirt_open,
    .wait = kubevirt_wait,
    .check = kubevirt_check,
};
