/* OpenStack: Keystone for the login and the catalog, Nova for servers and for SPICE consoles of the
 * type spice-direct (microversion 2.99, 2025.1). Nova sets no SPICE password; where a console is
 * comes from redeeming a console token, which needs an admin's account. Threads of calls. */
#include "source/api.h"
#include "source/login.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>
#include <time.h>

#define VERSION "OpenStack-API-Version: compute 2.99"
#define OLD_VERSION "X-OpenStack-Nova-API-Version: 2.99"
#define PAGES_MAX 10000
#define EARLY_MS 60000 /* a token is made anew that long before its end */

static const char *const interfaces[] = {"internal", "public", "admin", NULL};
static const char *const exchanges[] = {"off", "own", "shared", NULL};

static const struct kb_source_key keys[] = {
    {"url", KB_KEY_URL, .max = 1024, .required = true},
    {"username", KB_KEY_TEXT, .max = 256},
    {"password", KB_KEY_SECRET, .max = 1024},
    {"project_name", KB_KEY_TEXT, .max = 256},
    {"user_domain_id", KB_KEY_TEXT, .fallback = "default", .max = 64},
    {"project_domain_id", KB_KEY_TEXT, .fallback = "default", .max = 64},
    {"application_credential_id", KB_KEY_TEXT, .max = 64},
    {"application_credential_secret", KB_KEY_SECRET, .max = 1024},
    {"interface", KB_KEY_WORD, .fallback = "internal", .words = interfaces},
    {"region", KB_KEY_TEXT, .max = 256},
    {"exchange", KB_KEY_WORD, .fallback = "own", .words = exchanges},
    {"list", KB_KEY_BOOL, .fallback = "true"},
    {"host_subject", KB_KEY_TEXT, .max = 1024},
    {"verify", KB_KEY_VERIFY, .fallback = "true"},
};

static void *openstack_start(const struct kb_source_config *config)
{
    (void)config;
    return kb_login_create();
}

static void openstack_finish(void *state)
{
    kb_login_destroy(state);
}

static bool verifies(const struct kb_source_call *call)
{
    return kb_setting_flag(call->config, "verify");
}

/* --- Keystone --------------------------------------------------------------------------------- */

static json_t *login_body(const struct kb_source_config *c)
{
    const char *id = kb_setting_text(c, "application_credential_id");
    if (id)
        return json_pack("{s:{s:{s:[s], s:{s:s, s:s}}}}", "auth", "identity", "methods",
                         "application_credential", "application_credential", "id", id, "secret",
                         kb_setting_secret(c, "application_credential_secret"));
    return json_pack(
        "{s:{s:{s:[s], s:{s:{s:s, s:{s:s}, s:s}}}, s:{s:{s:s, s:{s:s}}}}}", "auth", "identity",
        "methods", "password", "password", "user", "name", kb_setting_text(c, "username"), "domain",
        "id", kb_setting_text(c, "user_domain_id"), "password", kb_setting_secret(c, "password"),
        "scope", "project", "name", kb_setting_text(c, "project_name"), "domain", "id",
        kb_setting_text(c, "project_domain_id"));
}

static char *keystone_url(const struct kb_source_config *c, const char *path)
{
    const char *url = kb_setting_text(c, "url");
    size_t len = strlen(url);
    if (len > 3 && strcmp(url + len - 3, "/v3") == 0)
        len -= 3;
    return kb_printf("%.*s/v3%s", (int)len, url, path);
}

/* "2026-11-20T18:52:29.000000Z"; monotonic us of that moment, or 0. */
static uint64_t monotonic_of(const char *text)
{
    struct tm tm = {0};
    if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
        return 0;
    int64_t left = (int64_t)timegm(&tm) * 1000 - EARLY_MS - kb_clock_wall_ms();
    return kb_clock_us() + (uint64_t)(left > 1000 ? left : 1000) * 1000;
}

