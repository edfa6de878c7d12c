/* The room as a whole, without a proxy: what every answer has, what is refused and how, and what
 * routes say of what there is. */
#include "client.h"

#include "http/static.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>

/* --- every answer ----------------------------------------------------------------------------- */

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

/* --- a crowd ---------------------------------------------------------------------------------- */

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
        cmocka_unit_test(test_headers),     cmocka_unit_test(test_page_files),
        cmocka_unit_test(test_errors),      cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_too_large),   cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_health),      cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_status),      cmocka_unit_test(test_sources),
        cmocka_unit_test(test_consoles),    cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_audit_times), cmocka_unit_test(test_many_at_once),
    };
    return cmocka_run_group_tests(tests, room_open, room_close);
}
