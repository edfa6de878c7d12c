/* Incus and LXD: virtual machines, and their SPICE over WebSockets. An operation of the API ("show
 * console") gives a secret, with which one WebSocket a channel is opened; the cloud lets one
 * operation at a time have a console, so all sessions of a console here share one. It ends when its
 * control WebSocket does, which is when the last channel has gone. docs/sources/incus.md. Threads
 * of calls. Facts: doc/rest-api.md and cmd/incusd/instance_console.go of Incus. */
#include "source/api.h"
#include "source/stream.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define CANCEL_US UINT64_C(2000000)
#define STATUS_RUNNING 103 /* of an instance, as of an operation */

static const struct kb_source_key settings[] = {
    {"url", KB_KEY_URL, .max = 1024, .required = true},
    {"token", KB_KEY_SECRET, .max = 8192},
    {"client_certificate", KB_KEY_PATH, .max = 1024},
    {"client_key", KB_KEY_PATH, .max = 1024},
    {"project", KB_KEY_TEXT, .max = 255},
    {"force", KB_KEY_BOOL},
    {"verify", KB_KEY_VERIFY, .fallback = "true"},
};

/* --- asking ----------------------------------------------------------------------------------- */

/* "Authorization: Bearer ...", or none. */
static struct kb_secret bearer_of(const struct kb_source_config *c)
{
    const char *token = kb_setting_secret(c, "token");
    return (struct kb_secret){*token ? kb_printf("Authorization: Bearer %s", token) : NULL};
}

/* body NULL: a GET, unless method says otherwise. False: no answer. */
static bool ask_by(struct kb_source_call *call, const char *what, const char *method,
                   const char *path, const char *body, struct kb_api *a)
{
    const struct kb_source_config *c = call->config;
    kb_auto_free char *url = kb_printf("%s%s", kb_setting_text(c, "url"), path);
    kb_auto(kb_secret_finish) struct kb_secret bearer = bearer_of(c);
    *a = (struct kb_api){
        .what = what,
        .url = url,
        .method = method,
        .headers = {bearer.text, body ? "Content-Type: application/json" : NULL},
        .body = body,
        .client_certificate = kb_setting_text(c, "client_certificate"),
        .client_key = kb_setting_text(c, "client_key"),
        .no_verify = !kb_setting_flag(c, "verify"),
        .max = KB_API_LIST_MAX,
    };
    bool ok = kb_api_ask(call, a);
    memset(a->headers, 0, sizeof a->headers);
    a->url = a->body = "";
    return ok;
}

static bool ask(struct kb_source_call *call, const char *what, const char *path, const char *body,
                struct kb_api *a)
{
    return ask_by(call, what, NULL, path, body, a);
}

static bool refused(struct kb_source_call *call, struct kb_api *a, const char *path)
{
    a->url = path;
    return kb_api_refused(call, a);
}

/* "?project=..." of an instance, whose record has "PROJECT/NAME" in extra. */
static char *path_of(const struct kb_console *console, const char *end)
{
    const char *slash = strchr(console->extra, '/');
    kb_auto_free char *project = kb_printf("%.*s", (int)(slash - console->extra), console->extra);
    kb_auto_free char *p = kb_fetch_escape(project), *n = kb_fetch_escape(slash + 1);
    return kb_printf("/1.0/instances/%s%s?project=%s", n, end, p);
}

/* --- instances -------------------------------------------------------------------------------- */

/* What tells an instance from another of the same name; NULL: the cloud does not say. */
static const char *uuid_of(const json_t *instance)
{
    const char *uuid = kb_json_str(json_object_get(instance, "config"), "volatile.uuid");
    return uuid && *uuid && !strchr(uuid, '/') && strlen(uuid) < 256 ? uuid : NULL;
}

/* A machine with a display, which is on. */
static bool is_open(const json_t *instance)
{
    const char *type = kb_json_str(instance, "type"), *name = kb_json_str(instance, "name");
    return type && strcmp(type, "virtual-machine") == 0 && name && *name &&
           kb_json_num(instance, "status_code", 0, 1000, 0) == STATUS_RUNNING && uuid_of(instance);
}

static struct kb_console *console_of(const json_t *instance)
{
    const char *name = kb_json_str(instance, "name"), *project = kb_json_str(instance, "project");
    struct kb_console *c = kb_console_create(uuid_of(instance), name);
    project = project && *project && !strchr(project, '/') ? project : "default";
    c->project = kb_strdup(project);
    c->state = kb_strdup(kb_json_str(instance, "status"));
    c->hypervisor = kb_strdup(kb_json_str(instance, "location"));
    c->transport = KB_TRANSPORT_SOURCE;
    c->extra = kb_printf("%s/%s", project, name);
    return c;
}

