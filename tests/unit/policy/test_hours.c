/* Hours of the week by table; zones against the C library's own reading of them. */
#include "policy/hours.h"

#include "base/auto.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define MONDAY INT64_C(1704067200000) /* 2024-01-01 00:00 UTC was one */
#define MINUTE INT64_C(60000)

static int64_t at(int day, int hour, int minute)
{
    return MONDAY + ((day * 24 + hour) * 60 + minute) * MINUTE;
}

static void test_windows(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int day, hour, minute;
        int64_t left; /* minutes; -1: closed; -2: for ever */
    } cases[] = {
        {"mon-fri 08:00-18:00", 0, 8, 0, 600},  {"mon-fri 08:00-18:00", 0, 7, 59, -1},
        {"mon-fri 08:00-18:00", 4, 17, 59, 1},  {"mon-fri 08:00-18:00", 4, 18, 0, -1},
        {"mon-fri 08:00-18:00", 5, 12, 0, -1},  {"sat 00:00-24:00", 5, 23, 0, 60},
        {"mon-sun 00:00-24:00", 3, 3, 3, -2},   {"sat-mon 10:00-11:00", 6, 10, 30, 30},
        {"sat-mon 10:00-11:00", 0, 10, 30, 30}, {"sat-mon 10:00-11:00", 1, 10, 30, -1},
        {"fri 22:00-06:00", 5, 5, 0, 60},       {"sun 22:00-06:00", 6, 23, 0, 420},
        {"sun 22:00-06:00", 0, 5, 59, 1},       {"sun 22:00-06:00", 0, 6, 0, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kb_hours h = {0};
        int64_t left;
        assert_null(kb_hours_add(&h, cases[i].text));
        bool open = kb_hours_open(&h, at(cases[i].day, cases[i].hour, cases[i].minute), &left);
        if (open != (cases[i].left != -1))
            fail_msg("case %zu", i);
        if (cases[i].left >= 0)
            assert_int_equal(left, cases[i].left * MINUTE);
        else if (open)
            assert_true(left == INT64_MAX);
        kb_hours_finish(&h);
    }
    /* Windows that touch are one; seconds count. */
    struct kb_hours h = {0};
    int64_t left;
    assert_false(kb_hours_open(&h, MONDAY, &left));
    assert_null(kb_hours_add(&h, "mon 08:00-12:00"));
    assert_null(kb_hours_add(&h, "mon 11:00-13:00"));
    assert_true(kb_hours_open(&h, at(0, 9, 0) + 1500, &left));
    assert_int_equal(left, 240 * MINUTE - 1500);
    kb_hours_finish(&h);
}

static void test_wrong(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "monday 08:00-18:00",
        "mon",
        "mon 8:00-18:00",
        "mon 08:00",
        "mon 08:00-18:00 ",
        "mon 08:60-18:00",
        "mon 08:00-24:01",
        "mon 24:00-08:00",
        "mon 08:00-08:00",
        "mon- 08:00-18:00",
        "Mon 08:00-18:00",
        "mon  08:00-18:00",
    };
    struct kb_hours h = {0};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (!kb_hours_add(&h, wrong[i]))
            fail_msg("taken: %s", wrong[i]);
    for (int i = 0; i < KB_HOURS_WINDOWS; i++)
        assert_null(kb_hours_add(&h, "mon 08:00-18:00"));
    assert_non_null(kb_hours_add(&h, "mon 08:00-18:00"));
    kb_hours_finish(&h);
}

static size_t read_zone(const char *name, uint8_t *bytes, size_t size)
{
    kb_auto_free char *path = kb_printf("/usr/share/zoneinfo/%s", name);
    kb_auto_fclose FILE *f = fopen(path, "rb");
    return f ? fread(bytes, 1, size, f) : 0;
}

static void test_zones(void **state)
{
    (void)state;
    static const char *const names[] = {
        "UTC",          "Europe/Berlin",    "Europe/London",     "America/New_York",
        "Asia/Kolkata", "Australia/Sydney", "America/St_Johns",  "Pacific/Chatham",
        "Asia/Tokyo",   "Europe/Dublin",    "Africa/Casablanca", "America/Sao_Paulo",
    };
    static uint8_t bytes[65536];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = read_zone(names[i], bytes, sizeof bytes);
        assert_true(n > 0);
        struct kb_zone *z = kb_zone_parse(kb_span(bytes, n));
        assert_non_null(z);
        setenv("TZ", names[i], 1);
        tzset();
        /* From 1971 to 2070: some of it the file's transitions, some of it its footer. */
        for (int64_t t = 31536000; t < INT64_C(3170000000); t += 86400 * 3 + 3607) {
            time_t when = (time_t)t;
            struct tm tm;
            localtime_r(&when, &tm);
            if (kb_zone_offset(z, t) != tm.tm_gmtoff)
                fail_msg("%s at %lld: %d, not %ld", names[i], (long long)t, kb_zone_offset(z, t),
                         tm.tm_gmtoff);
        }
        kb_zone_destroy(z);
        for (size_t cut = 0; cut<n; cut += n> 600 ? 7 : 1) {
            kb_auto_free uint8_t *part = malloc(cut ? cut : 1); /* its end is where ASan looks */
            memcpy(part, bytes, cut);
            assert_null(kb_zone_parse(kb_span(part, cut)));
        }
    }
}

/* A zone whose file holds nothing but its footer, as a slim one does. */
static struct kb_zone *footer_zone(const char *footer)
{
    uint8_t bytes[256] = {0};
    size_t n = 0;
    for (int block = 0; block < 2; block++) {
        memcpy(bytes + n, "TZif2", 5);
        bytes[n + 39] = 1; /* one type */
        bytes[n + 43] = 4; /* "UTC" */
        n += 44 + 6 + 4;
    }
    n += (size_t)snprintf((char *)bytes + n, sizeof bytes - n, "\n%s\n", footer);
    return kb_zone_parse(kb_span(bytes, n));
}

static void test_footers(void **state)
{
    (void)state;
    static const char *const good[] = {
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "EST5EDT,M3.2.0,M11.1.0",
        "AEST-10AEDT,M10.1.0,M4.1.0/3",
        "<+0330>-3:30",
        "IST-1GMT0,M10.5.0,M3.5.0/1",
        "AAA3BBB,J60/0,J300/0",
        "AAA3BBB2:30,59,299/-1",
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
        "<+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct kb_zone *z = footer_zone(good[i]);
        assert_non_null(z);
        setenv("TZ", good[i], 1);
        tzset();
        for (int64_t t = 31536000; t < INT64_C(3170000000); t += 86400 + 3607) {
            time_t when = (time_t)t;
            struct tm tm;
            localtime_r(&when, &tm);
            if (kb_zone_offset(z, t) != tm.tm_gmtoff)
                fail_msg("%s at %lld: %d, not %ld", good[i], (long long)t, kb_zone_offset(z, t),
                         tm.tm_gmtoff);
        }
        kb_zone_destroy(z);
    }
    static const char *const wrong[] = {
        "CET",   "C-1",          "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0",
        "CET-x", "CET-1CEST,M3", "<CET-1",    "CET-1CEST,J0,J3",  "CET-1CEST,M3.5.0,M10.5.0x",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (footer_zone(wrong[i]))
            fail_msg("taken: %s", wrong[i]);
    struct kb_zone *z = footer_zone("");
    assert_int_equal(kb_zone_offset(z, 0), 0);
    kb_zone_destroy(z);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_zones),
        cmocka_unit_test(test_footers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
