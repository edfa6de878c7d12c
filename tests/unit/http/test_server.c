/* The room as a whole, without a proxy: who gets in, what routes answer, what a grant and an
 * exchange give, what is refused and how. */
#include "client.h"

#include "base/clock.h"
#include "http/static.h"

#include <dirent.h>
#include <glib.h>
#include <sched.h>
#include <stdio.h>

/* --- every answer ----------------------------------------------------------------------------- */

static void check_security_headers(const struct answer *a)
{
    assert_non_null(strstr(header(a, "content-security-policy"), "default-src 'none'"));
    assert_non_null(strstr(header(a, "content-security-policy"), "frame-ancestors 'none'"));
    assert_null(strstr(header(a, "content-security-policy"), "unsafe"));
    assert_string_equal(header(a, "x-content-type-options"), "nosniff");
    assert_string_equal(header(a, "referrer-policy"), "no-referrer");
    assert_non_null(header(a, "strict-transport-security"));
    assert_int_equal(strlen(header(a, "x-request-id")), KB_ID_SIZE - 1);
}

static void test_headers(void **state)
{
    (void)state;
    static const char *const paths[] = {"/healthz", "/readyz",   "/api/v1/me", "/nothing",
                                        "/vv/x.vv", "/web/x.js", "/%00"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const struct answer *a = ask("GET", paths[i], NULL, NULL);
        check_security_headers(a);
        assert_string_equal(header(a, "cache-control"), "no-store");
    }
}

/* The page's files are no secret: a browser keeps them, and asks whether they are the same. */
static void test_page_files(void **state)
{
    (void)state;
    static const char *const paths[] = {"/", "/web/index.html", "/web/app.js", "/web/icon.svg"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const struct answer *a = ask("GET", paths[i], NULL, NULL);
        const char *name = strrchr(paths[i], '/') + 1;
        const struct kb_static_file *file = kb_static_find(*name ? name : "index.html");
        assert_int_equal(a->status, 200);
        check_security_headers(a);
        assert_string_equal(header(a, "cache-control"), "no-cache");
        assert_string_equal(header(a, "content-type"), file->content_type);
        assert_string_equal(header(a, "etag"), file->etag);
        assert_int_equal(a->body_len, file->size);
        assert_memory_equal(a->body, file->data, file->size);
        char *asks = kb_printf("If-None-Match: %s\r\n", file->etag);
        a = ask("GET", paths[i], asks, NULL);
        assert_int_equal(a->status, 304);
        assert_int_equal(a->body_len, 0);
        check_security_headers(a);
        assert_string_equal(header(a, "etag"), file->etag);
        free(asks);
    }
    check_error(ask("GET", "/web/..%2Findex.html", NULL, NULL), 404, "not_found");
    check_error(ask("POST", "/", NULL, NULL), 405, "method_not_allowed");
}

static void test_errors(void **state)
{
    (void)state;
    check_error(ask("GET", "/nothing", NULL, NULL), 404, "not_found");
    check_error(ask("GET", "/metrics", NULL, NULL), 404, "not_found");
    check_error(ask("GET", "/%zz", NULL, NULL), 400, "malformed_target");
    const struct answer *a = ask("PUT", "/api/v1/login", NULL, NULL);
    check_error(a, 405, "method_not_allowed");
    assert_string_equal(header(a, "allow"), "POST, DELETE");
    a = ask("GET", "/api/v1/me", NULL, NULL);
    check_error(a, 401, "not_logged_in");
    assert_non_null(strstr(header(a, "www-authenticate"), "Bearer"));
    check_error(ask("GET", "/api/v1/me", "Authorization: Basic YTpi\r\n", NULL), 401,
                "bad_authorization");
    check_error(ask("GET", "/api/v1/me", "Authorization: Bearer nonsense\r\n", NULL), 401,
                "unknown_login");
    check_error(ask("GET", "/api/v1/me",
                    "Authorization: Bearer kbk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n",
                    NULL),
                401, "unknown_apikey");
}

