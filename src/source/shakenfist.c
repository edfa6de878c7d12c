/* Shaken Fist: instances with SPICE, where their nodes are, and the tokens of its links to
 * consoles. An account of the namespace `system` sees the whole cluster; one of another namespace
 * sees its own instances, and no node: then a node's name must resolve. docs/sources/shakenfist.md.
 * Threads of calls. Facts: shakenfist/external_api/{auth,instance,node,admin}.py of the project. */
#include "source/api.h"
#include "source/login.h"
#include "source/sf_token.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <string.h>

#define KEYS_AGAIN_US UINT64_C(10000000) /* an unknown key makes us ask at most this often */

static const char *const exchanges[] = {"off", "own", "shared", NULL};

static const struct kb_source_key settings[] = {
    {"url", KB_KEY_URL, .max = 1024, .required = true},
    {"username", KB_KEY_TEXT, .max = 255, .required = true},
    {"password", KB_KEY_SECRET, .max = 1024, .required = true},
    {"synthesize_host_subject", KB_KEY_BOOL},
    {"exchange", KB_KEY_WORD, .fallback = "shared", .words = exchanges},
    {"verify", KB_KEY_VERIFY, .fallback = "true"},
};

struct fist {
    struct kb_login *login;
    pthread_mutex_t lock;
    struct kb_sf_keys *keys; /* the last that could be had; NULL: none yet */
    pthread_mutex_t asking;  /* held while they are asked for; taken before lock */
    uint64_t keys_us;        /* when they were last asked for; 0: not yet, or in vain */
};

static void *sf_start(const struct kb_source_config *config)
{
    (void)config;
    struct fist *f = kb_zalloc(sizeof *f);
    f->login = kb_login_create();
    pthread_mutex_init(&f->lock, NULL);
    pthread_mutex_init(&f->asking, NULL);
    return f;
}

static void sf_finish(void *state)
{
    struct fist *f = state;
    kb_login_destroy(f->login);
    kb_sf_keys_destroy(f->keys);
    pthread_mutex_destroy(&f->lock);
    pthread_mutex_destroy(&f->asking);
    free(f);
}

/* --- asking ----------------------------------------------------------------------------------- */

static bool log_in(struct kb_source_call *call, struct kb_login *l)
{
    const struct kb_source_config *c = call->config;
    kb_auto_free char *url = kb_printf("%s/auth", kb_setting_text(c, "url"));
    struct kb_secret body =
        kb_json_body(json_pack("{s:s, s:s}", "namespace", kb_setting_text(c, "username"), "key",
                               kb_setting_secret(c, "password")));
    kb_auto(kb_api_finish) struct kb_api a = {
        .what = "logging in",
        .url = url,
        .headers = {"Content-Type: application/json", "Accept: application/json"},
        .body = body.text,
        .no_verify = !kb_setting_flag(c, "verify"),
        .also_system = true,
    };
    bool ok = kb_api_get(call, &a);
    a.body = NULL;
    kb_secret_finish(&body);
    const char *token = ok ? kb_json_str(a.json, "access_token") : NULL;
    if (!token)
        return ok ? kb_api_refused(call, &a) : false;
    int64_t life = kb_json_num(a.json, "expires_in", 1, 1 << 30, 300);
    kb_secret_set(&l->token, token);
    /* Before it ends, so that a listing does not run into it. */
    l->until_us = kb_clock_us() + (uint64_t)(life > 120 ? life - 60 : (life + 1) / 2) * 1000000;
    return true;
}

/* A GET as the account, with a new login where the old one is refused. False: no answer. A 401 that
 * stays is an answer: the account may not. */