static const char *endpoint_in(const json_t *service, const char *interface, const char *region)
{
    const json_t *e;
    size_t i;
    json_array_foreach(json_object_get(service, "endpoints"), i, e)
    {
        const char *is = kb_json_str(e, "interface"), *in = kb_json_str(e, "region_id");
        in = in ? in : kb_json_str(e, "region");
        if (is && strcmp(is, interface) == 0 && (!region || (in && strcmp(in, region) == 0)))
            return kb_json_str(e, "url");
    }
    return NULL;
}

static bool find_nova(struct kb_source_call *call, const json_t *token, struct kb_login *l)
{
    const char *interface = interfaces[kb_setting_word(call->config, "interface")];
    const char *region = kb_setting_text(call->config, "region"), *url = NULL;
    const json_t *service;
    size_t i;
    json_array_foreach(json_object_get(token, "catalog"), i, service)
    {
        const char *type = kb_json_str(service, "type");
        if (!url && type && strcmp(type, "compute") == 0)
            url = endpoint_in(service, interface, region);
    }
    if (!url)
        return kb_call_failed(call,
                              "logging in: the catalog has no compute endpoint of the "
                              "interface %s%s%.60s; the token may lack a project's scope",
                              interface, region ? " in region " : "", region ? region : "");
    size_t len = strlen(url);
    while (len && url[len - 1] == '/')
        len--;
    struct kb_secret bare = {kb_printf("%.*s", (int)len, url)};
    kb_secret_set(&l->more, bare.text);
    kb_secret_finish(&bare);
    return true;
}

static bool make_token(struct kb_source_call *call, struct kb_login *l)
{
    const struct kb_source_config *c = call->config;
    if (!kb_setting_text(c, "application_credential_id") &&
        (!kb_setting_text(c, "username") || !kb_setting_text(c, "project_name")))
        return kb_call_failed(call, "logging in: the source needs application_credential_id, or "
                                    "username and project_name");
    json_t *json = login_body(c);
    size_t len = json_dumpb(json, NULL, 0, JSON_COMPACT);
    struct kb_secret body = {kb_zalloc(len + 1)}; /* ours to wipe */
    json_dumpb(json, body.text, len, JSON_COMPACT);
    json_decref(json);
    kb_auto_free char *url = keystone_url(c, "/auth/tokens");
    kb_auto(kb_api_finish) struct kb_api a = {
        .what = "logging in to Keystone",
        .url = url,
        .headers = {"Content-Type: application/json", "Accept: application/json"},
        .body = body.text,
        .wanted = "X-Subject-Token",
        .no_verify = !verifies(call),
        .max = 4u << 20,
    };
    bool ok = kb_api_get(call, &a);
    kb_secret_finish(&body);
    if (!ok)
        return false;
    const json_t *token = json_object_get(a.json, "token");
    if (!a.fetch.header || !*a.fetch.header || !token)
        return kb_api_refused(call, &a);
    kb_secret_set(&l->token, a.fetch.header);
    l->until_us = monotonic_of(kb_json_str(token, "expires_at"));
    return find_nova(call, token, l);
}

/* --- Nova ------------------------------------------------------------------------------------- */

/* One request to Nova; a token that is refused is made anew, once. path: below the endpoint, or a
 * whole URL. The answer of any status is in a; false when there is none. */
static bool ask(struct kb_source_call *call, const char *what, const char *path, const char *body,
                struct kb_api *a)
{
    bool ok = false, again = false;
    *a = (struct kb_api){0};
    do {
        struct kb_pass pass = {0};
        kb_api_finish(a);
        *a = (struct kb_api){.what = what};
        ok = kb_login_get(call->state, call, make_token, &pass);
        if (!ok)
            break;
        kb_auto_free char *url =
            *path == '/' ? kb_printf("%s%s", kb_secret_text(&pass.more), path) : kb_strdup(path);
        struct kb_secret token = {kb_printf("X-Auth-Token: %s", kb_secret_text(&pass.token))};
        *a = (struct kb_api){
            .what = what,
            .url = url,
            .headers = {token.text, VERSION, OLD_VERSION, "Accept: application/json",
                        body ? "Content-Type: application/json" : NULL},
            .body = body,
            .no_verify = !verifies(call),
            .max = KB_API_LIST_MAX,
        };
        ok = kb_api_ask(call, a);
        memset(a->headers, 0, sizeof a->headers);
        a->url = kb_setting_text(call->config, "url"); /* for messages, and lives on */
        again = ok && !again && a->status == 401;
        if (again)
            kb_login_drop(call->state, &pass);
        kb_secret_finish(&token);
        kb_pass_finish(&pass);
    } while (again);
    return ok;
}

