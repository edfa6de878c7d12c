/* Who gets in: logins with their cookies and limits, users, API keys. */
#include "client.h"

#include "base/clock.h"

#include <stdio.h>

static void add_user(const char *name, const char *role)
{
    char *body =
        kb_printf("{\"name\":\"%s\",\"role\":\"%s\",\"password\":\"correct horse\"}", name, role);
    assert_int_equal(ask_admin("POST", "/api/v1/users", body)->status, 201);
    free(body);
}

static char *login_body(const char *name, const char *password, const char *more)
{
    return kb_printf("{\"username\":\"%s\",\"password\":\"%s\"%s}", name, password, more);
}

static char *login(const char *name)
{
    char *body = login_body(name, "correct horse", "");
    const struct answer *a = ask("POST", "/api/v1/login", NULL, body);
    free(body);
    assert_int_equal(a->status, 200);
    assert_string_equal(text_at(a->json, "token_type"), "Bearer");
    assert_int_equal(json_integer_value(json_object_get(a->json, "expires_in")), 3600);
    return kb_printf("Authorization: Bearer %s\r\n", text_at(a->json, "access_token"));
}

/* Events are written behind the answer's back; ask until it is there. */
static void check_audited(const char *event, const char *actor, const char *address)
{
    char *path = kb_printf("/api/v1/audit?event=%s&user=%s&limit=1", event, actor);
    /* A busy disk may take its time over the write; a count of questions would not wait for it. */
    uint64_t end = kb_clock_us() + 60 * UINT64_C(1000000);
    while (kb_clock_us() < end) {
        const struct answer *a = ask_admin("GET", path, NULL);
        const json_t *row = json_array_get(json_object_get(a->json, "items"), 0);
        if (!row)
            continue;
        assert_string_equal(text_at(row, "client_address"), address);
        assert_string_equal(text_at(row, "actor"), actor);
        free(path);
        return;
    }
    fail_msg("no %s of %s", event, actor);
}

static void test_login(void **state)
{
    (void)state;
    add_user("alice", "user");
    char *body = login_body("alice", "wrong", "");
    check_error(ask_from("192.0.2.7", "POST", "/api/v1/login", NULL, body), 401, "login_failed");
    free(body);
    check_audited("login.failed", "alice", "192.0.2.7");
    body = login_body("nobody", "wrong", "");
    check_error(ask("POST", "/api/v1/login", NULL, body), 401, "login_failed");
    free(body);

    char *token = login("alice");
    check_audited("login.ok", "alice", "192.0.2.1");
    const struct answer *a = ask("GET", "/api/v1/me", token, NULL);
    assert_int_equal(a->status, 200);
    assert_string_equal(text_at(a->json, "name"), "alice");
    assert_string_equal(text_at(a->json, "role"), "user");
    assert_string_equal(text_at(a->json, "version"), "0.0.test");
    assert_string_equal(text_at(a->json, "node"), "node-1");
    assert_string_equal(text_at(a->json, "limits.start_within"), "1m");
    assert_string_equal(text_at(a->json, "limits.login_lifetime"), "1h");
    check_error(ask("GET", "/api/v1/sessions", token, NULL), 403, "forbidden");
    check_error(ask("POST", "/api/v1/users", token, "{}"), 403, "forbidden");

    assert_int_equal(ask("DELETE", "/api/v1/login", token, NULL)->status, 204);
    check_error(ask("GET", "/api/v1/me", token, NULL), 401, "unknown_login");
    free(token);
}

/* Removing a user ends his logins; changing the password refuses the old one. */
static void test_users(void **state)
{
    (void)state;
    add_user("bob", "operator");
    check_error(ask_admin("POST", "/api/v1/users",
                          "{\"name\":\"bob\",\"role\":\"user\",\"password\":\"correct horse\"}"),
                409, "user_exists");
    check_error(ask_admin("POST", "/api/v1/users",
                          "{\"name\":\"x\",\"role\":\"king\",\"password\":\"correct horse\"}"),
                422, "invalid_field");
    check_error(ask_admin("POST", "/api/v1/users",
                          "{\"name\":\"x\",\"role\":\"user\",\"password\":\"short\"}"),
                422, "invalid_field");
    check_error(
        ask_admin("POST", "/api/v1/users",
                  "{\"name\":\"apikey:x\",\"role\":\"user\",\"password\":\"correct horse\"}"),
        422, "invalid_field");
    const struct answer *a = ask_admin("GET", "/api/v1/users", NULL);
    assert_null(strstr(a->body, "argon2"));
    assert_non_null(strstr(a->body, "\"bob\""));

    char *token = login("bob");
    assert_int_equal(
        ask_admin("POST", "/api/v1/users/bob/password", "{\"password\":\"battery staple\"}")
            ->status,
        204);
    char *body = login_body("bob", "correct horse", "");
    check_error(ask_from("192.0.2.8", "POST", "/api/v1/login", NULL, body), 401, "login_failed");
    free(body);
    assert_int_equal(ask_admin("DELETE", "/api/v1/users/bob", NULL)->status, 204);
    check_error(ask("GET", "/api/v1/me", token, NULL), 401, "unknown_login");
    check_error(ask_admin("DELETE", "/api/v1/users/bob", NULL), 404, "user_not_found");
    check_error(
        ask_admin("POST", "/api/v1/users/bob/password", "{\"password\":\"battery staple\"}"), 404,
        "user_not_found");
    free(token);
}