static bool ask(struct kb_source_call *call, const char *what, const char *path, struct kb_api *a)
{
    struct fist *f = call->state;
    kb_auto_free char *url = kb_printf("%s%s", kb_setting_text(call->config, "url"), path);
    kb_auto(kb_pass_finish) struct kb_pass pass = {0};
    for (int attempt = 0; attempt < 2; attempt++) {
        if (!kb_login_get(f->login, call, log_in, &pass))
            return false;
        struct kb_secret bearer = {
            kb_printf("Authorization: Bearer %s", kb_secret_text(&pass.token))};
        a->what = what;
        a->url = url;
        a->headers[0] = bearer.text;
        a->headers[1] = "Accept: application/json";
        a->no_verify = !kb_setting_flag(call->config, "verify");
        a->also_system = true;
        a->max = KB_API_LIST_MAX;
        bool ok = kb_api_ask(call, a);
        a->headers[0] = NULL;
        a->url = "";
        kb_secret_finish(&bearer);
        if (!ok || a->status != 401)
            return ok;
        kb_login_drop(f->login, &pass);
    }
    return true;
}

static bool refused(struct kb_source_call *call, struct kb_api *a, const char *path)
{
    a->url = path;
    return kb_api_refused(call, a);
}

/* --- nodes ------------------------------------------------------------------------------------ */

/* The list of nodes in a; an empty one where the account may not see them. */
static bool ask_nodes(struct kb_source_call *call, struct kb_api *a)
{
    if (!ask(call, "listing nodes", "/nodes", a))
        return false;
    if (a->status == 401 || a->status == 403) {
        json_decref(a->json);
        a->json = json_array();
        return true;
    }
    return (a->status == 200 && json_is_array(a->json)) || refused(call, a, "/nodes");
}

static const json_t *find_node(const json_t *nodes, const char *name)
{
    json_t *node;
    size_t i;
    json_array_foreach(nodes, i, node)
    {
        const char *is = kb_json_str(node, "name");
        if (is && strcmp(is, name) == 0)
            return node;
    }
    return NULL;
}

static void place_on(struct kb_console *c, const struct kb_source_config *config,
                     const json_t *nodes, const char *name)
{
    const json_t *node = find_node(nodes, name);
    const char *subject = kb_json_str(node, "spice_server_cert_subject");
    c->hypervisor = kb_strdup(name);
    c->hypervisor_ip = kb_strdup(kb_json_str(node, "ip"));
    if (subject && *subject)
        c->host_subject = kb_strdup(subject);
    else if (kb_setting_flag(config, "synthesize_host_subject"))
        c->host_subject = kb_printf("CN=%s", name);
}

/* --- instances -------------------------------------------------------------------------------- */

/* Whether it has a display that we can show, and runs somewhere. */
static bool is_open(const json_t *instance)
{
    const char *vdi = kb_json_str(json_object_get(instance, "video"), "vdi");
    const char *state = kb_json_str(instance, "state");
    return kb_json_str(instance, "uuid") && kb_json_str(instance, "node") && vdi &&
           strncmp(vdi, "spice", 5) == 0 && state && strcmp(state, "created") == 0 &&
           (kb_json_port(instance, "vdi_port") || kb_json_port(instance, "vdi_tls_port"));
}

static struct kb_console *console_of(const struct kb_source_config *config, const json_t *instance,
                                     const json_t *nodes)
{
    const char *uuid = kb_json_str(instance, "uuid"), *name = kb_json_str(instance, "name");
    const char *space = kb_json_str(instance, "namespace");
    name = name && *name ? name : uuid;
    kb_auto_free char *full = space ? kb_printf("%s.%s", name, space) : kb_strdup(name);
    struct kb_console *c = kb_console_create(uuid, full);
    const char *power = kb_json_str(instance, "power_state");
    c->project = kb_strdup(space);
    c->state = kb_strdup(power);
    c->insecure_port = kb_json_port(instance, "vdi_port");
    c->secure_port = kb_json_port(instance, "vdi_tls_port");
    place_on(c, config, nodes, kb_json_str(instance, "node"));
    return c;
}

/* --- signing keys ----------------------------------------------------------------------------- */

/* Asks for the keys of console tokens, unless that was done a moment ago. Those that are known stay
 * where there are no others: a cluster that cannot answer has not changed its keys. Holds
 * f->asking. */