static void test_bodies(void **state)
{
    (void)state;
    check_error(ask("POST", "/api/v1/login", NULL, "{"), 400, "malformed_json");
    check_error(ask("POST", "/api/v1/login", NULL, "{\"username\":\"a\",\"username\":\"b\"}"), 400,
                "malformed_json");
    check_error(ask("POST", "/api/v1/login", NULL, "[]"), 422, "invalid_field");
    check_error(ask("POST", "/api/v1/login", NULL, "{\"username\":\"a\"}"), 422, "invalid_field");
    const struct answer *a =
        ask("POST", "/api/v1/login", NULL, "{\"username\":\"a\",\"password\":\"b\",\"otp\":1}");
    check_error(a, 422, "invalid_field");
    assert_non_null(strstr(text_at(a->json, "error.message"), "otp"));
    check_error(ask("POST", "/api/v1/login", "Content-Type: text/plain\r\n", "{}"), 415,
                "unsupported_media_type");
    check_error(ask("POST", "/api/v1/login", "Content-Type: application/jsonx\r\n", "{}"), 415,
                "unsupported_media_type");
}

static void test_too_large(void **state)
{
    (void)state;
    size_t len = 64 * 1024 + 1;
    char *body = kb_zalloc(len + 1);
    memset(body, ' ', len);
    check_error(ask("POST", "/api/v1/login", NULL, body), 413, "body_too_large");
    /* Without a length: in chunks. */
    struct kb_buf b = {0};
    kb_buf_printf(&b,
                  "POST /api/v1/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                  "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n",
                  len);
    kb_buf_add(&b, body, len);
    kb_buf_add_str(&b, "\r\n0\r\n\r\n");
    check_error(ask_raw((const char *)b.data, b.len), 413, "body_too_large");
    /* One byte less is read, and is no JSON. */
    body[len - 1] = '\0';
    check_error(ask("POST", "/api/v1/login", NULL, body), 400, "malformed_json");
    kb_buf_finish(&b);
    free(body);
}

static size_t open_files(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* What is no HTTP, and requests that are cut off, end without harm, and leave nothing behind. */
static void test_garbage(void **state)
{
    (void)state;
    static const char *const garbage[] = {
        "",
        "\r\n",
        "GET",
        "GET / HTTP/1.1\r\nHost: x\r\n",
        "POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        "\x16\x03\x01",
        "GET /\r\n\r\n",
        "A B C D\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: nonsense\r\n\r\n"};
    size_t before = open_files();
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        int pair[2];
        struct sockaddr_in v4 = {.sin_family = AF_INET};
        assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_true(kb_http_add_socket(room.http, pair[1], (struct sockaddr *)&v4, sizeof v4));
        assert_true(send(pair[0], garbage[i], strlen(garbage[i]), MSG_NOSIGNAL) >= 0);
        close(pair[0]);
    }
    while (open_files() > before)
        sched_yield();
    assert_int_equal(ask("GET", "/healthz", NULL, NULL)->status, 200);
}

/* --- health ----------------------------------------------------------------------------------- */

static void test_health(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "/healthz", NULL, NULL)->status, 200);
    assert_int_equal(ask("GET", "/readyz", NULL, NULL)->status, 200);
    assert_int_equal(ask_metrics("/readyz")->status, 200);
    kb_http_set_ready(room.http, false);
    const struct answer *a = ask("GET", "/readyz", NULL, NULL);
    assert_int_equal(a->status, 503);
    assert_string_equal(text_at(a->json, "checks.store"), "ok");
    kb_http_set_ready(room.http, true);
}

static void test_metrics(void **state)
{
    (void)state;
    ask("GET", "/nothing", NULL, NULL);
    const struct answer *a = ask_metrics("/metrics");
    assert_int_equal(a->status, 200);
    assert_non_null(strstr(a->body, "kerbside_build_info{version=\"0.0.test\"} 1"));
    assert_non_null(strstr(a->body, "kerbside_log_lines_dropped_total 0"));
    assert_non_null(
        strstr(a->body, "kerbside_http_requests_total{route=\"other\",status=\"404\"}"));
    assert_int_equal(ask_admin("GET", "/metrics", NULL)->status, 200);
    check_error(ask_metrics("/api/v1/sessions"), 404, "not_found");
}

