/* oVirt: the engine's REST API, version 4. Machines, their hosts' certificate subjects, and a
 * ticket with an explicit end when a console is opened. In the engine's JSON numbers are texts and
 * an empty collection is an empty object. Threads of calls. */
#include "source/api.h"
#include "source/login.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static const struct kb_source_key keys[] = {
    {"url", KB_KEY_URL, .max = 1024, .required = true},
    {"username", KB_KEY_TEXT, .max = 256, .required = true},
    {"password", KB_KEY_SECRET, .max = 1024, .required = true},
    {"ticket_expiry", KB_KEY_DURATION, .fallback = "60s", .min = 10000, .max = 7200000},
    {"verify", KB_KEY_VERIFY, .fallback = "true"},
};

static void *ovirt_start(const struct kb_source_config *config)
{
    (void)config;
    return kb_login_create();
}

static void ovirt_finish(void *state)
{
    kb_login_destroy(state);
}

static bool verifies(const struct kb_source_call *call)
{
    return kb_setting_flag(call->config, "verify");
}

/* --- the engine's CA -------------------------------------------------------------------------- */

/* The base64 of the next certificate of a PEM text, without white space: the same bytes of it are
 * the same DER, however the lines are cut. NULL at the end; *at goes on. To be freed. */
static char *next_certificate(const char **at)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
    const char *from = strstr(*at, begin), *to = from ? strstr(from, end) : NULL;
    if (!to)
        return NULL;
    struct kb_buf b = {0};
    for (from += strlen(begin); from < to; from++)
        if (!strchr(" \t\r\n", *from))
            kb_buf_add(&b, from, 1);
    *at = to + strlen(end);
    return kb_buf_steal(&b);
}

static bool is_among(const char *certificate, const char *pem)
{
    bool found = false;
    for (char *c; !found && (c = next_certificate(&pem)); free(c))
        found = strcmp(c, certificate) == 0;
    return found;
}

/* Gets the engine's CA, which signs the hosts' certificates. A configured one must be the same;
 * else it is believed where the API itself was verified. */
static bool bootstrap_ca(struct kb_source_call *call, struct kb_login *l)
{
    kb_auto_free char *url =
        kb_printf("%s/services/pki-resource?resource=ca-certificate&format=X509-PEM-CA",
                  kb_setting_text(call->config, "url"));
    kb_auto(kb_api_finish) struct kb_api a = {.what = "asking for the engine's CA",
                                              .url = url,
                                              .no_json = true,
                                              .no_verify = !verifies(call)};
    if (!kb_api_ask(call, &a))
        return false;
    const char *pem = (const char *)a.fetch.answer.data, *at = pem;
    kb_auto_free char *certificate = a.status == 200 ? next_certificate(&at) : NULL;
    const char *own = call->config->ca_cert;
    if (!certificate)
        return kb_call_failed(call, "asking for the engine's CA: status %ld, and no certificate",
                              a.status);
    if (own && !is_among(certificate, own))
        return kb_call_failed(call, "the engine's CA is not the one in ca_cert; one of them was "
                                    "renewed, or this is another engine");
    bool trusted =
        verifies(call) && strncmp(kb_setting_text(call->config, "url"), "https:", 6) == 0;
    if (!own && !trusted)
        return kb_call_failed(call, "the API is not verified, so its word on the CA is not taken; "
                                    "give the source a ca_cert");
    kb_secret_set(&l->more, own ? own : pem);
    return true;
}

/* --- logging in and asking -------------------------------------------------------------------- */