/* Why Nova said no, in its own terms and with what to do where that is known. */
static bool refused(struct kb_source_call *call, const struct kb_api *a)
{
    if (a->status == 406)
        return kb_call_failed(call,
                              "%s: Nova does not know microversion 2.99, which came with "
                              "2025.1; spice-direct needs it",
                              a->what);
    if (a->status == 403)
        return kb_call_failed(call, "%s: the account lacks a role: %s", a->what, a->words);
    return kb_api_refused(call, a);
}

/* --- list ------------------------------------------------------------------------------------- */

/* "CN=%h" with the hypervisor's name in its place. */
static char *subject_of(const struct kb_source_call *call, const char *hypervisor)
{
    const char *pattern = kb_setting_text(call->config, "host_subject");
    const char *gap = pattern ? strstr(pattern, "%h") : NULL;
    if (!gap || !hypervisor)
        return gap ? NULL : kb_strdup(pattern);
    return kb_printf("%.*s%s%s", (int)(gap - pattern), pattern, hypervisor, gap + 2);
}

static bool is_id(const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return text && *text && strlen(text) <= 64 && !text[strspn(text, plain)];
}

/* NULL for what is no server. */
static struct kb_console *read_server(const struct kb_source_call *call, const json_t *server)
{
    const char *id = kb_json_str(server, "id"), *name = kb_json_str(server, "name");
    const char *user = kb_json_str(server, "user_id");
    const char *host = kb_json_str(server, "OS-EXT-SRV-ATTR:hypervisor_hostname");
    if (!is_id(id))
        return NULL;
    struct kb_console *c = kb_console_create(id, name && *name ? name : id);
    c->project = kb_strdup(kb_json_str(server, "tenant_id"));
    c->owner = is_id(user) ? kb_printf("keystone-id:%s", user) : NULL;
    c->state = kb_strdup(kb_json_str(server, "status"));
    c->hypervisor = kb_strdup(host ? host : kb_json_str(server, "OS-EXT-SRV-ATTR:host"));
    c->host_subject = subject_of(call, c->hypervisor);
    return c;
}

static char *next_page(const struct kb_source_call *call, const json_t *body, const char *base)
{
    const json_t *link;
    size_t i;
    (void)call;
    json_array_foreach(json_object_get(body, "servers_links"), i, link)
    {
        const char *rel = kb_json_str(link, "rel"), *href = kb_json_str(link, "href");
        const char *query = href ? strchr(href, '?') : NULL;
        if (rel && query && strcmp(rel, "next") == 0) /* its host and path may be another's */
            return kb_printf("%s%s", base, query);
    }
    return NULL;
}

static bool add_page(struct kb_source_call *call, struct kb_console **map, const struct kb_api *a)
{
    const json_t *servers = json_object_get(a->json, "servers"), *server;
    size_t i;
    if (a->status != 200 || !json_is_array(servers))
        return refused(call, a);
    json_array_foreach(servers, i, server)
    {
        struct kb_console *c = read_server(call, server);
        if (c)
            kb_consoles_add(map, c);
    }
    return true;
}

/* All servers where the account may see them, else those of its own project. No filter by state:
 * a server whose cell is down says UNKNOWN, and may run. */
static enum kb_listed openstack_list(struct kb_source_call *call, struct kb_console **map)
{
    static const char base[] = "/servers/detail";
    if (!kb_setting_flag(call->config, "list"))
        return KB_LISTED_UNCHANGED;
    kb_auto_free char *path = kb_printf("%s?all_tenants=1&limit=500", base);
    for (unsigned page = 0; page < PAGES_MAX; page++) {
        kb_auto(kb_api_finish) struct kb_api a;
        if (!ask(call, "listing servers", path, NULL, &a))
            return KB_LIST_FAILED;
        char *next;
        if (page == 0 && a.status == 403) {
            next = kb_printf("%s?limit=500", base);
        } else if (!add_page(call, map, &a)) {
            return KB_LIST_FAILED;
        } else {
            next = next_page(call, a.json, base);
        }
        if (!next || strcmp(next, path) == 0) {
            free(next);
            return KB_LISTED;
        }
        free(path);
        path = next;
    }
    kb_call_failed(call, "listing servers: the pages have no end");
    return KB_LIST_FAILED;
}