static void test_status(void **state)
{
    (void)state;
    const struct answer *a = ask_admin("GET", "/api/v1/status", NULL);
    assert_int_equal(a->status, 200);
    assert_string_equal(text_at(a->json, "version"), "0.0.test");
    assert_string_equal(text_at(a->json, "node"), "node-1");
    assert_int_equal(json_integer_value(json_object_get(a->json, "sessions")), 1);
    assert_int_equal(json_integer_value(json_object_get(a->json, "channels")), 2);
    assert_int_equal(json_integer_value(json_object_get(a->json, "consoles")), 3);
}

/* --- logins ----------------------------------------------------------------------------------- */

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

/* --- what there is ---------------------------------------------------------------------------- */

static void test_sources(void **state)
{
    (void)state;
    const struct answer *a = ask_admin("GET", "/api/v1/sources", NULL);
    const json_t *item = json_array_get(json_object_get(a->json, "items"), 0);
    assert_string_equal(text_at(item, "source"), "lab");
    assert_string_equal(text_at(item, "state"), "ok");
    assert_int_equal(ask_admin("GET", "/api/v1/sources/lab", NULL)->status, 200);
    check_error(ask_admin("GET", "/api/v1/sources/other", NULL), 404, "source_not_found");
}

static void test_consoles(void **state)
{
    (void)state;
    char *user = key_of("user"), *operator= key_of("operator");
    const struct answer *a = ask("GET", "/api/v1/consoles?limit=2", user, NULL);
    assert_int_equal(a->status, 200);
    assert_int_equal(json_array_size(json_object_get(a->json, "items")), 2);
    assert_null(strstr(a->body, "hv1")); /* a user never learns of a hypervisor */
    struct kb_buf path = {0};
    kb_buf_add_str(&path, "/api/v1/consoles?limit=2&cursor=");
    for (const char *at = text_at(a->json, "next"); *at; at++)
        kb_buf_printf(&path, "%%%02X", (unsigned char)*at);
    kb_buf_add(&path, "", 1);
    a = ask("GET", (const char *)path.data, user, NULL);
    assert_int_equal(json_array_size(json_object_get(a->json, "items")), 1);
    assert_true(json_is_null(json_object_get(a->json, "next")));
    kb_buf_finish(&path);

    a = ask("GET", "/api/v1/consoles?q=SHARED", operator, NULL);
    assert_int_equal(json_array_size(json_object_get(a->json, "items")), 1);
    assert_non_null(strstr(a->body, "hv1"));
    assert_null(strstr(a->body, "backend-ticket-secret"));
    assert_int_equal(ask("GET", "/api/v1/consoles/lab/u-1", user, NULL)->status, 200);
    check_error(ask("GET", "/api/v1/consoles/lab/u-9", user, NULL), 404, "console_not_found");
    static const char *const bad[] = {"cursor=nonsense", "limit=0",  "limit=1001", "limit=x",
                                      "limit=-1",        "limit=1x", "sort=uuid"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        snprintf(text, sizeof text, "/api/v1/consoles?%s", bad[i]);
        check_error(ask("GET", text, user, NULL), 422, "invalid_parameter");
    }
    free(user);
    free(operator);
}