static bool make_token(struct kb_source_call *call, struct kb_login *l)
{
    const struct kb_source_config *c = call->config;
    kb_auto_free char *url = kb_printf("%s/sso/oauth/token", kb_setting_text(c, "url"));
    kb_auto_free char *user = kb_fetch_escape(kb_setting_text(c, "username"));
    struct kb_secret password = {kb_fetch_escape(kb_setting_secret(c, "password"))};
    struct kb_secret body = {
        kb_printf("grant_type=password&username=%s&password=%s&scope=ovirt-app-api", user,
                  kb_secret_text(&password))};
    kb_auto(kb_api_finish) struct kb_api a = {
        .what = "logging in",
        .url = url,
        .headers = {"Accept: application/json", "Content-Type: application/x-www-form-urlencoded"},
        .body = body.text,
        .no_verify = !verifies(call),
    };
    bool ok = kb_api_get(call, &a);
    kb_secret_finish(&password);
    kb_secret_finish(&body);
    const char *token = ok ? kb_json_str(a.json, "access_token") : NULL;
    if (ok && !token)
        return kb_api_refused(call, &a);
    kb_secret_set(&l->token, token);
    return ok && bootstrap_ca(call, l);
}

/* One request below /api; a session that ended is begun anew, once. body: a POST. The answer of any
 * status is in a; ca, if wanted, gets the engine's CA. False when there is no answer. */
