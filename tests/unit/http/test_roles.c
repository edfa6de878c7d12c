/* What a role with a scope sees of each route: lists without what is not its, 404 for a user and
 * 403 for those who may know; API keys with networks; logins that are seen and ended. */
#include "client.h"

#include "identity/settings.h"

static char *make_key(const char *name, const char *role, const char *more)
{
    kb_auto_free char *body = kb_printf("{\"name\":\"%s\",\"role\":\"%s\"%s}", name, role, more);
    const struct answer *a = ask_admin("POST", "/api/v1/apikeys", body);
    if (a->status != 201)
        fail_msg("%s", a->text);
    return kb_printf("Authorization: Bearer %s\r\n", text_at(a->json, "key"));
}

static size_t count(const char *path, const char *key)
{
    const struct answer *a = ask("GET", path, key, NULL);
    if (a->status != 200)
        fail_msg("%s", a->text);
    return json_array_size(json_object_get(a->json, "items"));
}

static void test_user(void **state)
{
    (void)state;
    kb_auto_free char *key = make_key("scoped user", "user", ",\"consoles\":[\"desk*\"]");
    assert_int_equal(count("/api/v1/consoles", key), 1);
    assert_int_equal(count("/api/v1/consoles?limit=1", key), 1);
    assert_int_equal(count("/api/v1/consoles?q=shared", key), 0);
    assert_int_equal(ask("GET", "/api/v1/consoles/lab/u-1", key, NULL)->status, 200);
    check_error(ask("GET", "/api/v1/consoles/lab/u-3", key, NULL), 404, "console_not_found");
    check_error(ask("GET", "/api/v1/consoles/lab/none", key, NULL), 404, "console_not_found");
    assert_int_equal(ask("POST", "/api/v1/consoles/lab/u-1/grants", key, "{}")->status, 201);
    check_error(ask("POST", "/api/v1/consoles/lab/u-3/grants", key, "{}"), 404,
                "console_not_found");
    check_error(ask("POST", "/api/v1/consoles/lab/none/grants", key, "{}"), 404,
                "console_not_found");
    check_error(ask("GET", "/api/v1/sessions", key, NULL), 403, "forbidden");
}

/* "Wants to know whether it exists" must not be answered by what differs between the two. */
static void test_same_404(void **state)
{
    (void)state;
    kb_auto_free char *key = make_key("curious", "user", ",\"consoles\":\"desk*\"");
    const struct answer *a = ask("GET", "/api/v1/consoles/lab/u-3", key, NULL);
    kb_auto_free char *there = kb_strdup(text_at(a->json, "error.message"));
    a = ask("GET", "/api/v1/consoles/lab/none", key, NULL);
    assert_string_equal(text_at(a->json, "error.message"), there);
    a = ask("POST", "/api/v1/consoles/lab/u-3/grants", key, "{}");
    assert_string_equal(text_at(a->json, "error.message"), there);
    a = ask("POST", "/api/v1/consoles/lab/none/grants", key, "{}");
    assert_string_equal(text_at(a->json, "error.message"), there);
}

static void test_operator(void **state)
{
    (void)state;
    kb_auto_free char *in = make_key("in", "operator", ",\"sources\":[\"lab\"]");
    kb_auto_free char *out = make_key("out", "operator", ",\"sources\":\"mars\"");
    kb_auto_free char *shared = make_key("shared", "operator", ",\"consoles\":[\"shared\"]");
    assert_int_equal(count("/api/v1/consoles", in), 3);
    assert_int_equal(count("/api/v1/consoles", out), 0);
    assert_int_equal(count("/api/v1/consoles", shared), 1);
    check_error(ask("GET", "/api/v1/consoles/lab/u-1", out, NULL), 403, "forbidden");
    check_error(ask("GET", "/api/v1/consoles/lab/none", out, NULL), 404, "console_not_found");
    assert_int_equal(count("/api/v1/sources", in), 1);
    assert_int_equal(count("/api/v1/sources", out), 0);
    check_error(ask("GET", "/api/v1/sources/lab", out, NULL), 403, "forbidden");
    assert_int_equal(count("/api/v1/sessions", in), 1);
    assert_int_equal(count("/api/v1/sessions", out), 0);
    assert_int_equal(count("/api/v1/sessions", shared), 0);
    check_error(ask("GET", "/api/v1/sessions/00000000000000aa", shared, NULL), 403, "forbidden");
    unsigned calls = terminated.calls;
    check_error(ask("POST", "/api/v1/sessions/00000000000000aa/terminate", shared, "{}"), 403,
                "forbidden");
    check_error(ask("POST", "/api/v1/sessions/00000000000000bb/terminate", shared, "{}"), 404,
                "session_not_found");
    check_error(ask("POST", "/api/v1/consoles/lab/u-1/terminate", shared, "{}"), 403, "forbidden");
    check_error(ask("POST", "/api/v1/consoles/lab/u-1/terminate", out, "{}"), 403, "forbidden");
    /* Each asked once, and what is not theirs was left alone. */
    assert_int_equal(terminated.calls, calls + 2);
    assert_int_equal(ask("POST", "/api/v1/consoles/lab/u-1/terminate", in, "{}")->status, 200);
    assert_int_equal(ask("POST", "/api/v1/sessions/00000000000000aa/terminate", in, "{}")->status,
                     200);
    /* An operator sees hypervisors where he operates. */
    const struct answer *a = ask("GET", "/api/v1/consoles/lab/u-1", in, NULL);
    assert_string_equal(text_at(a->json, "hypervisor"), "hv1");
    /* and nobody sees more because he operates somewhere else: */
    check_error(ask("GET", "/api/v1/users", in, NULL), 403, "forbidden");
}