static void test_sessions(void **state)
{
    (void)state;
    char *operator= key_of("operator");
    const struct answer *a = ask("GET", "/api/v1/sessions", operator, NULL);
    const json_t *item = json_array_get(json_object_get(a->json, "items"), 0);
    assert_string_equal(text_at(item, "id"), "00000000000000aa");
    assert_string_equal(text_at(item, "started_at"), "2001-09-09T01:46:40.000Z");
    assert_int_equal(json_integer_value(json_object_get(item, "rate_from_server")), 12);
    const json_t *channel = json_array_get(json_object_get(item, "channels"), 1);
    assert_string_equal(text_at(channel, "channel"), "display:1");
    a = ask("GET", "/api/v1/sessions?cursor=1000000000000:00000000000000aa", operator, NULL);
    assert_int_equal(json_array_size(json_object_get(a->json, "items")), 0);
    a = ask("GET", "/api/v1/sessions?q=nobody", operator, NULL);
    assert_int_equal(json_array_size(json_object_get(a->json, "items")), 0);
    check_error(ask("GET", "/api/v1/sessions?cursor=x", operator, NULL), 422, "invalid_parameter");
    assert_int_equal(ask("GET", "/api/v1/sessions/00000000000000aa", operator, NULL)->status, 200);
    check_error(ask("GET", "/api/v1/sessions/ff", operator, NULL), 404, "session_not_found");

    a = ask("POST", "/api/v1/sessions/00000000000000aa/terminate", operator,
            "{\"reason\":\"maintenance\"}");
    assert_int_equal(a->status, 200);
    assert_string_equal(terminated.id, "00000000000000aa");
    assert_string_equal(terminated.detail, "maintenance");
    assert_memory_equal(terminated.actor, "apikey:", 7);
    check_error(ask("POST", "/api/v1/sessions/ff/terminate", operator, NULL), 404,
                "session_not_found");
    a = ask("POST", "/api/v1/consoles/lab/u-1/terminate", operator, NULL);
    assert_int_equal(json_integer_value(json_object_get(a->json, "terminated")), 1);
    assert_string_equal(terminated.source, "lab");
    a = ask("POST", "/api/v1/consoles/lab/u-3/terminate", operator, NULL);
    assert_int_equal(json_integer_value(json_object_get(a->json, "terminated")), 0);
    check_error(ask("POST", "/api/v1/consoles/lab/u-9/terminate", operator, NULL), 404,
                "console_not_found");
    free(operator);
}

static void test_audit_times(void **state)
{
    (void)state;
    char *auditor = key_of("auditor");
    const struct answer *a = ask("GET", "/api/v1/audit?until=2001-01-01T00:00:00Z", auditor, NULL);
    assert_int_equal(json_array_size(json_object_get(a->json, "items")), 0);
    a = ask("GET", "/api/v1/audit?since=2001-01-01T00:00:00Z&limit=1", auditor, NULL);
    assert_int_equal(json_array_size(json_object_get(a->json, "items")), 1);
    check_error(ask("GET", "/api/v1/audit?cursor=x", auditor, NULL), 422, "invalid_parameter");
    check_error(ask("GET", "/api/v1/audit?since=yesterday", auditor, NULL), 422,
                "invalid_parameter");
    free(auditor);
}

/* --- grants and files ------------------------------------------------------------------------- */

#define ACCEPT_VV "Accept: application/x-virt-viewer\r\n"

static GKeyFile *load_vv(const struct answer *a)
{
    assert_string_equal(header(a, "content-type"), "application/x-virt-viewer;charset=UTF-8");
    GKeyFile *k = g_key_file_new();
    GError *error = NULL;
    if (!g_key_file_load_from_data(k, a->body, a->body_len, G_KEY_FILE_NONE, &error))
        fail_msg("%s\n%s", error->message, a->body);
    return k;
}

static enum kb_store_status redeem(const char *token, enum kb_reason *reason)
{
    struct kb_store_redeem_grant c = {.call.verb = KB_STORE_REDEEM_GRANT,
                                      .token_hash = kb_hash_of(token, strlen(token)),
                                      .client_address = "192.0.2.1"};
    enum kb_store_status status = kb_store_run(room.store, &c.call);
    *reason = c.reason;
    return status;
}

static char *password_of(GKeyFile *k)
{
    char *password = g_key_file_get_string(k, "virt-viewer", "password", NULL);
    assert_int_equal(strlen(password), KB_TOKEN_SIZE - 1);
    return password;
}

static void test_grant_as_file(void **state)
{
    (void)state;
    char *headers = key_of("user");
    char *both = kb_printf("%s%s", headers, ACCEPT_VV);
    const struct answer *a = ask("POST", "/api/v1/consoles/lab/u-2/grants", both, NULL);
    assert_int_equal(a->status, 201);
    assert_memory_equal(header(a, "content-disposition"), "attachment; filename=\"", 22);
    GKeyFile *k = load_vv(a);
    gsize keys;
    g_strfreev(g_key_file_get_groups(k, &keys));
    assert_int_equal(keys, 1);
    char *host = g_key_file_get_string(k, "virt-viewer", "host", NULL);
    assert_string_equal(host, "desktops.example.org");
    g_free(host);
    char *password = password_of(k);
    enum kb_reason reason;
    assert_int_equal(redeem(password, &reason), KB_STORE_OK);
    g_free(password);
    g_key_file_free(k);
    check_error(ask("POST", "/api/v1/consoles/lab/u-9/grants", both, NULL), 404,
                "console_not_found");
    free(headers);
    free(both);
}