/* --- a console -------------------------------------------------------------------------------- */

/* What a console token stands for, into a console with ports and address; NONE, TOKEN_UNKNOWN,
 * SOURCE_FAILED. */
static enum kb_reason redeem(struct kb_source_call *call, const char *token, char **server,
                             char **host, uint16_t *port, uint16_t *tls_port)
{
    kb_auto_free char *escaped = kb_fetch_escape(token);
    kb_auto_free char *path = kb_printf("/os-console-auth-tokens/%s", escaped);
    kb_auto(kb_api_finish) struct kb_api a;
    if (!ask(call, "redeeming a console token", path, NULL, &a))
        return KB_REASON_SOURCE_FAILED;
    if (a.status == 404)
        return KB_REASON_TOKEN_UNKNOWN;
    const json_t *c = json_object_get(a.json, "console");
    const char *id = kb_json_str(c, "instance_uuid"), *address = kb_json_str(c, "host");
    if (a.status != 200) {
        refused(call, &a);
        return KB_REASON_SOURCE_FAILED;
    }
    if (!is_id(id) || !address || !*address) {
        kb_call_failed(call, "redeeming a console token: Nova names no server or no address");
        return KB_REASON_SOURCE_FAILED;
    }
    *server = kb_strdup(id);
    *host = kb_strdup(address);
    *port = kb_json_port(c, "port");
    *tls_port = kb_json_port(c, "tls_port");
    if (*port == *tls_port) /* where there is no plain port, Nova repeats the other */
        *port = 0;
    return KB_REASON_NONE;
}

/* The server as it is now: NONE, CONSOLE_GONE, SOURCE_FAILED. */
static enum kb_reason show(struct kb_source_call *call, const char *id, struct kb_console **console)
{
    kb_auto_free char *path = kb_printf("/servers/%s", id);
    kb_auto(kb_api_finish) struct kb_api a;
    if (!ask(call, "asking for the server", path, NULL, &a))
        return KB_REASON_SOURCE_FAILED;
    if (a.status == 404)
        return KB_REASON_CONSOLE_GONE;
    *console = a.status == 200 ? read_server(call, json_object_get(a.json, "server")) : NULL;
    if (*console && strcmp((*console)->uuid, id) == 0)
        return KB_REASON_NONE;
    kb_console_destroy(*console);
    *console = NULL;
    refused(call, &a);
    return KB_REASON_SOURCE_FAILED;
}

/* A console token of our own for the server, to be wiped and freed. */
static enum kb_reason mint(struct kb_source_call *call, const char *id, char **token)
{
    static const char body[] =
        "{\"remote_console\": {\"protocol\": \"spice\", \"type\": \"spice-direct\"}}";
    kb_auto_free char *path = kb_printf("/servers/%s/remote-consoles", id);
    kb_auto(kb_api_finish) struct kb_api a;
    if (!ask(call, "asking for a console", path, body, &a))
        return KB_REASON_SOURCE_FAILED;
    if (a.status == 404)
        return KB_REASON_CONSOLE_GONE;
    const char *url = kb_json_str(json_object_get(a.json, "remote_console"), "url");
    const char *at = url ? strstr(url, "token=") : NULL;
    if (a.status != 200 || !at) {
        refused(call, &a);
        return KB_REASON_SOURCE_FAILED;
    }
    at += strlen("token=");
    *token = kb_printf("%.*s", (int)strcspn(at, "&#"), at);
    return KB_REASON_NONE;
}

/* Where the server's console is now: asked of Nova each time, because a port that a server gave up
 * is soon another's. */
