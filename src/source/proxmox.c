/* Proxmox VE: machines from the cluster's resources, a console's way and ticket from spiceproxy at
 * the moment when it is opened. The API is that of its API viewer (pve-access-control,
 * qemu-server); what spiceproxy answers is good for some 30 seconds, and a second answer voids the
 * password of the first. Threads of calls. */
#include "source/api.h"
#include "source/login.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

#define LOGIN_LIFE_US (UINT64_C(110) * 60 * 1000000) /* a ticket of Proxmox lives two hours */

static const struct kb_source_key keys[] = {
    {"url", KB_KEY_URL, .max = 1024, .required = true},
    {"token_id", KB_KEY_TEXT, .max = 256},
    {"token", KB_KEY_SECRET, .max = 256},
    {"username", KB_KEY_TEXT, .max = 256},
    {"password", KB_KEY_SECRET, .max = 1024},
    {"verify", KB_KEY_VERIFY, .fallback = "true"},
};

static void *proxmox_start(const struct kb_source_config *config)
{
    (void)config;
    return kb_login_create();
}

static void proxmox_finish(void *state)
{
    kb_login_destroy(state);
}

/* --- logging in and asking -------------------------------------------------------------------- */

static bool verifies(const struct kb_source_call *call)
{
    return kb_setting_flag(call->config, "verify");
}

static char *url_of(const struct kb_source_call *call, const char *path)
{
    static const char base[] = "/api2/json";
    const char *url = kb_setting_text(call->config, "url");
    size_t len = strlen(url), tail = strlen(base);
    if (len > tail && strcmp(url + len - tail, base) == 0)
        len -= tail;
    return kb_printf("%.*s%s%s", (int)len, url, base, path);
}

static bool make_ticket(struct kb_source_call *call, struct kb_login *l)
{
    kb_auto_free char *url = url_of(call, "/access/ticket");
    kb_auto_free char *user = kb_fetch_escape(kb_setting_text(call->config, "username"));
    struct kb_secret password = {kb_fetch_escape(kb_setting_secret(call->config, "password"))};
    struct kb_secret body = {kb_printf("username=%s&password=%s", user, kb_secret_text(&password))};
    kb_auto(kb_api_finish) struct kb_api a = {
        .what = "logging in", .url = url, .body = body.text, .no_verify = !verifies(call)};
    bool ok = kb_api_get(call, &a);
    kb_secret_finish(&password);
    kb_secret_finish(&body);
    if (!ok)
        return false;
    const json_t *data = json_object_get(a.json, "data");
    const char *ticket = kb_json_str(data, "ticket");
    if (kb_json_num(data, "NeedTFA", 0, 1, 0))
        return kb_call_failed(call, "logging in: the account asks for a second factor; use an API "
                                    "token (token_id and token)");
    if (!ticket)
        return kb_api_refused(call, &a);
    struct kb_secret escaped = {kb_fetch_escape(ticket)};
    kb_secret_set(&l->token, kb_secret_text(&escaped));
    kb_secret_finish(&escaped);
    kb_secret_set(&l->more, kb_json_str(data, "CSRFPreventionToken"));
    l->until_us = kb_clock_us() + LOGIN_LIFE_US;
    return true;
}

/* An API token, which needs no login, or a ticket. Wipe them. */
static bool credentials(struct kb_source_call *call, struct kb_secret headers[2],
                        struct kb_pass *pass)
{
    const char *id = kb_setting_text(call->config, "token_id");
    if (id) {
        headers[0].text = kb_printf("Authorization: PVEAPIToken=%s=%s", id,
                                    kb_setting_secret(call->config, "token"));
        return true;
    }
    if (!kb_setting_text(call->config, "username"))
        return kb_call_failed(call, "logging in: the source has neither token_id nor username");
    if (!kb_login_get(call->state, call, make_ticket, pass))
        return false;
    headers[0].text = kb_printf("Cookie: PVEAuthCookie=%s", kb_secret_text(&pass->token));
    headers[1].text = kb_printf("CSRFPreventionToken: %s", kb_secret_text(&pass->more));
    return true;
}