/* The path of the exchange URL of a fresh grant. */
static char *exchange_path(const char *body)
{
    const struct answer *a = ask_admin("POST", "/api/v1/consoles/lab/u-1/grants", body);
    assert_int_equal(a->status, 201);
    const char *url = text_at(a->json, "exchange_url");
    assert_string_equal(url, text_at(a->json, "vv_url"));
    assert_true(*text_at(a->json, "grant_id"));
    assert_memory_equal(url, "https://desktops.example.org:8443/vv/", 37);
    return kb_strdup(url + 33);
}

static void test_exchange(void **state)
{
    (void)state;
    char *path = exchange_path("{\"user\":\"erin\"}");
    /* Who only looks does not use it up. */
    const struct answer *a = ask("HEAD", path, NULL, NULL);
    assert_int_equal(a->status, 200);
    assert_int_equal(a->body_len, 0);
    a = ask("GET", path, "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n", NULL);
    assert_int_equal(a->status, 200);
    assert_non_null(strstr(a->body, "<form method=\"post\">"));
    assert_non_null(strstr(a->body, "desk &#60;1&#62;"));
    assert_null(strstr(a->body, "<script"));
    assert_int_equal(ask("GET", path, "Sec-Purpose: prefetch\r\n", NULL)->status, 200);
    assert_null(strstr(ask("GET", path, "Purpose: preview\r\n", NULL)->body, "password"));

    /* Extra parameters are tolerated. */
    char *with_title = kb_printf("%s?title=My%%20desk&language=de", path);
    a = ask("GET", with_title, "Accept: */*\r\n", NULL);
    assert_int_equal(a->status, 200);
    check_security_headers(a);
    GKeyFile *k = load_vv(a);
    char *password = password_of(k),
         *title = g_key_file_get_string(k, "virt-viewer", "title", NULL);
    assert_string_equal(title, "desk <1> - erin");
    enum kb_reason reason;
    assert_int_equal(redeem(password, &reason), KB_STORE_OK);
    assert_null(strstr(path, password)); /* two secrets, never one */
    g_free(password);
    g_free(title);
    g_key_file_free(k);

    check_error(ask("GET", path, NULL, NULL), 404, "token_used");
    check_error(ask("POST", path, NULL, NULL), 404, "token_used");
    a = ask("GET", path, "Accept: text/html\r\n", NULL);
    assert_int_equal(a->status, 404);
    assert_non_null(strstr(a->body, "<h1>"));
    assert_int_equal(ask("HEAD", path, NULL, NULL)->status, 404);
    check_error(ask("GET", "/vv/unknown.vv", NULL, NULL), 404, "token_unknown");
    free(path);
    free(with_title);
}

/* The button of the page posts, and gets the file. */
static void test_exchange_by_button(void **state)
{
    (void)state;
    char *path = exchange_path(NULL);
    const struct answer *a = ask("POST", path,
                                 "Accept: text/html,*/*\r\n"
                                 "Content-Type: application/x-www-form-urlencoded\r\n",
                                 "");
    assert_int_equal(a->status, 200);
    g_key_file_free(load_vv(a));
    free(path);
}

static void test_exchange_for_an_address(void **state)
{
    (void)state;
    char *path = exchange_path("{\"client_address\":\"::ffff:192.0.2.50\"}");
    check_error(ask_from("192.0.2.51", "GET", path, NULL, NULL), 403, "token_address");
    assert_int_equal(ask_from("192.0.2.50", "GET", path, NULL, NULL)->status, 200);
    free(path);
}