/* The pretended session is on a console that belongs to apikey:mine. */
static void test_operator_of_own(void **state)
{
    (void)state;
    kb_auto_free char *mine = make_key("mine", "operator", ",\"consoles\":\"owner\"");
    kb_auto_free char *other = make_key("other", "operator", ",\"consoles\":\"owner\"");
    assert_int_equal(count("/api/v1/sessions", mine), 1);
    assert_int_equal(count("/api/v1/sessions", other), 0);
    const char *one = "/api/v1/sessions/00000000000000aa";
    assert_int_equal(ask("GET", one, mine, NULL)->status, 200);
    check_error(ask("GET", one, other, NULL), 403, "forbidden");
    const char *end = "/api/v1/sessions/00000000000000aa/terminate";
    check_error(ask("POST", end, other, "{}"), 403, "forbidden");
    assert_int_equal(ask("POST", end, mine, "{}")->status, 200);
}

static void test_auditor(void **state)
{
    (void)state;
    kb_auto_free char *all = make_key("all", "auditor", "");
    kb_auto_free char *out = make_key("audits mars", "auditor", ",\"sources\":\"mars\"");
    kb_auto_free char *in = make_key("audits lab", "auditor", ",\"sources\":\"lab\"");
    assert_true(count("/api/v1/audit?event=apikey.created", all) > 3);
    assert_int_equal(count("/api/v1/audit", out), 0);
    assert_int_equal(count("/api/v1/audit?event=apikey.created", in), 0);
    assert_int_equal(count("/api/v1/audit?event=console.added", in), 3);
    check_error(ask("GET", "/api/v1/consoles", all, NULL), 403, "forbidden");
}

static void test_upstream_routes(void **state)
{
    (void)state;
    kb_auto_free char *user = make_key("opens shared", "user", ",\"consoles\":\"shared\"");
    assert_int_equal(ask("GET", "/console/proxy/lab/u-3/console.vv", user, NULL)->status, 200);
    check_error(ask("GET", "/console/proxy/lab/u-1/console.vv", user, NULL), 404,
                "console_not_found");
    check_error(ask("GET", "/console/proxy/lab/none/console.vv", user, NULL), 404,
                "console_not_found");
    assert_int_equal(ask("HEAD", "/console/proxy/lab/u-3/console.vv", user, NULL)->status, 200);
    assert_int_equal(ask("HEAD", "/console/proxy/lab/u-1/console.vv", user, NULL)->status, 404);
    kb_auto_free char *in = make_key("direct lab", "admin", ",\"sources\":\"lab\"");
    kb_auto_free char *out = make_key("direct mars", "admin", ",\"sources\":\"mars\"");
    assert_int_equal(ask("GET", "/console/direct/lab/u-1/console.vv", in, NULL)->status, 200);
    check_error(ask("GET", "/console/direct/lab/u-1/console.vv", out, NULL), 403, "forbidden");
    check_error(ask("GET", "/console/direct/lab/none/console.vv", out, NULL), 404,
                "console_not_found");
}

