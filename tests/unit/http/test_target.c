/* Targets of requests: taking them apart, meeting patterns, and finding routes. */
#include "http/route.h"
#include "http/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        size_t segments;
        const char *last;
    } cases[] = {
        {"/", true, 0, NULL},
        {"/a", true, 1, "a"},
        {"/a/", true, 2, ""},
        {"//", true, 2, ""},
        {"/a/b%2Fc", true, 2, "b/c"},
        {"/%C3%A9", true, 1, "\xc3\xa9"},
        {"/a+b", true, 1, "a+b"},
        {"/a?", true, 1, "a"},
        {"a", false, 0, NULL},
        {"", false, 0, NULL},
        {"*", false, 0, NULL},
        {"/%", false, 0, NULL},
        {"/%4", false, 0, NULL},
        {"/%zz", false, 0, NULL},
        {"/a%00b", false, 0, NULL},
        {"/a%0d%0ab", false, 0, NULL},
        {"/a%7f", false, 0, NULL},
        {"/%ff", false, 0, NULL},
        {"/%c0%af", false, 0, NULL}, /* an overlong slash */
        {"/1/2/3/4/5/6/7/8/9/10/11/12", true, 12, "12"},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13", false, 0, NULL},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/", false, 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kb_http_target t;
        bool good = kb_http_target_parse(cases[i].text, &t);
        if (good != cases[i].good)
            fail_msg("%s", cases[i].text);
        if (good) {
            assert_int_equal(t.segment_count, cases[i].segments);
            if (cases[i].last)
                assert_string_equal(t.segments[t.segment_count - 1], cases[i].last);
        }
        kb_http_target_finish(&t);
    }
}

static void test_queries(void **state)
{
    (void)state;
    struct kb_http_target t;
    assert_true(kb_http_target_parse("/a?x=1&y=a+b%26c&z&&x=2&=v&q=a=b", &t));
    assert_string_equal(kb_http_target_query(&t, "x"), "1");
    assert_string_equal(kb_http_target_query(&t, "y"), "a b&c");
    assert_string_equal(kb_http_target_query(&t, "z"), "");
    assert_string_equal(kb_http_target_query(&t, "q"), "a=b");
    assert_null(kb_http_target_query(&t, "absent"));
    kb_http_target_finish(&t);
    assert_false(kb_http_target_parse("/a?x=%00", &t));
    kb_http_target_finish(&t);
    assert_false(kb_http_target_parse("/a?x=%fe", &t));
    kb_http_target_finish(&t);

    char many[KB_TARGET_QUERIES * 4 + 16] = "/?a=0";
    for (int i = 1; i < KB_TARGET_QUERIES; i++)
        memcpy(many + 5 + 4 * (i - 1), "&b=1", 5);
    assert_true(kb_http_target_parse(many, &t));
    kb_http_target_finish(&t);
    memcpy(many + strlen(many), "&c=1", 5);
    assert_false(kb_http_target_parse(many, &t));
    kb_http_target_finish(&t);
}

static void check_match(const char *path, const char *pattern, const char *first,
                        const char *second)
{
    struct kb_http_target t;
    const char *params[KB_TARGET_PARAMS] = {0};
    assert_true(kb_http_target_parse(path, &t));
    bool matched = kb_http_target_match(&t, pattern, params);
    if (matched != (first != NULL))
        fail_msg("%s with %s", path, pattern);
    if (first && *first)
        assert_string_equal(params[0], first);
    if (second)
        assert_string_equal(params[1], second);
    kb_http_target_finish(&t);
}