static enum kb_reason openstack_open(struct kb_source_call *call, const struct kb_console *console,
                                     struct kb_target **target)
{
    struct kb_secret token = {0};
    struct kb_console *now = NULL;
    kb_auto_free char *server = NULL, *host = NULL;
    uint16_t port = 0, tls_port = 0;
    enum kb_reason reason = mint(call, console->uuid, &token.text);
    if (reason == KB_REASON_NONE)
        reason = redeem(call, kb_secret_text(&token), &server, &host, &port, &tls_port);
    kb_secret_finish(&token);
    if (reason == KB_REASON_NONE && strcmp(server, console->uuid) != 0) {
        kb_call_failed(call, "redeeming a console token: it is of another server");
        reason = KB_REASON_SOURCE_FAILED;
    } else if (reason == KB_REASON_TOKEN_UNKNOWN) {
        kb_call_failed(call, "redeeming a console token: Nova does not know the one it just made");
        reason = KB_REASON_SOURCE_FAILED;
    }
    if (reason == KB_REASON_NONE)
        reason = show(call, console->uuid, &now); /* it may have moved since it was listed */
    if (reason != KB_REASON_NONE)
        return reason;
    free(now->hypervisor_ip);
    now->hypervisor_ip = kb_strdup(host);
    now->insecure_port = port;
    now->secure_port = tls_port;
    *target = kb_target_of(call->config, now);
    kb_console_destroy(now);
    return KB_REASON_NONE;
}

static enum kb_reason openstack_exchange(struct kb_source_call *call, const char *token,
                                         struct kb_console **console)
{
    kb_auto_free char *server = NULL, *host = NULL;
    uint16_t port, tls_port;
    enum kb_reason reason = redeem(call, token, &server, &host, &port, &tls_port);
    if (reason == KB_REASON_NONE)
        reason = show(call, server, console);
    return reason;
}

/* --- check ------------------------------------------------------------------------------------ */

static bool check_login(struct kb_source_call *call)
{
    struct kb_pass pass = {0};
    struct kb_login fresh = {.lock = PTHREAD_MUTEX_INITIALIZER};
    bool ok = kb_login_get(&fresh, call, make_token, &pass);
    if (ok)
        kb_check_ok(call, "login", "Nova is at %.150s", kb_secret_text(&pass.more));
    kb_pass_finish(&pass);
    kb_secret_finish(&fresh.token);
    kb_secret_finish(&fresh.more);
    return ok || kb_check_failed(
                     call, "login",
                     strstr(call->why, "catalog")
                         ? "Look at interface and region, and that the account has a role in "
                           "project_name."
                         : "Look at username, password and the domains, or at the application "
                           "credential: it may have expired; a project without a role for the "
                           "account is refused too.");
}

/* A token that nobody made: 404 says that ours may be redeemed, 403 that the role is missing. */
static bool check_role(struct kb_source_call *call)
{
    kb_auto(kb_api_finish) struct kb_api a;
    static const char path[] = "/os-console-auth-tokens/00000000-0000-0000-0000-000000000000";
    if (!ask(call, "redeeming a console token", path, NULL, &a))
        return kb_check_failed(call, "role", "Look whether this machine reaches Nova's endpoint.");
    if (a.status == 404) {
        kb_check_ok(call, "role", "the account may redeem console tokens");
        return true;
    }
    refused(call, &a);
    return kb_check_failed(call, "role",
                           a.status == 403   ? "Give the account the role admin in project_name "
                                               "(os_compute_api:os-console-auth-tokens)."
                           : a.status == 406 ? "Update Nova to 2025.1 or later."
                                             : "Look at Nova's log.");
}

static bool openstack_check(struct kb_source_call *call)
{
    kb_auto_free char *url = keystone_url(call->config, "");
    return kb_api_check(call, url, !verifies(call)) && check_login(call) && check_role(call);
}

const struct kb_source_driver kb_source_driver_openstack = {
    .type = "openstack",
    .keys = keys,
    .key_count = sizeof keys / sizeof keys[0],
    .start = openstack_start,
    .finish = openstack_finish,
    .list = openstack_list,
    .open = openstack_open,
    .exchange = openstack_exchange,
    .check = openstack_check,
};
