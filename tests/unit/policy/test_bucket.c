/* A bucket lets through the rate and a quarter of a second more, whatever the steps. */
#include "policy/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define SECOND 1000000u

static void test_burst(void **state)
{
    (void)state;
    struct kb_bucket b = {0};
    assert_int_equal(kb_bucket_level(&b, 1000, 5), 251); /* full at first */
    kb_bucket_spend(&b, 1251);
    assert_int_equal(kb_bucket_level(&b, 1000, 5), -1000);
    assert_int_equal(kb_bucket_wait_us(&b, 1000, 0), SECOND + 1000);
    assert_int_equal(kb_bucket_wait_us(&b, 1000, -1000), 1000);
    assert_int_equal(kb_bucket_wait_us(&b, 1000, -1001), 0);
    assert_int_equal(kb_bucket_level(&b, 1000, 5 + SECOND), 0);
    assert_int_equal(kb_bucket_level(&b, 1000, 5 + 2 * SECOND), 251);
    assert_int_equal(kb_bucket_level(&b, 1000, 5 + 9000ull * SECOND), 251);
}

/* Asked more often than a byte comes, it loses none. */
static void test_small_steps(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1, 7, 1000, 333333, 125000000};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct kb_bucket b = {0};
        uint64_t now = 1, spent = 0;
        kb_bucket_level(&b, rates[i], now);
        for (unsigned step = 0; step < 300000; step++) {
            now += 37;
            int64_t level = kb_bucket_level(&b, rates[i], now);
            if (level > 0) {
                kb_bucket_spend(&b, (uint64_t)level);
                spent += (uint64_t)level;
            }
        }
        uint64_t passed = 37ull * 300000, most = rates[i] * passed / SECOND + rates[i] / 4 + 1;
        assert_true(spent <= most + 1);
        assert_true(spent + 2 >= most - rates[i] / 4);
    }
}

static void test_large(void **state)
{
    (void)state;
    struct kb_bucket b = {0};
    const uint64_t rate = 1000000000000000u;
    kb_bucket_level(&b, rate, 1);
    kb_bucket_spend(&b, 1ull << 50);
    assert_true(kb_bucket_wait_us(&b, rate, 0) > 0);
    assert_true(kb_bucket_level(&b, rate, 1 + 3599ull * SECOND) > 0);
}

static void test_waiting_suffices(void **state)
{
    (void)state;
    for (uint64_t rate = 1; rate < 100000000; rate = rate * 3 + 1) {
        struct kb_bucket b = {0};
        uint64_t now = 12345;
        kb_bucket_level(&b, rate, now);
        kb_bucket_spend(&b, 131072);
        now += kb_bucket_wait_us(&b, rate, 0);
        assert_true(kb_bucket_level(&b, rate, now) > 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_small_steps),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_waiting_suffices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