/* One request; a ticket that is refused is made anew, once. body: a POST. The answer of any status
 * is in a; false when there is none. */
static bool ask(struct kb_source_call *call, const char *what, const char *path, const char *body,
                struct kb_api *a)
{
    kb_auto_free char *url = url_of(call, path);
    bool ok = false, again = false;
    *a = (struct kb_api){0};
    do {
        struct kb_secret headers[2] = {{0}};
        struct kb_pass pass = {0};
        kb_api_finish(a);
        *a = (struct kb_api){.what = what,
                             .url = url,
                             .body = body,
                             .no_verify = !verifies(call),
                             .max = KB_API_LIST_MAX};
        ok = credentials(call, headers, &pass);
        a->headers[0] = headers[0].text;
        a->headers[1] = headers[1].text;
        ok = ok && kb_api_ask(call, a);
        memset(a->headers, 0, sizeof a->headers);
        a->url = kb_setting_text(call->config, "url"); /* for messages, and lives on */
        again = ok && !again && a->status == 401 && pass.token.text;
        if (again)
            kb_login_drop(call->state, &pass);
        kb_secret_finish(&headers[0]);
        kb_secret_finish(&headers[1]);
        kb_pass_finish(&pass);
    } while (again);
    return ok;
}

/* The `data` of a 200, borrowed from a; else NULL. */
static const json_t *get_data(struct kb_source_call *call, const char *what, const char *path,
                              struct kb_api *a)
{
    if (!ask(call, what, path, NULL, a))
        return NULL;
    const json_t *data = json_object_get(a->json, "data");
    if (a->status == 200 && data && !json_is_null(data))
        return data;
    kb_api_refused(call, a);
    return NULL;
}

/* --- list ------------------------------------------------------------------------------------- */

/* Names stand in paths of the API. */
static bool is_node(const char *name)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";
    return name && *name && strlen(name) < 254 && !name[strspn(name, plain)];
}

/* A machine that may have a console: no container, no template, not stopped. One whose node the
 * cluster has lost is `unknown`: it may well run. */
static bool is_console(const json_t *row, int64_t *vmid)
{
    const char *type = kb_json_str(row, "type"), *status = kb_json_str(row, "status");
    *vmid = kb_json_num(row, "vmid", 1, INT32_MAX, 0);
    return *vmid && type && strcmp(type, "qemu") == 0 && is_node(kb_json_str(row, "node")) &&
           !kb_json_num(row, "template", 0, 1, 0) && status && strcmp(status, "stopped") != 0;
}

static void add(struct kb_console **map, const json_t *row)
{
    int64_t vmid;
    if (!is_console(row, &vmid))
        return;
    kb_auto_free char *uuid = kb_printf("%lld", (long long)vmid);
    const char *name = kb_json_str(row, "name");
    struct kb_console *c = kb_console_create(uuid, name && *name ? name : uuid);
    c->state = kb_strdup(kb_json_str(row, "status"));
    c->project = kb_strdup(kb_json_str(row, "pool"));
    c->hypervisor = kb_strdup(kb_json_str(row, "node"));
    c->transport = KB_TRANSPORT_CONNECT;
    kb_consoles_add(map, c);
}

static enum kb_listed proxmox_list(struct kb_source_call *call, struct kb_console **map)
{
    kb_auto(kb_api_finish) struct kb_api a;
    const json_t *data = get_data(call, "listing machines", "/cluster/resources?type=vm", &a);
    if (!data)
        return KB_LIST_FAILED;
    if (!json_is_array(data)) {
        kb_api_refused(call, &a);
        return KB_LIST_FAILED;
    }
    json_t *row;
    size_t i;
    json_array_foreach(data, i, row) add(map, row);
    return KB_LISTED;
}

/* --- open ------------------------------------------------------------------------------------- */