static void test_grant_wishes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"start_within\":\"0\"}",
        "{\"start_within\":60}",
        "{\"client_address\":\"nowhere\"}",
        "{\"policy\":\"none such\"}",
        "{\"reusable\":\"yes\"}",
        "{\"user\":\"a\\nb\"}",
        "{\"usr\":\"a\"}",
        "{\"max_session\":\"-1s\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_error(ask_admin("POST", "/api/v1/consoles/lab/u-1/grants", bad[i]), 422,
                    "invalid_field");
    static const char *const too_much[] = {"{\"user\":\"somebody\"}", "{\"start_within\":\"2m\"}",
                                           "{\"reusable\":true}"};
    char *user = key_of("user");
    for (size_t i = 0; i < sizeof too_much / sizeof *too_much; i++)
        check_error(ask("POST", "/api/v1/consoles/lab/u-1/grants", user, too_much[i]), 403,
                    "forbidden");
    assert_int_equal(ask("POST", "/api/v1/consoles/lab/u-1/grants", user,
                         "{\"start_within\":\"30s\",\"max_session\":\"1h\"}")
                         ->status,
                     201);
    char *auditor = key_of("auditor");
    check_error(ask("POST", "/api/v1/consoles/lab/u-1/grants", auditor, NULL), 403, "forbidden");
    free(user);
    free(auditor);
}

/* A broker sees and revokes its own grants, nobody else's. */
static void test_grants_of_brokers(void **state)
{
    (void)state;
    char *one = key_of("broker"), *two = key_of("broker"), *user = key_of("user");
    const struct answer *a =
        ask("POST", "/api/v1/consoles/lab/u-1/grants", one, "{\"user\":\"frank\"}");
    char *path = kb_printf("/api/v1/grants/%s", text_at(a->json, "grant_id"));
    char *exchange = kb_strdup(text_at(a->json, "exchange_url") + 33);
    a = ask("GET", "/api/v1/grants", one, NULL);
    assert_int_equal(json_array_size(json_object_get(a->json, "items")), 1);
    const json_t *grant = json_array_get(json_object_get(a->json, "items"), 0);
    assert_string_equal(text_at(grant, "user"), "frank");
    assert_string_equal(text_at(grant, "state"), "open");
    a = ask("GET", "/api/v1/grants", two, NULL);
    assert_int_equal(json_array_size(json_object_get(a->json, "items")), 0);
    check_error(ask("GET", "/api/v1/grants", user, NULL), 403, "forbidden");
    check_error(ask("DELETE", path, two, NULL), 404, "grant_not_found");
    assert_int_equal(ask("DELETE", path, one, NULL)->status, 204);
    check_error(ask("GET", exchange, NULL, NULL), 404, "token_revoked");
    a = ask("GET", "/api/v1/grants", one, NULL);
    grant = json_array_get(json_object_get(a->json, "items"), 0);
    assert_string_equal(text_at(grant, "state"), "revoked");
    free(one);
    free(two);
    free(user);
    free(path);
    free(exchange);
}

/* Many clients at once, with a reload in between. */
static void *hammer(void *failed)
{
    for (int i = 0; i < 50; i++) {
        int pair[2];
        struct sockaddr_in v4 = {.sin_family = AF_INET};
        static const char get[] = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        char text[4096];
        size_t len = 0;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 ||
            !kb_http_add_socket(room.http, pair[1], (struct sockaddr *)&v4, sizeof v4) ||
            send(pair[0], get, sizeof get - 1, MSG_NOSIGNAL) < 0)
            atomic_fetch_add((atomic_int *)failed, 1);
        for (ssize_t n; (n = recv(pair[0], text + len, sizeof text - 1 - len, 0)) > 0;)
            len += (size_t)n;
        text[len] = '\0';
        if (!strstr(text, "200 OK"))
            atomic_fetch_add((atomic_int *)failed, 1);
        close(pair[0]);
    }
    return NULL;
}

static void test_many_at_once(void **state)
{
    (void)state;
    pthread_t threads[8];
    atomic_int failed = 0;
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &failed), 0);
    for (int i = 0; i < 20; i++)
        kb_http_set_options(room.http, &room_options);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_page_files),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_cookie),
        cmocka_unit_test(test_failures_are_limited),
        cmocka_unit_test(test_local_logins_off),
        cmocka_unit_test(test_apikeys),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_consoles),
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_audit_times),
        cmocka_unit_test(test_grant_as_file),
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_exchange_by_button),
        cmocka_unit_test(test_exchange_for_an_address),
        cmocka_unit_test(test_grant_wishes),
        cmocka_unit_test(test_grants_of_brokers),
        cmocka_unit_test(test_many_at_once),
    };
    return cmocka_run_group_tests(tests, room_open, room_close);
}