static enum kb_listed incus_list(struct kb_source_call *call, struct kb_console **map)
{
    const char *project = kb_setting_text(call->config, "project");
    kb_auto_free char *escaped = project ? kb_fetch_escape(project) : NULL;
    kb_auto_free char *path =
        kb_printf("/1.0/instances?recursion=1&%s%s", project ? "project=" : "all-projects=true",
                  project ? escaped : "");
    kb_auto(kb_api_finish) struct kb_api a = {0};
    if (!ask(call, "listing instances", path, NULL, &a))
        return KB_LIST_FAILED;
    const json_t *list = json_object_get(a.json, "metadata");
    if (a.status != 200 || !json_is_array(list)) {
        refused(call, &a, path);
        return KB_LIST_FAILED;
    }
    json_t *instance;
    size_t i;
    json_array_foreach(list, i, instance)
    {
        if (is_open(instance))
            kb_consoles_add(map, console_of(instance));
    }
    return KB_LISTED;
}

static enum kb_reason incus_open(struct kb_source_call *call, const struct kb_console *console,
                                 struct kb_target **target)
{
    kb_auto_free char *path = path_of(console, "");
    kb_auto(kb_api_finish) struct kb_api a = {0};
    if (!ask(call, "asking for the instance", path, NULL, &a))
        return KB_REASON_SOURCE_FAILED;
    if (a.status == 404)
        return KB_REASON_CONSOLE_GONE;
    const json_t *instance = json_object_get(a.json, "metadata");
    if (a.status != 200 || !json_is_object(instance)) {
        refused(call, &a, path);
        return KB_REASON_SOURCE_FAILED;
    }
    /* A name may be another machine's by now. */
    if (!is_open(instance) || strcmp(uuid_of(instance), console->uuid) != 0)
        return KB_REASON_CONSOLE_GONE;
    *target = kb_target_of(call->config, console);
    return KB_REASON_NONE;
}

/* --- operations: one a console, shared by its channels ---------------------------------------- */

struct operation {
    UT_hash_handle hh;
    char *key;      /* of the cloud and the console: outlives a reload of the configuration */
    bool made;      /* else the first of those who want it is at it */
    unsigned users; /* channels that are open or on their way */
    char *path;     /* "/1.0/operations/ID/websocket?secret=" */
    struct kb_secret data;
    int control; /* its end is the operation's */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct operation *operations; /* by key */

/* With the lock. Nobody finds it any more; it ends with its last user. */
static void forget(struct operation *o)
{
    struct operation *found;
    HASH_FIND_STR(operations, o->key, found);
    if (found == o)
        HASH_DEL(operations, o);
}

static void release(void *owner)
{
    struct operation *o = owner;
    pthread_mutex_lock(&lock);
    bool last = --o->users == 0;
    if (last)
        forget(o);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (!last)
        return;
    if (o->control >= 0)
        close(o->control);
    free(o->key);
    free(o->path);
    kb_secret_finish(&o->data);
    free(o);
}

/* "https://..." and a path as a stream, with the source's trust. */
static int open_stream(struct kb_source_call *call, const char *what, const char *path,
                       const char *secret, void (*ended)(void *), void *owner, long *status)
{
    const struct kb_source_config *c = call->config;
    kb_auto(kb_secret_finish) struct kb_secret bearer = bearer_of(c);
    kb_auto(kb_secret_finish) struct kb_secret url = {
        kb_printf("%s%s%s", kb_setting_text(c, "url"), path, secret)};
    return kb_stream_open(call,
                          &(struct kb_stream_wish){
                              .what = what,
                              .url = url.text,
                              .header = bearer.text,
                              .client_certificate = kb_setting_text(c, "client_certificate"),
                              .client_key = kb_setting_text(c, "client_key"),
                              .no_verify = !kb_setting_flag(c, "verify"),
                              .text_ends = true,
                              .ended = ended,
                              .owner = owner,
                          },
                          status);
}

/* An operation that we cannot use would keep the console from everybody. Best effort: in words and
 * time of its own. */
static void cancel(const struct kb_source_call *call, const char *id)
{
    struct kb_source_call aside = *call;
    kb_auto_free char *path = kb_printf("/1.0/operations/%s", id);
    kb_auto(kb_api_finish) struct kb_api a = {0};
    aside.deadline_us = kb_clock_us() + CANCEL_US;
    aside.check = NULL;
    if (!ask_by(&aside, "giving the console back", "DELETE", path, NULL, &a))
        kb_log(KB_LOG_WARNING, "source.console_kept", KB_STR("source", call->config->name),
               KB_STR("detail", aside.why));
}

/* Begins the operation at the cloud, and takes its control WebSocket. */
static bool make(struct kb_source_call *call, const struct kb_console *console, struct operation *o)
{
    kb_auto_free char *path = path_of(console, "/console");
    kb_auto(kb_secret_finish) struct kb_secret body = kb_json_body(json_pack(
        "{s:s, s:b}", "type", "vga", "force", (int)kb_setting_flag(call->config, "force")));
    kb_auto(kb_api_finish) struct kb_api a = {0};
    if (!ask(call, "asking for the console", path, body.text, &a))
        return false;
    const json_t *op = json_object_get(a.json, "metadata");
    const json_t *secrets = json_object_get(json_object_get(op, "metadata"), "fds");
    const char *id = kb_json_str(op, "id"), *data = kb_json_str(secrets, "0");
    const char *control = kb_json_str(secrets, "control");
    if (a.status != 202 || !id || !data || !control)
        return refused(call, &a, path);
    long status;
    kb_auto_free char *escaped = kb_fetch_escape(id);
    free(o->path);
    o->path = kb_printf("/1.0/operations/%s/websocket?secret=", escaped);
    kb_secret_set(&o->data, data);
    o->control =
        open_stream(call, "taking control of the console", o->path, control, NULL, NULL, &status);
    if (o->control < 0)
        cancel(call, escaped);
    return o->control >= 0;
}

/* With the lock: until something changed, or the call is over. False: it is. */
static bool wait_for_change(const struct kb_source_call *call)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 200000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&changed, &lock, &t);
    return !kb_call_stopped(call);
}