static void test_operator_elsewhere(void **state)
{
    (void)state;
    kb_auto_free char *in = make_key("runs lab", "operator", ",\"sources\":\"lab\"");
    kb_auto_free char *out = make_key("runs mars", "operator", ",\"sources\":\"mars\"");
    kb_auto_free char *shared = make_key("runs shared", "operator", ",\"consoles\":\"shared\"");
    check_error(ask("GET", "/api/v1/consoles/lab/u-1/diagnosis", shared, NULL), 403, "forbidden");
    check_error(ask("GET", "/api/v1/consoles/lab/none/diagnosis", shared, NULL), 404,
                "console_not_found");
    assert_int_equal(ask("POST", "/api/v1/sources/lab/refresh", in, "{}")->status, 200);
    check_error(ask("POST", "/api/v1/sources/lab/refresh", out, "{}"), 403, "forbidden");
    check_error(ask("POST", "/api/v1/sources/none/refresh", out, "{}"), 404, "source_not_found");

    const char *alice = "{\"user\":\"alice\",\"source\":\"lab\"}";
    unsigned calls = terminated.calls;
    const struct answer *a = ask("POST", "/api/v1/sessions/terminate", shared, alice);
    assert_int_equal(a->status, 200);
    assert_int_equal(json_integer_value(json_object_get(a->json, "terminated")), 0);
    a = ask("POST", "/api/v1/sessions/terminate", in, alice);
    assert_int_equal(json_integer_value(json_object_get(a->json, "terminated")), 1);
    assert_int_equal(terminated.calls, calls + 2); /* one question each, however many sessions */
    assert_string_equal(terminated.id, "");
    assert_string_equal(terminated.source, "lab");
    assert_int_equal(strlen(terminated.apikey_id), KB_ID_SIZE - 1);
}

/* A name may hold a line's end, which a cell of CSV then holds too; its rows end with another. */
static size_t lines(const char *path, const char *key)
{
    const struct answer *a = ask("GET", path, key, NULL);
    const char *end = strstr(path, "csv") ? "\r\n" : "\n";
    size_t n = 0;
    if (a->status != 200)
        fail_msg("%s", a->text);
    for (const char *c = a->body; (c = strstr(c, end)); c++)
        n++;
    return n;
}

/* A file holds what the page shows and nothing more. */
static void test_audit_files(void **state)
{
    (void)state;
    kb_auto_free char *all = make_key("keeps all", "auditor", "");
    kb_auto_free char *in = make_key("keeps lab", "auditor", ",\"sources\":\"lab\"");
    kb_auto_free char *out = make_key("keeps mars", "auditor", ",\"sources\":\"mars\"");
    assert_true(lines("/api/v1/audit?format=jsonl&event=apikey.created", all) >= 3);
    assert_int_equal(lines("/api/v1/audit?format=jsonl&event=apikey.created", in), 0);
    assert_int_equal(lines("/api/v1/audit?format=jsonl&event=console.added", in), 3);
    assert_int_equal(lines("/api/v1/audit?format=csv&event=console.added", in), 1 + 3);
    assert_int_equal(lines("/api/v1/audit?format=jsonl", out), 0);
    assert_int_equal(lines("/api/v1/audit?format=csv", out), 1);
}

static void test_broker(void **state)
{
    (void)state;
    kb_auto_free char *key = make_key("broker lab", "broker", ",\"consoles\":\"shared\"");
    kb_auto_free char *other = make_key("broker all", "broker", "");
    const char *body = "{\"user\":\"somebody\",\"start_within\":\"1h\"}";
    const struct answer *a = ask("POST", "/api/v1/consoles/lab/u-3/grants", key, body);
    assert_int_equal(a->status, 201);
    kb_auto_free char *path = kb_printf("/api/v1/grants/%s", text_at(a->json, "grant_id"));
    check_error(ask("POST", "/api/v1/consoles/lab/u-1/grants", key, body), 404,
                "console_not_found");
    assert_int_equal(count("/api/v1/grants", key), 1);
    assert_int_equal(count("/api/v1/grants", other), 0);
    check_error(ask("DELETE", path, other, NULL), 404, "grant_not_found");
    kb_auto_free char *operator_elsewhere =
        make_key("op elsewhere", "operator", ",\"consoles\":\"desk*\"");
    check_error(ask("DELETE", path, operator_elsewhere, NULL), 403, "forbidden");
    assert_int_equal(ask("DELETE", path, key, NULL)->status, 204);
}

static void test_scoped_admin(void **state)
{
    (void)state;
    kb_auto_free char *key = make_key("admin lab", "admin", ",\"sources\":\"lab\"");
    assert_int_equal(count("/api/v1/consoles", key), 3);
    check_error(ask("GET", "/api/v1/users", key, NULL), 403, "forbidden");
    check_error(ask("POST", "/api/v1/apikeys", key, "{\"name\":\"x\",\"role\":\"admin\"}"), 403,
                "forbidden");
    check_error(ask("DELETE", "/api/v1/logins?user=admin", key, NULL), 403, "forbidden");
}