static void test_cookie(void **state)
{
    (void)state;
    add_user("carol", "admin");
    char *body = login_body("carol", "correct horse", ",\"as_cookie\":true");
    const struct answer *a = ask("POST", "/api/v1/login", NULL, body);
    free(body);
    assert_int_equal(a->status, 200);
    assert_string_equal(text_at(a->json, "access_token"), "");
    const char *set = header(a, "set-cookie");
    assert_non_null(strstr(set, "HttpOnly"));
    assert_non_null(strstr(set, "Secure"));
    assert_non_null(strstr(set, "SameSite=Lax"));
    char *cookie = kb_printf("Cookie: a=b; %.*s\r\n", (int)strcspn(set, ";"), set);
    char *csrf = kb_strdup(text_at(a->json, "csrf_token"));

    a = ask("GET", "/api/v1/me", cookie, NULL);
    assert_int_equal(a->status, 200);
    assert_string_equal(text_at(a->json, "csrf_token"), csrf);
    check_error(ask("DELETE", "/api/v1/login", cookie, NULL), 403, "csrf_failed");
    char *wrong = kb_printf("%sX-CSRF-Token: %s0\r\n", cookie, csrf);
    check_error(ask("DELETE", "/api/v1/login", wrong, NULL), 403, "csrf_failed");
    char *right = kb_printf("%sX-CSRF-Token: %s\r\n", cookie, csrf);
    a = ask("DELETE", "/api/v1/login", right, NULL);
    assert_int_equal(a->status, 204);
    assert_non_null(strstr(header(a, "set-cookie"), "Max-Age=0"));
    check_error(ask("GET", "/api/v1/me", cookie, NULL), 401, "unknown_login");
    free(cookie);
    free(csrf);
    free(wrong);
    free(right);
}

static void test_failures_are_limited(void **state)
{
    (void)state;
    add_user("dave", "user");
    char *wrong = login_body("dave", "wrong", ""), *right = login_body("dave", "correct horse", "");
    /* Each from another address: it is the name that has had enough. */
    for (int i = 0; i < 10; i++) {
        char address[32];
        snprintf(address, sizeof address, "198.51.100.%d", i + 1);
        check_error(ask_from(address, "POST", "/api/v1/login", NULL, wrong), 401, "login_failed");
    }
    const struct answer *a = ask_from("198.51.100.99", "POST", "/api/v1/login", NULL, right);
    check_error(a, 429, "too_many_failures");
    assert_in_range(strtol(header(a, "retry-after"), NULL, 10), 1, 60);
    /* One address, many names; a /64 of IPv6 is one address. */
    for (int i = 0; i < 10; i++) {
        char address[40], name[16];
        snprintf(address, sizeof address, "2001:db8::%x", i + 1);
        snprintf(name, sizeof name, "guess%d", i);
        char *body = login_body(name, "wrong", "");
        check_error(ask_from(address, "POST", "/api/v1/login", NULL, body), 401, "login_failed");
        free(body);
    }
    check_error(ask_from("2001:db8::ffff", "POST", "/api/v1/login", NULL, wrong), 429,
                "too_many_failures");
    free(wrong);
    free(right);
}

static void test_local_logins_off(void **state)
{
    (void)state;
    struct kb_http_options o = room_options;
    o.local_logins = false;
    kb_http_set_options(room.http, &o);
    char *body = login_body("alice", "correct horse", "");
    check_error(ask("POST", "/api/v1/login", NULL, body), 403, "local_logins_disabled");
    free(body);
    kb_http_set_options(room.http, &room_options);
}

static void test_apikeys(void **state)
{
    (void)state;
    const struct answer *a = ask_admin(
        "POST", "/api/v1/apikeys", "{\"name\":\"nova\",\"role\":\"broker\",\"expires_in\":\"1h\"}");
    assert_int_equal(a->status, 201);
    char *key = kb_printf("Authorization: Bearer %s\r\n", text_at(a->json, "key"));
    char *path = kb_printf("/api/v1/apikeys/%s", text_at(a->json, "id"));
    assert_true(kb_apikey_looks_like(text_at(a->json, "key")));
    a = ask("GET", "/api/v1/me", key, NULL);
    assert_string_equal(text_at(a->json, "name"), "nova");
    assert_string_equal(text_at(a->json, "via"), "apikey");
    check_error(ask("DELETE", "/api/v1/login", key, NULL), 409, "not_a_login");
    a = ask_admin("GET", "/api/v1/apikeys", NULL);
    assert_null(strstr(a->body, "kbk_"));
    assert_int_equal(ask_admin("DELETE", path, NULL)->status, 204);
    check_error(ask("GET", "/api/v1/me", key, NULL), 401, "unknown_apikey");
    check_error(ask_admin("DELETE", "/api/v1/apikeys/ffff", NULL), 404, "apikey_not_found");
    check_error(
        ask_admin("POST", "/api/v1/apikeys",
                  "{\"name\":\"x\",\"role\":\"user\",\"expires_at\":\"2001-01-01T00:00:00Z\"}"),
        422, "invalid_field");
    free(key);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_cookie),
        cmocka_unit_test(test_failures_are_limited),
        cmocka_unit_test(test_local_logins_off),
        cmocka_unit_test(test_apikeys),
    };
    return cmocka_run_group_tests(tests, room_open, room_close);
}