/* Of "http://pve1.example:3128". */
static bool read_proxy(const struct kb_source_config *config, const char *text, struct kb_target *t)
{
    kb_auto_free char *host = NULL;
    bool ok = text && kb_api_place(text, &host, &t->proxy_port) && t->proxy_port;
    if (ok)
        t->proxy_host = kb_address_map(config, host);
    return ok;
}

/* PEM with its line ends written as \n. */
static char *read_ca(const char *text)
{
    struct kb_buf b = {0};
    for (; *text; text++) {
        bool end = text[0] == '\\' && text[1] == 'n';
        kb_buf_add(&b, end ? "\n" : text, 1);
        text += end;
    }
    return kb_buf_steal(&b);
}

/* The CA that signs the nodes' SPICE certificates: the answer's own, where the answer itself is to
 * be believed; else the configured one. */
static bool set_ca(struct kb_source_call *call, const json_t *data, struct kb_target *t)
{
    const char *ca = kb_json_str(data, "ca");
    bool trusted =
        verifies(call) && strncmp(kb_setting_text(call->config, "url"), "https:", 6) == 0;
    if (ca && trusted) {
        free(t->ca_pem);
        t->ca_pem = read_ca(ca);
    }
    return t->ca_pem || kb_call_failed(call, "opening: the API is not verified, so its word on the "
                                             "CA is not taken; give the source a ca_cert");
}

/* The machine of this number is the one that was listed: numbers are used again. */
static bool is_same(const struct kb_console *console, const json_t *data)
{
    const char *title = kb_json_str(data, "title");
    kb_auto_free char *expected = kb_printf("VM %s - %s", console->uuid, console->name);
    kb_auto_free char *nameless = kb_printf("VM %s", console->uuid);
    return !title || strcmp(title, expected) == 0 ||
           (strcmp(console->name, console->uuid) == 0 &&
            strncmp(title, nameless, strlen(nameless)) == 0);
}

static enum kb_reason read_answer(struct kb_source_call *call, const struct kb_console *console,
                                  const struct kb_api *a, struct kb_target **target)
{
    const json_t *data = json_object_get(a->json, "data");
    const char *host = kb_json_str(data, "host"), *subject = kb_json_str(data, "host-subject");
    const char *password = kb_json_str(data, "password"), *proxy = kb_json_str(data, "proxy");
    struct kb_target *t = kb_target_of(call->config, console);
    free(t->host);
    free(t->tls_name);
    t->tls_name = NULL;
    t->host = kb_strdup(host);
    t->host_subject = kb_strdup(subject);
    t->tls_port = kb_json_port(data, "tls-port");
    t->tls = KB_TLS_REQUIRE;
    kb_secret_set(&t->ticket, password);
    bool ok = false;
    if (!host || !password || !t->tls_port || strlen(password) > 59)
        kb_call_failed(call, "opening: spiceproxy's answer lacks host, password or tls-port");
    else if (!subject || !*subject)
        kb_call_failed(call, "opening: spiceproxy names no host-subject, so nothing proves who "
                             "answers");
    else if (!read_proxy(call->config, proxy, t))
        kb_call_failed(call, "opening: spiceproxy names no proxy");
    else if (!is_same(console, data))
        kb_call_failed(call, "opening: machine %.20s is now \"%.60s\"; the list is older",
                       console->uuid, kb_json_str(data, "title"));
    else
        ok = set_ca(call, data, t);
    if (!ok) {
        kb_target_unref(t);
        return KB_REASON_SOURCE_FAILED;
    }
    *target = t;
    return KB_REASON_NONE;
}

/* Where the machine is now: NONE with *node to be freed; CONSOLE_GONE, SOURCE_FAILED. */
static enum kb_reason find_node(struct kb_source_call *call, const struct kb_console *console,
                                char **node)
{
    struct kb_console *map = NULL;
    enum kb_reason reason = KB_REASON_SOURCE_FAILED;
    if (proxmox_list(call, &map) == KB_LISTED) {
        const struct kb_console *now = kb_consoles_find(map, console->uuid);
        reason = now ? KB_REASON_NONE : KB_REASON_CONSOLE_GONE;
        *node = now ? kb_strdup(now->hypervisor) : NULL;
    }
    kb_consoles_destroy(&map);
    return reason;
}