static void test_networks(void **state)
{
    (void)state;
    kb_auto_free char *key =
        make_key("office", "user", ",\"cidrs\":[\"192.0.2.0/24\",\"2001:db8::/32\"]");
    assert_int_equal(ask_from("192.0.2.200", "GET", "/api/v1/me", key, NULL)->status, 200);
    assert_int_equal(ask_from("2001:db8::7", "GET", "/api/v1/me", key, NULL)->status, 200);
    assert_int_equal(ask_from("::ffff:192.0.2.9", "GET", "/api/v1/me", key, NULL)->status, 200);
    check_error(ask_from("198.51.100.1", "GET", "/api/v1/me", key, NULL), 401, "apikey_address");
    check_error(ask_admin("POST", "/api/v1/apikeys",
                          "{\"name\":\"y\",\"role\":\"user\",\"cidrs\":[\"192.0.2.1/24\"]}"),
                422, "invalid_field");
    check_error(
        ask_admin("POST", "/api/v1/apikeys", "{\"name\":\"y\",\"role\":\"user\",\"sources\":[7]}"),
        422, "invalid_field");
    check_error(ask_admin("POST", "/api/v1/apikeys",
                          "{\"name\":\"y\",\"role\":\"user\",\"sources\":[\"a\\nb\"]}"),
                422, "invalid_field");
    const struct answer *a = ask_admin("GET", "/api/v1/apikeys", NULL);
    assert_non_null(strstr(a->body, "\"cidrs\":[\"192.0.2.0/24\",\"2001:db8::/32\"]"));
    assert_null(strstr(a->body, "kbk_"));
    assert_null(strstr(a->body, "hash"));
}

/* --- rules of the configuration ----------------------------------------------------------------
 */

static struct kb_identity *identity_of(struct kb_role_rule rule)
{
    struct kb_identity_config c = {.rules = kb_calloc(1, sizeof rule), .rule_count = 1};
    c.rules[0] = (struct kb_role_rule){
        .role = rule.role,
        .users = kb_strdup(rule.users),
        .keys = kb_strdup(rule.keys),
        .scope = {kb_strdup(rule.scope.sources), kb_strdup(rule.scope.consoles)}};
    return kb_identity_create(&c);
}

static char *log_in(const char *name, const char *more)
{
    kb_auto_free char *body =
        kb_printf("{\"username\":\"%s\",\"password\":\"correct horse\"%s}", name, more);
    const struct answer *a = ask("POST", "/api/v1/login", NULL, body);
    if (a->status != 200)
        fail_msg("%s", a->text);
    return kb_printf("Authorization: Bearer %s\r\n", text_at(a->json, "access_token"));
}

static void test_rules(void **state)
{
    (void)state;
    char users[] = "erin", keys[] = "ruled", consoles[] = "shared";
    assert_int_equal(
        ask_admin("POST", "/api/v1/users",
                  "{\"name\":\"erin\",\"role\":\"none\",\"password\":\"correct horse\"}")
            ->status,
        201);
    kb_auto_free char *erin = log_in("erin", ""), *key = make_key("ruled", "none", "");
    check_error(ask("GET", "/api/v1/consoles", erin, NULL), 403, "forbidden");
    check_error(ask("GET", "/api/v1/consoles", key, NULL), 403, "forbidden");
    struct kb_http_options o = room_options;
    o.identity = identity_of((struct kb_role_rule){
        .role = KB_ROLE_USER, .users = users, .keys = keys, .scope.consoles = consoles});
    kb_http_set_options(room.http, &o);
    assert_int_equal(count("/api/v1/consoles", erin), 1); /* the login of before */
    assert_int_equal(count("/api/v1/consoles", key), 1);
    const struct answer *a = ask("GET", "/api/v1/me", erin, NULL);
    assert_string_equal(text_at(a->json, "role"), "user");
    assert_non_null(strstr(a->body, "\"roles\":[{\"role\":\"user\",\"sources\":[],"
                                    "\"consoles\":[\"shared\"]}]"));
    kb_http_set_options(room.http, &room_options);
    check_error(ask("GET", "/api/v1/consoles", erin, NULL), 403, "forbidden");
    kb_identity_unref(o.identity);
}