static void test_match(void **state)
{
    (void)state;
    check_match("/", "/", "", NULL);
    check_match("/x", "/", NULL, NULL);
    check_match("/api/v1/me", "/api/v1/me", "", NULL);
    check_match("/api/v1/me/", "/api/v1/me", NULL, NULL);
    check_match("/api/v1", "/api/v1/me", NULL, NULL);
    check_match("/api/v1/ME", "/api/v1/me", NULL, NULL);
    check_match("/c/lab/u-1", "/c/{source}/{uuid}", "lab", "u-1");
    check_match("/c/a%2Fb/u", "/c/{source}/{uuid}", "a/b", "u");
    check_match("/c//u", "/c/{source}/{uuid}", NULL, NULL);
    check_match("/c/lab/u-1/x", "/c/{source}/{uuid}", NULL, NULL);
    check_match("/vv/token.vv", "/vv/{token}.vv", "token", NULL);
    check_match("/vv/to.ken.vv", "/vv/{token}.vv", "to.ken", NULL);
    check_match("/vv/.vv", "/vv/{token}.vv", NULL, NULL);
    check_match("/vv/token", "/vv/{token}.vv", NULL, NULL);
    check_match("/vv/token.vvv", "/vv/{token}.vv", NULL, NULL);
}

static const struct kb_route *find(const char *method, const char *path, enum kb_http_door door,
                                   char allow[64])
{
    struct kb_http_target t;
    const char *params[KB_TARGET_PARAMS];
    assert_true(kb_http_target_parse(path, &t));
    const struct kb_route *route = kb_route_find(method, &t, door, params, allow, 64);
    kb_http_target_finish(&t);
    return route;
}

static void test_routes(void **state)
{
    (void)state;
    char allow[64];
    assert_ptr_equal(find("GET", "/api/v1/me", KB_DOOR_WEB, allow)->handle, kb_api_me);
    assert_ptr_equal(find("HEAD", "/api/v1/me", KB_DOOR_WEB, allow)->handle, kb_api_me);
    assert_ptr_equal(find("DELETE", "/api/v1/login", KB_DOOR_WEB, allow)->handle, kb_api_logout);
    assert_ptr_equal(find("POST", "/vv/abc.vv", KB_DOOR_WEB, allow)->handle, kb_api_exchange);

    assert_null(find("PUT", "/api/v1/login", KB_DOOR_WEB, allow));
    assert_string_equal(allow, "POST, DELETE");
    assert_null(find("DELETE", "/vv/abc.vv", KB_DOOR_WEB, allow));
    assert_string_equal(allow, "GET, HEAD, POST");
    assert_null(find("GET", "/nothing", KB_DOOR_WEB, allow));
    assert_string_equal(allow, "");

    /* Each door has its own paths. */
    assert_null(find("GET", "/metrics", KB_DOOR_WEB, allow));
    assert_string_equal(allow, "");
    assert_non_null(find("GET", "/metrics", KB_DOOR_METRICS, allow));
    assert_non_null(find("GET", "/metrics", KB_DOOR_ADMIN, allow));
    assert_null(find("GET", "/api/v1/sessions", KB_DOOR_METRICS, allow));
    assert_null(find("POST", "/api/v1/login", KB_DOOR_METRICS, allow));
}

/* What is open to anyone is a decision: a new route must not slip in. */
static void test_open_routes(void **state)
{
    (void)state;
    static const char *const open[] = {"/",
                                       "/healthz",
                                       "/readyz",
                                       "/metrics",
                                       "/vv/{token}.vv",
                                       "/api/v1/login",
                                       "/api/v1/login/methods",
                                       "/api/v1/login/oidc",
                                       "/api/v1/login/oidc/callback",
                                       "/api/v1/openapi.json",
                                       "/nova/{source}/console.vv",
                                       "/nova-console.vv",
                                       "/sf-console.vv",
                                       "/web/{file}"};
    for (size_t i = 0; i < kb_route_count; i++) {
        bool listed = false;
        for (size_t k = 0; k < sizeof open / sizeof *open; k++)
            listed = listed || strcmp(kb_routes[i].pattern, open[k]) == 0;
        if (kb_routes[i].open && !listed)
            fail_msg("%s %s is open", kb_routes[i].method, kb_routes[i].pattern);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),       cmocka_unit_test(test_queries),
        cmocka_unit_test(test_match),       cmocka_unit_test(test_routes),
        cmocka_unit_test(test_open_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