static bool ask_spiceproxy(struct kb_source_call *call, const char *node, const char *vmid,
                           struct kb_api *a)
{
    kb_auto_free char *path = kb_printf("/nodes/%s/qemu/%s/spiceproxy", node, vmid);
    return ask(call, "opening", path, "", a);
}

/* The node that the list named is asked first; when it does not know the machine (any more), the
 * cluster says where it went. */
static enum kb_reason proxmox_open(struct kb_source_call *call, const struct kb_console *console,
                                   struct kb_target **target)
{
    kb_auto(kb_api_finish) struct kb_api a;
    if (!ask_spiceproxy(call, console->hypervisor, console->uuid, &a))
        return KB_REASON_SOURCE_FAILED;
    if (a.status >= 500) {
        kb_auto_free char *node = NULL;
        enum kb_reason reason = find_node(call, console, &node);
        if (reason != KB_REASON_NONE)
            return reason;
        if (strcmp(node, console->hypervisor) != 0) {
            kb_api_finish(&a);
            if (!ask_spiceproxy(call, node, console->uuid, &a))
                return KB_REASON_SOURCE_FAILED;
        }
    }
    if (a.status == 200)
        return read_answer(call, console, &a, target);
    kb_api_refused(call, &a);
    return KB_REASON_SOURCE_FAILED;
}

/* --- check ------------------------------------------------------------------------------------ */

static bool check_login(struct kb_source_call *call)
{
    kb_auto(kb_api_finish) struct kb_api a;
    const json_t *data = get_data(call, "logging in", "/version", &a);
    const char *version = kb_json_str(data, "version");
    if (!data)
        return kb_check_failed(call, "login",
                               a.status == 401
                                   ? "Look at token_id (USER@REALM!NAME) and token, or at username "
                                     "(USER@REALM) and password; tokens and accounts can expire."
                                   : "Look whether url is that of a Proxmox VE node, port 8006.");
    kb_check_ok(call, "login", "as %.100s, version %.20s",
                kb_setting_text(call->config, "token_id")
                    ? kb_setting_text(call->config, "token_id")
                    : kb_setting_text(call->config, "username"),
                version ? version : "unknown");
    return true;
}

/* What one machine says of its display: no ticket is made, which would void another's. */
static bool check_console(struct kb_source_call *call)
{
    struct kb_console *map = NULL;
    if (proxmox_list(call, &map) != KB_LISTED)
        return kb_check_failed(call, "machines", "Give the account VM.Audit on /vms.");
    if (!map) {
        kb_check_ok(call, "machines", "none: the account lacks VM.Audit on /vms, or none runs");
        return true;
    }
    kb_auto_free char *path =
        kb_printf("/nodes/%s/qemu/%s/status/current", map->hypervisor, map->uuid);
    kb_auto(kb_api_finish) struct kb_api a;
    const json_t *data = get_data(call, "asking for a machine", path, &a);
    if (data && kb_json_num(data, "spice", 0, 1, 0))
        kb_check_ok(call, "machines", "%.100s has a SPICE display", map->name);
    else if (data)
        kb_check_ok(call, "machines", "%.100s has no SPICE display: set its vga to qxl", map->name);
    kb_consoles_destroy(&map);
    return data || kb_check_failed(call, "machines", "Give the account VM.Audit on /vms.");
}

static bool proxmox_check(struct kb_source_call *call)
{
    kb_auto_free char *url = url_of(call, "/version");
    return kb_api_check(call, url, !verifies(call)) && check_login(call) && check_console(call);
}

const struct kb_source_driver kb_source_driver_proxmox = {
    .type = "proxmox",
    .keys = keys,
    .key_count = sizeof keys / sizeof keys[0],
    .start = proxmox_start,
    .finish = proxmox_finish,
    .list = proxmox_list,
    .open = proxmox_open,
    .check = proxmox_check,
};