static void test_owner(void **state)
{
    (void)state;
    char users[] = "frank", consoles[] = "owner";
    struct kb_source_config *c = kb_calloc(1, sizeof *c);
    c->name = kb_strdup("homes");
    c->type = kb_strdup("static");
    c->console_count = 2;
    c->consoles = kb_calloc(2, sizeof *c->consoles);
    for (size_t i = 0; i < 2; i++) {
        c->consoles[i].uuid = kb_printf("h-%zu", i);
        c->consoles[i].owner = kb_strdup(i ? "frank" : "grace");
        c->consoles[i].hypervisor = kb_strdup("hv1");
        c->consoles[i].insecure_port = 5900;
    }
    kb_sources_load(room.sources, c, 1);
    ask_admin("POST", "/api/v1/users",
              "{\"name\":\"frank\",\"role\":\"none\",\"password\":\"correct horse\"}");
    struct kb_http_options o = room_options;
    o.identity = identity_of(
        (struct kb_role_rule){.role = KB_ROLE_USER, .users = users, .scope.consoles = consoles});
    kb_http_set_options(room.http, &o);
    kb_auto_free char *frank = log_in("frank", "");
    assert_int_equal(count("/api/v1/consoles", frank), 1);
    assert_int_equal(ask("POST", "/api/v1/consoles/homes/h-1/grants", frank, "{}")->status, 201);
    check_error(ask("POST", "/api/v1/consoles/homes/h-0/grants", frank, "{}"), 404,
                "console_not_found");
    kb_http_set_options(room.http, &room_options);
    kb_identity_unref(o.identity);
}

static void test_logins(void **state)
{
    (void)state;
    ask_admin("POST", "/api/v1/users",
              "{\"name\":\"henry\",\"role\":\"user\",\"password\":\"correct horse\"}");
    kb_auto_free char *first = log_in("henry", ""), *second = log_in("henry", "");
    assert_int_equal(count("/api/v1/logins", first), 2);
    check_error(ask("GET", "/api/v1/logins?user=erin", first, NULL), 403, "forbidden");
    const struct answer *a = ask("GET", "/api/v1/logins", first, NULL);
    const json_t *items = json_object_get(a->json, "items");
    size_t other = json_is_true(json_object_get(json_array_get(items, 0), "current"));
    assert_true(json_is_true(json_object_get(json_array_get(items, 1 - other), "current")));
    kb_auto_free char *path =
        kb_printf("/api/v1/logins/%s", text_at(json_array_get(items, other), "id"));
    kb_auto_free char *stranger = make_key("stranger", "user", "");
    check_error(ask("DELETE", path, stranger, NULL), 403, "forbidden");
    assert_int_equal(ask("DELETE", path, first, NULL)->status, 200);
    check_error(ask("DELETE", path, first, NULL), 404, "login_not_found");
    check_error(ask("GET", "/api/v1/me", second, NULL), 401, "unknown_login");
    assert_int_equal(ask("GET", "/api/v1/me", first, NULL)->status, 200);
    check_error(ask_admin("DELETE", "/api/v1/logins", NULL), 422, "invalid_parameter");
    a = ask_admin("DELETE", "/api/v1/logins?user=henry", NULL);
    assert_int_equal(json_integer_value(json_object_get(a->json, "ended")), 1);
    check_error(ask("GET", "/api/v1/me", first, NULL), 401, "unknown_login");
}

static void test_password_change_ends_logins(void **state)
{
    (void)state;
    ask_admin("POST", "/api/v1/users",
              "{\"name\":\"iris\",\"role\":\"user\",\"password\":\"correct horse\"}");
    kb_auto_free char *token = log_in("iris", "");
    assert_int_equal(ask("GET", "/api/v1/me", token, NULL)->status, 200);
    assert_int_equal(
        ask_admin("POST", "/api/v1/users/iris/password", "{\"password\":\"battery staple\"}")
            ->status,
        204);
    check_error(ask("GET", "/api/v1/me", token, NULL), 401, "unknown_login");
}

static void test_methods(void **state)
{
    (void)state;
    const struct answer *a = ask("GET", "/api/v1/login/methods", NULL, NULL);
    assert_int_equal(a->status, 200);
    assert_string_equal(a->body, "{\"local\":true,\"keystone\":false,\"oidc\":false}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_user),
        cmocka_unit_test(test_same_404),
        cmocka_unit_test(test_operator),
        cmocka_unit_test(test_upstream_routes),
        cmocka_unit_test(test_operator_elsewhere),
        cmocka_unit_test(test_operator_of_own),
        cmocka_unit_test(test_auditor),
        cmocka_unit_test(test_audit_files),
        cmocka_unit_test(test_broker),
        cmocka_unit_test(test_scoped_admin),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_owner),
        cmocka_unit_test(test_logins),
        cmocka_unit_test(test_password_change_ends_logins),
        cmocka_unit_test(test_methods),
    };
    return cmocka_run_group_tests(tests, room_open, room_close);
}