/* The console's operation with one more user, made if there is none; NULL with call->why. */
static struct operation *need(struct kb_source_call *call, const struct kb_console *console)
{
    kb_auto_free char *key =
        kb_printf("%s %s", kb_setting_text(call->config, "url"), console->uuid);
    struct operation *o;
    pthread_mutex_lock(&lock);
    for (;;) {
        HASH_FIND_STR(operations, key, o);
        if (!o || o->made)
            break;
        if (!wait_for_change(call)) {
            pthread_mutex_unlock(&lock);
            kb_call_failed(call, "asking for the console: no answer in time");
            return NULL;
        }
    }
    bool mine = !o;
    if (mine) {
        o = kb_zalloc(sizeof *o);
        o->key = kb_strdup(key);
        o->control = -1;
        HASH_ADD_KEYPTR(hh, operations, o->key, strlen(o->key), o);
    }
    o->users++;
    pthread_mutex_unlock(&lock);
    if (!mine)
        return o;
    bool ok = make(call, console, o);
    pthread_mutex_lock(&lock);
    o->made = ok;
    if (!ok)
        forget(o);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (!ok)
        release(o);
    return ok ? o : NULL;
}

static int incus_connect(struct kb_source_call *call, const struct kb_console *console)
{
    for (int attempt = 0;; attempt++) {
        struct operation *o = need(call, console);
        if (!o)
            return -1;
        long status;
        int fd = open_stream(call, "opening a channel", o->path, kb_secret_text(&o->data), release,
                             o, &status);
        if (fd >= 0)
            return fd;
        /* Somebody else took the console, or the machine was off meanwhile: anew, once. */
        bool stale = status == 404 && attempt == 0;
        if (stale) {
            pthread_mutex_lock(&lock);
            forget(o);
            pthread_mutex_unlock(&lock);
            *call->why = '\0';
        }
        release(o);
        if (!stale)
            return -1;
    }
}

/* --- check ------------------------------------------------------------------------------------ */

static bool has_extension(const json_t *server, const char *name)
{
    json_t *item;
    size_t i;
    json_array_foreach(json_object_get(server, "api_extensions"), i, item)
    {
        if (json_is_string(item) && strcmp(json_string_value(item), name) == 0)
            return true;
    }
    return false;
}

static bool incus_check(struct kb_source_call *call)
{
    if (!kb_api_check(call, kb_setting_text(call->config, "url"),
                      !kb_setting_flag(call->config, "verify")))
        return false;
    kb_auto(kb_api_finish) struct kb_api a = {0};
    if (!ask(call, "logging in", "/1.0", NULL, &a))
        return kb_check_failed(call, "login", "Look at client_certificate and client_key.");
    const json_t *server = json_object_get(a.json, "metadata");
    const char *auth = kb_json_str(server, "auth");
    if (a.status != 200 || !auth) {
        refused(call, &a, "/1.0");
        return kb_check_failed(call, "login", "Look whether url is that of Incus or LXD.");
    }
    if (strcmp(auth, "trusted") != 0) {
        kb_call_failed(call, "the cloud does not trust us: it says \"%.40s\"", auth);
        return kb_check_failed(call, "login",
                               "Add the client certificate (incus config trust add-certificate), "
                               "or look at token.");
    }
    kb_check_ok(call, "login", "trusted");
    if (!has_extension(server, "console_vga_type")) {
        kb_call_failed(call, "the server has no extension console_vga_type");
        return kb_check_failed(call, "version", "SPICE needs Incus, or LXD 4.5 or newer.");
    }
    kb_check_ok(call, "version", "it has consoles of type vga");
    return true;
}

const struct kb_source_driver kb_source_driver_incus = {
    .type = "incus",
    .keys = settings,
    .key_count = sizeof settings / sizeof settings[0],
    .list = incus_list,
    .open = incus_open,
    .connect = incus_connect,
    .check = incus_check,
};
