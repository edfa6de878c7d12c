/* What the first bytes of a connection are, at every length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proxy/entry.h"

#include <string.h>

static void test_sniff(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        enum kb_sniffed is;
    } rows[] = {
        {"", 0, KB_SNIFF_MORE},
        {"R", 1, KB_SNIFF_MORE},
        {"RED", 3, KB_SNIFF_MORE},
        {"REDQ", 4, KB_SNIFF_SPICE},
        {"REDQ\2\0\0\0", 8, KB_SNIFF_SPICE},
        {"REDq", 4, KB_SNIFF_UNKNOWN},
        {"RX", 2, KB_SNIFF_UNKNOWN},
        {"\x16", 1, KB_SNIFF_TLS},
        {"\x16\x03\x01\x02", 4, KB_SNIFF_TLS},
        {"\x15\x03", 2, KB_SNIFF_UNKNOWN},
        {"G", 1, KB_SNIFF_MORE},
        {"GET", 3, KB_SNIFF_MORE},
        {"GET ", 4, KB_SNIFF_HTTP},
        {"GETS", 4, KB_SNIFF_UNKNOWN},
        {"P", 1, KB_SNIFF_MORE},
        {"POST", 4, KB_SNIFF_HTTP},
        {"PUT ", 4, KB_SNIFF_HTTP},
        {"PATC", 4, KB_SNIFF_HTTP},
        {"PRI ", 4, KB_SNIFF_UNKNOWN},
        {"HEAD", 4, KB_SNIFF_HTTP},
        {"DELETE /", 8, KB_SNIFF_HTTP},
        {"OPTIONS", 7, KB_SNIFF_HTTP},
        {"get ", 4, KB_SNIFF_UNKNOWN},
        {"SSH-", 4, KB_SNIFF_UNKNOWN},
        {"\0", 1, KB_SNIFF_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(kb_sniff(kb_span(rows[i].bytes, rows[i].len)), rows[i].is);
}

/* What a prefix is said to be is never taken back by the bytes behind it. */
static void test_prefixes(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            const uint8_t bytes[] = {(uint8_t)a, (uint8_t)b, 'D', 'Q'};
            enum kb_sniffed before = KB_SNIFF_MORE;
            for (size_t n = 1; n <= sizeof bytes; n++) {
                enum kb_sniffed now = kb_sniff(kb_span(bytes, n));
                if (before != KB_SNIFF_MORE)
                    assert_int_equal(now, before);
                before = now;
            }
            assert_int_not_equal(before, KB_SNIFF_MORE);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sniff),
        cmocka_unit_test(test_prefixes),
    };
    return cmocka_run_group_tests_name("proxy/entry", tests, NULL, NULL);
}