static bool ask(struct kb_source_call *call, const char *what, const char *path, const char *body,
                struct kb_api *a, char **ca)
{
    kb_auto_free char *url = kb_printf("%s/api%s", kb_setting_text(call->config, "url"), path);
    bool ok = false, again = false;
    *a = (struct kb_api){0};
    do {
        struct kb_pass pass = {0};
        kb_api_finish(a);
        *a = (struct kb_api){.what = what};
        ok = kb_login_get(call->state, call, make_token, &pass);
        if (!ok)
            break;
        struct kb_secret token = {
            kb_printf("Authorization: Bearer %s", kb_secret_text(&pass.token))};
        *a = (struct kb_api){
            .what = what,
            .url = url,
            .headers = {token.text, "Accept: application/json", "Version: 4",
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
        if (ca) {
            free(*ca);
            *ca = kb_strdup(kb_secret_text(&pass.more));
        }
        kb_secret_finish(&token);
        kb_pass_finish(&pass);
    } while (again);
    return ok;
}

static bool is_id(const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return text && *text && strlen(text) <= 64 && !text[strspn(text, plain)];
}

/* --- list ------------------------------------------------------------------------------------- */

/* Whether the machine may have a console now; what the engine has lost sight of may. */
static bool is_alive(const char *status)
{
    static const char *const dead[] = {"down", "suspended", "image_locked", NULL};
    for (size_t i = 0; status && dead[i]; i++)
        if (strcmp(status, dead[i]) == 0)
            return false;
    return status != NULL;
}

static const json_t *find_host(const json_t *hosts, const char *id)
{
    const json_t *host;
    size_t i;
    json_array_foreach(json_object_get(hosts, "host"), i, host)
    {
        const char *is = kb_json_str(host, "id");
        if (id && is && strcmp(is, id) == 0)
            return host;
    }
    return NULL;
}

static void set_host(struct kb_console *c, const json_t *host)
{
    free(c->hypervisor);
    free(c->host_subject);
    c->hypervisor = kb_strdup(kb_json_str(host, "name"));
    c->host_subject = kb_strdup(kb_json_str(json_object_get(host, "certificate"), "subject"));
}

static void add(struct kb_console **map, const json_t *vm, const json_t *hosts)
{
    const char *id = kb_json_str(vm, "id"), *name = kb_json_str(vm, "name");
    const char *status = kb_json_str(vm, "status");
    const json_t *display = json_object_get(vm, "display");
    const char *type = kb_json_str(display, "type");
    if (!is_id(id) || !is_alive(status) || (type && strcmp(type, "vnc") == 0))
        return;
    struct kb_console *c = kb_console_create(id, name && *name ? name : id);
    c->state = kb_strdup(status);
    c->hypervisor_ip = kb_strdup(kb_json_str(display, "address"));
    c->insecure_port = kb_json_port(display, "port");
    c->secure_port = kb_json_port(display, "secure_port");
    set_host(c, find_host(hosts, kb_json_str(json_object_get(vm, "host"), "id")));
    kb_consoles_add(map, c);
}

/* All at once and not by pages: those are counted by number, so that a machine which goes while we
 * turn one makes another fall between two, and its console would be removed. */
static enum kb_listed ovirt_list(struct kb_source_call *call, struct kb_console **map)
{
    kb_auto(kb_api_finish) struct kb_api vms = {0}, hosts = {0};
    if (!ask(call, "listing machines", "/vms", NULL, &vms, NULL))
        return KB_LIST_FAILED;
    const json_t *list = json_object_get(vms.json, "vm"), *vm;
    if (vms.status != 200 || !json_is_object(vms.json) || (list && !json_is_array(list))) {
        kb_api_refused(call, &vms);
        return KB_LIST_FAILED;
    }
    if (!ask(call, "listing hosts", "/hosts", NULL, &hosts, NULL))
        return KB_LIST_FAILED;
    if (hosts.status != 200 && hosts.status != 403) { /* who may not see hosts has no subjects */
        kb_api_refused(call, &hosts);
        return KB_LIST_FAILED;
    }
    size_t i;
    json_array_foreach(list, i, vm) add(map, vm, hosts.json);
    return KB_LISTED;
}

/* --- open ------------------------------------------------------------------------------------- */

/* Which graphics console of the machine speaks SPICE, and where: its id, to be freed, or NULL. */
static char *read_consoles(const json_t *body, struct kb_console *c)
{
    const json_t *console;
    size_t i;
    json_array_foreach(json_object_get(body, "graphics_console"), i, console)
    {
        const char *protocol = kb_json_str(console, "protocol"), *id = kb_json_str(console, "id");
        const char *address = kb_json_str(console, "address");
        if (!protocol || strcmp(protocol, "spice") != 0 || !is_id(id))
            continue;
        free(c->hypervisor_ip);
        c->hypervisor_ip = kb_strdup(address && *address ? address : NULL);
        c->insecure_port = kb_json_port(console, "port");
        c->secure_port = kb_json_port(console, "tls_port");
        return kb_strdup(id);
    }
    return NULL;
}

/* NONE with a 200 in a; CONSOLE_GONE for 404; SOURCE_FAILED. */
static enum kb_reason get(struct kb_source_call *call, const char *what, const char *path,
                          struct kb_api *a)
{
    if (!ask(call, what, path, NULL, a, NULL))
        return KB_REASON_SOURCE_FAILED;
    if (a->status == 404)
        return KB_REASON_CONSOLE_GONE;
    if (a->status == 200 && json_is_object(a->json))
        return KB_REASON_NONE;
    kb_api_refused(call, a);
    return KB_REASON_SOURCE_FAILED;
}

/* Where the machine's console is now, and on whose host: it may have moved since it was listed.
 * *id: of its SPICE console, to be freed. */
static enum kb_reason locate(struct kb_source_call *call, struct kb_console *c, char **id)
{
    kb_auto_free char *consoles = kb_printf("/vms/%s/graphicsconsoles?current=true", c->uuid);
    kb_auto_free char *machine = kb_printf("/vms/%s", c->uuid);
    kb_auto(kb_api_finish) struct kb_api a = {0}, b = {0}, h = {0};
    enum kb_reason reason = get(call, "asking for the console", consoles, &a);
    if (reason != KB_REASON_NONE)
        return reason;
    *id = read_consoles(a.json, c);
    if (!*id) {
        kb_call_failed(call, "asking for the console: the machine has no SPICE console");
        return KB_REASON_SOURCE_FAILED;
    }
    if (!c->hypervisor_ip) {
        kb_call_failed(call, "asking for the console: the engine names no address for it");
        return KB_REASON_SOURCE_FAILED;
    }
    reason = get(call, "asking for the machine", machine, &b);
    const char *host = kb_json_str(json_object_get(b.json, "host"), "id");
    if (reason != KB_REASON_NONE || !is_id(host))
        return reason;
    kb_auto_free char *path = kb_printf("/hosts/%s", host);
    if (!ask(call, "asking for the host", path, NULL, &h, NULL))
        return KB_REASON_SOURCE_FAILED;
    if (h.status == 200)
        set_host(c, h.json);
    return KB_REASON_NONE;
}

/* A password for the console that ends soon; it voids the one before. ca: to be freed. */
static bool mint(struct kb_source_call *call, const struct kb_console *c, const char *id,
                 struct kb_secret *ticket, char **ca)
{
    kb_auto_free char *path = kb_printf("/vms/%s/graphicsconsoles/%s/ticket", c->uuid, id);
    kb_auto_free char *body =
        kb_printf("{\"ticket\": {\"expiry\": \"%lld\"}}",
                  (long long)kb_setting_number(call->config, "ticket_expiry") / 1000);
    kb_auto(kb_api_finish) struct kb_api a = {0};
    if (!ask(call, "asking for a ticket", path, body, &a, ca))
        return false;
    const char *value = kb_json_str(json_object_get(a.json, "ticket"), "value");
    if (a.status != 200 || !value || !*value || strlen(value) > 59)
        return kb_api_refused(call, &a);
    kb_secret_set(ticket, value);
    return true;
}

static enum kb_reason ovirt_open(struct kb_source_call *call, const struct kb_console *console,
                                 struct kb_target **target)
{
    struct kb_console *now = kb_console_copy(console);
    struct kb_secret ticket = {0};
    kb_auto_free char *id = NULL, *ca = NULL;
    enum kb_reason reason = locate(call, now, &id);
    if (reason == KB_REASON_NONE && !mint(call, now, id, &ticket, &ca))
        reason = KB_REASON_SOURCE_FAILED;
    if (reason == KB_REASON_NONE) {
        struct kb_target *t = *target = kb_target_of(call->config, now);
        free(t->ca_pem);
        t->ca_pem = kb_strdup(ca);
        t->ticket = ticket;
        ticket = (struct kb_secret){0};
    }
    kb_secret_finish(&ticket);
    kb_console_destroy(now);
    return reason;
}

/* --- check ------------------------------------------------------------------------------------ */

static bool check_login(struct kb_source_call *call)
{
    struct kb_pass pass = {0};
    struct kb_login fresh = {.lock = PTHREAD_MUTEX_INITIALIZER};
    bool ok = kb_login_get(&fresh, call, make_token, &pass);
    if (ok)
        kb_check_ok(call, "login", "as %.100s; the engine's CA is %s",
                    kb_setting_text(call->config, "username"),
                    call->config->ca_cert ? "the one in ca_cert" : "taken from the engine");
    kb_pass_finish(&pass);
    kb_secret_finish(&fresh.token);
    kb_secret_finish(&fresh.more);
    return ok ||
           kb_check_failed(call, "login",
                           strstr(call->why, "CA")
                               ? "Compare ca_cert with the engine's /etc/pki/ovirt-engine/ca.pem."
                               : "Look at username (USER@DOMAIN, such as admin@ovirt@internalsso, "
                                 "or admin@internal on older engines) and password, and that url "
                                 "ends with /ovirt-engine.");
}

static bool check_hosts(struct kb_source_call *call)
{
    kb_auto(kb_api_finish) struct kb_api a = {0};
    if (!ask(call, "listing hosts", "/hosts", NULL, &a, NULL))
        return kb_check_failed(call, "hosts", "");
    size_t count = json_array_size(json_object_get(a.json, "host"));
    if (a.status == 200 && count) {
        kb_check_ok(call, "hosts", "%zu, with their certificates' subjects", count);
        return true;
    }
    kb_api_refused(call, &a);
    return kb_check_failed(
        call, "hosts",
        "Give the account a role that may see hosts: without their certificates' "
        "subjects nothing proves who answers.");
}

static bool ovirt_check(struct kb_source_call *call)
{
    return kb_api_check(call, kb_setting_text(call->config, "url"), !verifies(call)) &&
           check_login(call) && check_hosts(call);
}

const struct kb_source_driver kb_source_driver_ovirt = {
    .type = "ovirt",
    .keys = keys,
    .key_count = sizeof keys / sizeof keys[0],
    .start = ovirt_start,
    .finish = ovirt_finish,
    .list = ovirt_list,
    .open = ovirt_open,
    .check = ovirt_check,
};