static bool ask_keys(struct kb_source_call *call)
{
    struct fist *f = call->state;
    uint64_t now = kb_clock_us();
    if (f->keys_us && now - f->keys_us < KEYS_AGAIN_US)
        return true;
    kb_auto(kb_api_finish) struct kb_api a = {0};
    bool ok = ask(call, "asking for the keys of console tokens", "/admin/vditokenpubkey", &a);
    struct kb_sf_keys *keys = ok && a.status == 200 ? kb_sf_keys_parse(a.json) : NULL;
    f->keys_us = ok ? now : 0;
    if (keys) {
        pthread_mutex_lock(&f->lock);
        kb_sf_keys_destroy(f->keys);
        f->keys = keys;
        pthread_mutex_unlock(&f->lock);
    }
    return ok;
}

/* Who comes while they are being asked for waits for the answer: it may have his token's key. */
static bool renew_keys(struct kb_source_call *call)
{
    struct fist *f = call->state;
    pthread_mutex_lock(&f->asking);
    bool ok = ask_keys(call);
    pthread_mutex_unlock(&f->asking);
    return ok;
}

static enum kb_reason check_token(struct kb_source_call *call, const char *token,
                                  struct kb_sf_claims *claims)
{
    struct fist *f = call->state;
    enum kb_sf_result result = KB_SF_NO_KEY;
    int64_t now = kb_clock_wall_ms() / 1000;
    for (int attempt = 0; attempt < 2 && result == KB_SF_NO_KEY; attempt++) {
        char why[256];
        *call->why = '\0';
        if (attempt && !renew_keys(call))
            return KB_REASON_SOURCE_FAILED;
        pthread_mutex_lock(&f->lock);
        result = kb_sf_token_check(f->keys, token, call->audience, now, claims, why);
        pthread_mutex_unlock(&f->lock);
        kb_copy_str(call->why, sizeof call->why, why);
    }
    if (result == KB_SF_OK)
        return KB_REASON_NONE;
    return result == KB_SF_EXPIRED ? KB_REASON_TOKEN_EXPIRED : KB_REASON_TOKEN_UNKNOWN;
}

/* --- verbs ------------------------------------------------------------------------------------ */

/* Their own words, so that the keys' failure is no failure of the list. */
static void renew_keys_aside(struct kb_source_call *call)
{
    struct kb_source_call aside = *call;
    aside.check = NULL;
    *aside.why = '\0';
    if (!renew_keys(&aside))
        kb_log(KB_LOG_WARNING, "source.keys_failed", KB_STR("source", call->config->name),
               KB_STR("detail", aside.why));
}

static enum kb_listed sf_list(struct kb_source_call *call, struct kb_console **map)
{
    kb_auto(kb_api_finish) struct kb_api a = {0}, nodes = {0};
    if (!ask(call, "listing instances", "/instances", &a))
        return KB_LIST_FAILED;
    if (a.status != 200 || !json_is_array(a.json)) {
        refused(call, &a, "/instances");
        return KB_LIST_FAILED;
    }
    if (!ask_nodes(call, &nodes))
        return KB_LIST_FAILED;
    json_t *instance;
    size_t i;
    json_array_foreach(a.json, i, instance)
    {
        if (is_open(instance))
            kb_consoles_add(map, console_of(call->config, instance, nodes.json));
    }
    renew_keys_aside(call);
    return KB_LISTED;
}

/* The instance as it is now, as a console; also its node may have another address by now. */
static enum kb_reason ask_console(struct kb_source_call *call, const char *uuid,
                                  struct kb_console **console)
{
    kb_auto_free char *escaped = kb_fetch_escape(uuid);
    kb_auto_free char *path = kb_printf("/instances/%s", escaped);
    kb_auto(kb_api_finish) struct kb_api a = {0}, nodes = {0};
    if (!ask(call, "asking for the instance", path, &a))
        return KB_REASON_SOURCE_FAILED;
    if (a.status == 404)
        return KB_REASON_CONSOLE_GONE;
    const char *is = a.status == 200 ? kb_json_str(a.json, "uuid") : NULL;
    if (!is || strcmp(is, uuid) != 0) {
        refused(call, &a, path);
        return KB_REASON_SOURCE_FAILED;
    }
    if (!is_open(a.json))
        return KB_REASON_CONSOLE_GONE;
    if (!ask_nodes(call, &nodes))
        return KB_REASON_SOURCE_FAILED;
    *console = console_of(call->config, a.json, nodes.json);
    return KB_REASON_NONE;
}

