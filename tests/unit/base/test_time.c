/* Clocks and durations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/duration.h"

#include <string.h>

static void assert_time(int64_t ms, const char *expected)
{
    char text[KB_TIME_TEXT_SIZE];
    kb_clock_format(ms, text);
    assert_string_equal(text, expected);
}

static void test_format(void **state)
{
    (void)state;
    assert_time(0, "1970-01-01T00:00:00.000Z");
    assert_time(951827696789, "2000-02-29T12:34:56.789Z");
    assert_time(253402300799999, "9999-12-31T23:59:59.999Z");
    /* What no clock of ours shows is the beginning. */
    assert_time(253402300800000, "1970-01-01T00:00:00.000Z");
    assert_time(-1, "1970-01-01T00:00:00.000Z");
    assert_time(INT64_MIN, "1970-01-01T00:00:00.000Z");
}

static void test_clocks(void **state)
{
    (void)state;
    uint64_t a = kb_clock_us(), b = kb_clock_us();
    assert_true(b >= a);
    assert_true(kb_clock_wall_ms() > 1700000000000); /* 2023: this code is younger */
}

static void test_duration(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0", 0},
                {"0s", 0},
                {"500ms", 500},
                {"60s", 60000},
                {"5m", 300000},
                {"2h", 7200000},
                {"007s", 7000},
                {"87600h", KB_DURATION_MAX},
                {"90d", INT64_C(7776000000)},
                {"3650d", KB_DURATION_MAX}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t ms = -1;
        assert_true(kb_duration_parse(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    static const char *const bad[] = {
        "",    "s",    "1",  "60", "-1s", "+1s",  " 1s",   "1 s",
        "1s ", "1.5s", "1S", "1w", "1sm", "1h2m", "3651d", "999999999999999999999s",
        "0x1s"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t ms = 77;
        assert_false(kb_duration_parse(bad[i], &ms));
        assert_int_equal(ms, 77);
    }
}

static void test_duration_format(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } some[] = {{0, "0"},       {1, "1ms"},     {1500, "1500ms"}, {1000, "1s"},
                {90000, "90s"}, {120000, "2m"}, {7200000, "2h"},  {KB_DURATION_MAX, "3650d"}};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        char text[KB_DURATION_TEXT_SIZE];
        int64_t ms = -1;
        kb_duration_format(some[i].ms, text);
        assert_string_equal(text, some[i].text);
        assert_true(kb_duration_parse(text, &ms));
        assert_int_equal(ms, some[i].ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_duration),
        cmocka_unit_test(test_duration_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
