/* UTF-8, hidden characters, names, HTML, times, addresses; and durations. */
#include "base/duration.h"
#include "http/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        uint32_t point;
        size_t len;
    } cases[] = {
        {"a", 'a', 1},
        {"\xc3\xa9", 0xe9, 2},
        {"\xe2\x82\xac", 0x20ac, 3},
        {"\xf0\x9f\x96\xa5", 0x1f5a5, 4},
        {"\xef\xbf\xbd", 0xfffd, 3},
        {"\xff", 0xfffd, 1},
        {"\x80", 0xfffd, 1},
        {"\xc3", 0xfffd, 1}, /* cut off */
        {"\xe2\x82", 0xfffd, 1},
        {"\xc0\xaf", 0xfffd, 1}, /* overlong */
        {"\xe0\x80\xaf", 0xfffd, 1},
        {"\xed\xa0\x80", 0xfffd, 1},     /* a surrogate */
        {"\xf4\x90\x80\x80", 0xfffd, 1}, /* beyond the last */
        {"\xf8\x88\x80\x80\x80", 0xfffd, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *at = cases[i].bytes;
        assert_int_equal(kb_utf8_next(&at), cases[i].point);
        assert_int_equal(at - cases[i].bytes, cases[i].len);
        if (cases[i].len > 1) {
            struct kb_buf b = {0};
            kb_utf8_add(&b, cases[i].point);
            assert_int_equal(b.len, cases[i].len);
            assert_memory_equal(b.data, cases[i].bytes, b.len);
            kb_buf_finish(&b);
        }
    }
}

static void test_names(void **state)
{
    (void)state;
    assert_true(kb_text_is_name("alice", 5));
    assert_true(kb_text_is_name("J\xc3\xbcrgen M\xc3\xbcller", 100));
    assert_false(kb_text_is_name("alice", 4));
    static const char *const bad[] = {
        "",
        " a",
        "a ",
        "a\nb",
        "a\tb",
        "a\x7f",
        "a\xc2\x85",           /* a control of Latin-1 */
        "\xe2\x80\xaetxt.exe", /* right-to-left override */
        "a\xe2\x80\x8b",       /* zero width */
        "a\xe2\x80\xa8"
        "b", /* line separator */
        "\xef\xbb\xbf"
        "a",                /* byte order mark */
        "\xf3\xa0\x81\x81", /* a tag */
        "a\xff",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (kb_text_is_name(bad[i], 100))
            fail_msg("case %zu", i);
}

static void test_html(void **state)
{
    (void)state;
    struct kb_buf b = {0};
    kb_text_add_html(&b, "<a href=\"x\">'&\xe2\x80\xae\n\xff");
    kb_buf_add(&b, "", 1);
    assert_string_equal((char *)b.data, "&#60;a href=&#34;x&#34;&#62;&#39;&#38;\xef\xbf\xbd");
    kb_buf_finish(&b);
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: no time */
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2001-09-09T01:46:40Z", 1000000000000},
        {"2001-09-09T01:46:40.5Z", 1000000000500},
        {"2001-09-09T01:46:40.123456Z", 1000000000123},
        {"2001-09-09T03:46:40+02:00", 1000000000000},
        {"2001-09-08T20:16:40-05:30", 1000000000000},
        {"2001-09-09 01:46:40z", 1000000000000},
        {"2024-02-29T00:00:00Z", 1709164800000},
        {"2023-02-29T00:00:00Z", -1},
        {"2023-13-01T00:00:00Z", -1},
        {"2023-00-01T00:00:00Z", -1},
        {"2023-01-01T24:00:00Z", -1},
        {"2023-01-01T00:60:00Z", -1},
        {"2023-01-01T00:00:00", -1},
        {"2023-01-01T00:00:00.Z", -1},
        {"2023-01-01T00:00:00+0100", -1},
        {"2023-01-01T00:00:00Zx", -1},
        {"2023-01-01", -1},
        {"yesterday", -1},
        {"", -1},
        {"1969-12-31T23:59:59Z", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = -1;
        bool good = kb_time_parse(cases[i].text, &ms);
        if (good != (cases[i].ms >= 0) || ms != cases[i].ms)
            fail_msg("%s: %lld", cases[i].text, (long long)ms);
    }
}

static void test_addresses(void **state)
{
    (void)state;
    char out[64];
    assert_true(kb_address_normalize("192.0.2.1", out));
    assert_string_equal(out, "192.0.2.1");
    assert_true(kb_address_normalize("::ffff:192.0.2.1", out));
    assert_string_equal(out, "192.0.2.1");
    assert_true(kb_address_normalize("2001:DB8:0::1", out));
    assert_string_equal(out, "2001:db8::1");
    assert_false(kb_address_normalize("192.0.2", out));
    assert_false(kb_address_normalize("192.0.2.1 ", out));
    assert_false(kb_address_normalize("example.org", out));
    assert_false(kb_address_normalize("", out));
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: none */
        const char *shown;
    } cases[] = {
        {"0", 0, "0"},           {"0s", 0, "0"},
        {"500ms", 500, "500ms"}, {"60s", 60000, "1m"},
        {"90s", 90000, "90s"},   {"5m", 300000, "5m"},
        {"2h", 7200000, "2h"},   {"1500ms", 1500, "1500ms"},
        {"0007s", 7000, "7s"},   {"87600h", KB_DURATION_MAX, "3650d"},
        {"87601h", -1, NULL},    {"99999999999999999999s", -1, NULL},
        {"", -1, NULL},          {"s", -1, NULL},
        {"60", -1, NULL},        {"60 s", -1, NULL},
        {" 60s", -1, NULL},      {"60s ", -1, NULL},
        {"-1s", -1, NULL},       {"+1s", -1, NULL},
        {"1.5s", -1, NULL},      {"1h30m", -1, NULL},
        {"1w", -1, NULL},        {"1S", -1, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = -1;
        bool good = kb_duration_parse(cases[i].text, &ms);
        if (good != (cases[i].ms >= 0) || ms != cases[i].ms)
            fail_msg("%s: %lld", cases[i].text, (long long)ms);
        char shown[KB_DURATION_TEXT_SIZE];
        if (good) {
            kb_duration_format(ms, shown);
            assert_string_equal(shown, cases[i].shown);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8),      cmocka_unit_test(test_names),
        cmocka_unit_test(test_html),      cmocka_unit_test(test_times),
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
