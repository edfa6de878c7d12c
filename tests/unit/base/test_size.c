/* Amounts of bytes with units. */
#include "base/size.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool bits, good;
        uint64_t bytes;
    } cases[] = {
        {"0", 0, 1, 0},
        {"4096", 0, 1, 4096},
        {"4096B", 0, 1, 4096},
        {"64KiB", 0, 1, 65536},
        {"10MB", 0, 1, 10000000},
        {"2GiB", 0, 1, 2147483648},
        {"8kbit", 1, 1, 1000},
        {"10Mbit", 1, 1, 1250000},
        {"1Gbit", 1, 1, 125000000},
        {"10Mbit", 0, 0, 0},
        {"1000000000000000", 0, 1, KB_SIZE_MAX},
        {"1000000000000001", 0, 0, 0},
        {"1000000GB", 0, 1, KB_SIZE_MAX},
        {"1000001GB", 0, 0, 0},
        {"99999999999999999999999", 0, 0, 0},
        {"", 0, 0, 0},
        {"KiB", 0, 0, 0},
        {"1 KiB", 0, 0, 0},
        {"1kib", 0, 0, 0},
        {"-1", 0, 0, 0},
        {"1.5MB", 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t n = 0;
        if (kb_size_parse(cases[i].text, cases[i].bits, &n) != cases[i].good || n != cases[i].bytes)
            fail_msg("%s", cases[i].text);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