static enum kb_reason sf_open(struct kb_source_call *call, const struct kb_console *console,
                              struct kb_target **target)
{
    struct kb_console *now = NULL;
    enum kb_reason reason = ask_console(call, console->uuid, &now);
    if (reason == KB_REASON_NONE)
        *target = kb_target_of(call->config, now);
    kb_console_destroy(now);
    return reason;
}

static enum kb_reason sf_exchange(struct kb_source_call *call, const char *token,
                                  struct kb_console **console)
{
    struct kb_sf_claims claims;
    enum kb_reason reason = check_token(call, token, &claims);
    kb_copy_str(call->token_id, sizeof call->token_id, claims.id);
    return reason == KB_REASON_NONE ? ask_console(call, claims.instance, console) : reason;
}

/* What the hypervisors' certificates are checked with should be the cluster's own CA. */
static bool check_ca(struct kb_source_call *call)
{
    kb_auto(kb_api_finish) struct kb_api a = {.no_json = true};
    if (!ask(call, "asking for the CA", "/admin/cacert", &a))
        return kb_check_failed(call, "ca", "");
    const char *theirs = a.status == 200 ? (const char *)a.fetch.answer.data : "";
    const char *ours = call->config->ca_cert;
    if (!*theirs || !ours) {
        kb_check_ok(call, "ca", "%s",
                    ours ? "the cluster publishes none" : "the source has no ca_cert");
        return true;
    }
    size_t len = strlen(theirs);
    while (len && strchr(" \r\n\t", theirs[len - 1]))
        len--;
    if (strncmp(ours, theirs, len) != 0) {
        kb_call_failed(call, "ca_cert is not the CA that the cluster publishes");
        return kb_check_failed(call, "ca", "Put what GET /admin/cacert answers into ca_cert.");
    }
    kb_check_ok(call, "ca", "ca_cert is the cluster's");
    return true;
}

static bool sf_check(struct kb_source_call *call)
{
    struct fist *f = call->state;
    kb_auto(kb_pass_finish) struct kb_pass pass = {0};
    if (!kb_api_check(call, kb_setting_text(call->config, "url"),
                      !kb_setting_flag(call->config, "verify")))
        return false;
    if (!kb_login_get(f->login, call, log_in, &pass))
        return kb_check_failed(call, "login",
                               "Look at username, which is a namespace, and password, its key.");
    kb_check_ok(call, "login", "namespace %.100s", kb_setting_text(call->config, "username"));
    if (!check_ca(call))
        return false;
    kb_auto(kb_api_finish) struct kb_api nodes = {0};
    if (!ask_nodes(call, &nodes))
        return kb_check_failed(call, "nodes", "");
    size_t count = json_array_size(nodes.json);
    kb_check_ok(call, "nodes", "%zu seen%s", count, count ? "" : ": their names must resolve");
    renew_keys_aside(call);
    pthread_mutex_lock(&f->lock);
    count = kb_sf_keys_count(f->keys);
    pthread_mutex_unlock(&f->lock);
    kb_check_ok(call, "keys", "%zu for console tokens", count);
    return true;
}

const struct kb_source_driver kb_source_driver_shakenfist = {
    .type = "shakenfist",
    .keys = settings,
    .key_count = sizeof settings / sizeof settings[0],
    .start = sf_start,
    .finish = sf_finish,
    .list = sf_list,
    .open = sf_open,
    .exchange = sf_exchange,
    .check = sf_check,
};
