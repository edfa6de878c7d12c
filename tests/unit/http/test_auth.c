/* Headers that say who is asking, and the limit of failures. */
#include "base/mem.h"
#include "http/auth.h"
#include "http/limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void check_bearer(const char *header, const char *token)
{
    struct kb_span s = {0};
    bool good = kb_auth_bearer(header, &s);
    if (good != (token != NULL))
        fail_msg("%s", header);
    if (good) {
        assert_int_equal(s.len, strlen(token));
        assert_memory_equal(s.data, token, s.len);
    }
}

static void test_bearer(void **state)
{
    (void)state;
    check_bearer("Bearer abc", "abc");
    check_bearer("bearer abc", "abc");
    check_bearer("Bearer   abc  ", "abc");
    check_bearer("Bearer kbk_a-b_c", "kbk_a-b_c");
    check_bearer("Bearer", NULL);
    check_bearer("Bearer ", NULL);
    check_bearer("Bearer a b", NULL);
    check_bearer("Bearer a,b", NULL);
    check_bearer("Bearerabc", NULL);
    check_bearer("Basic YTpi", NULL);
    check_bearer("", NULL);
    char longest[7 + 257 + 1] = "Bearer ";
    memset(longest + 7, 'a', 256);
    check_bearer(longest, longest + 7);
    longest[7 + 256] = 'a';
    check_bearer(longest, NULL);
}

static void check_cookie(const char *header, const char *value)
{
    struct kb_span s = {0};
    bool good = kb_auth_cookie(header, "login", &s);
    if (good != (value != NULL))
        fail_msg("%s", header);
    if (good) {
        assert_int_equal(s.len, strlen(value));
        assert_memory_equal(s.data, value, s.len);
    }
}

static void test_cookie(void **state)
{
    (void)state;
    check_cookie("login=abc", "abc");
    check_cookie("a=1; login=abc; b=2", "abc");
    check_cookie("a=1;login=abc", "abc");
    check_cookie("login=abc; login=def", "abc");
    check_cookie("xlogin=abc", NULL);
    check_cookie("loginx=abc", NULL);
    check_cookie("login=", NULL);
    check_cookie("login", NULL);
    check_cookie("LOGIN=abc", NULL);
    check_cookie("", NULL);
    check_cookie(";;; ", NULL);
}

static void test_csrf(void **state)
{
    (void)state;
    char a[65], again[65], b[65];
    kb_auth_csrf(kb_span_str("token a"), a);
    kb_auth_csrf(kb_span_str("token a"), again);
    kb_auth_csrf(kb_span_str("token b"), b);
    assert_int_equal(strlen(a), 64);
    assert_string_equal(a, again);
    assert_string_not_equal(a, b);
}

static void test_limit(void **state)
{
    (void)state;
    struct kb_limit *l = kb_zalloc(sizeof *l);
    kb_limit_init(l, 3, 60000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kb_limit_take(l, "name", "alice", 1000), 0);
    assert_int_equal(kb_limit_take(l, "name", "alice", 1000), 60000);
    assert_int_equal(kb_limit_take(l, "name", "alice", 31000), 30000);
    /* Others are not hit, not even an address of the same text. */
    assert_int_equal(kb_limit_take(l, "address", "alice", 31000), 0);
    assert_int_equal(kb_limit_take(l, "name", "bob", 31000), 0);
    /* The window is over. */
    assert_int_equal(kb_limit_take(l, "name", "alice", 61000), 0);
    /* Good tries do not count. */
    for (int i = 0; i < 20; i++) {
        assert_int_equal(kb_limit_take(l, "name", "carol", 1000), 0);
        kb_limit_give_back(l, "name", "carol");
    }
    /* Giving back what was never taken does no harm. */
    kb_limit_give_back(l, "name", "dave");
    assert_int_equal(kb_limit_take(l, "name", "dave", 1000), 0);
    kb_limit_finish(l);
    free(l);
}

/* However many names come, memory stays, and one that fails on and on is still stopped. */
static void test_limit_flood(void **state)
{
    (void)state;
    struct kb_limit *l = kb_zalloc(sizeof *l);
    kb_limit_init(l, 3, 60000);
    char name[32];
    for (int i = 0; i < 3 * KB_LIMIT_ROWS * KB_LIMIT_WAYS; i++) {
        snprintf(name, sizeof name, "name %d", i);
        assert_int_equal(kb_limit_take(l, "name", name, i / 100), 0);
    }
    int stopped = 0;
    for (int i = 0; i < 5; i++)
        stopped += kb_limit_take(l, "name", "the same", 1000) > 0;
    assert_int_equal(stopped, 2);
    kb_limit_finish(l);
    free(l);
}

static int start(void **state)
{
    (void)state;
    return kb_secret_start() ? 0 : -1;
}

#define SECOND INT64_C(1000000) /* of a pace's clock */

static void test_pace(void **state)
{
    (void)state;
    struct kb_limit *l = kb_zalloc(sizeof *l);
    kb_limit_init(l, 20, 10000); /* two a second, twenty at once */
    int64_t now = 5 * SECOND;
    for (int i = 0; i < 20; i++)
        assert_int_equal(kb_limit_pace(l, "address", "a", now), 0);
    assert_int_equal(kb_limit_pace(l, "address", "a", now), 500);
    assert_int_equal(kb_limit_pace(l, "address", "a", now + 499 * 1000), 1);
    /* Others are others. */
    assert_int_equal(kb_limit_pace(l, "address", "b", now), 0);
    assert_int_equal(kb_limit_pace(l, "user", "a", now), 0);
    /* From then on, two a second, and who was refused has lost nothing. */
    int served = 0;
    for (int ms = 500; ms < 10500; ms += 100)
        served += kb_limit_pace(l, "address", "a", now + ms * 1000) == 0;
    assert_int_equal(served, 20);
    /* After a pause all of it is back, and no more. */
    now += 100 * SECOND;
    for (served = 0; kb_limit_pace(l, "address", "a", now) == 0; served++)
        ;
    assert_int_equal(served, 20);
    /* Another pace from now on; none at all. */
    kb_limit_set(l, 20, 10000); /* is no change */
    assert_int_equal(kb_limit_pace(l, "address", "a", now), 500);
    kb_limit_set(l, 1000, 10000);
    for (served = 0; kb_limit_pace(l, "address", "a", now) == 0; served++)
        ;
    assert_int_equal(served, 1000);
    assert_int_equal(kb_limit_pace(l, "address", "a", now), 10);
    kb_limit_set(l, 0, 10000);
    assert_int_equal(kb_limit_pace(l, "address", "a", now), 0);
    kb_limit_finish(l);
    free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bearer),      cmocka_unit_test(test_cookie),
        cmocka_unit_test(test_csrf),        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_limit_flood), cmocka_unit_test(test_pace),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
