/* Report descriptors of real devices, and some that no honest device has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/hid_report.h"

#include <stdlib.h>
#include <string.h>

#define ROW(keys, ...)                                                                             \
    {                                                                                              \
        keys, (const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[])                              \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

static const struct {
    bool keys;
    const uint8_t *bytes;
    size_t len;
} rows[] = {
    /* HID 1.11, E.6: a keyboard */
    ROW(true, 0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, 0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00,
        0x25, 0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02, 0x95, 0x01, 0x75, 0x08, 0x81, 0x01, 0xc0),
    /* HID 1.11, E.10: a mouse */
    ROW(false, 0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00, 0x05, 0x09, 0x19, 0x01,
        0x29, 0x03, 0x15, 0x00, 0x25, 0x01, 0x95, 0x03, 0x75, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75,
        0x05, 0x81, 0x01, 0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x81, 0x25, 0x7f, 0x75, 0x08,
        0x95, 0x02, 0x81, 0x06, 0xc0, 0xc0),
    /* CTAP 2.1, 11.2.8.1: a security key */
    ROW(false, 0x06, 0xd0, 0xf1, 0x09, 0x01, 0xa1, 0x01, 0x09, 0x20, 0x15, 0x00, 0x26, 0xff, 0x00,
        0x75, 0x08, 0x95, 0x40, 0x81, 0x02, 0x09, 0x21, 0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08,
        0x95, 0x40, 0x91, 0x02, 0xc0),
    /* volume buttons: page Consumer; 7 as a number, not as a page */
    ROW(false, 0x05, 0x0c, 0x09, 0x01, 0xa1, 0x01, 0x09, 0xe9, 0x09, 0xea, 0x95, 0x07, 0x75, 0x01,
        0x81, 0x02, 0xc0),
    /* keys in a collection that says to be a mouse */
    ROW(true, 0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x06, 0x07, 0x00, 0x19, 0x04, 0x29, 0x1d, 0x81,
        0x00, 0xc0),
    /* the page above the usage, and in four bytes of which the upper are lost */
    ROW(true, 0x05, 0x01, 0x0b, 0x04, 0x00, 0x07, 0x00, 0x81, 0x02),
    ROW(true, 0x1b, 0x04, 0x00, 0x07, 0x00, 0x2b, 0x1d, 0x00, 0x07, 0x00),
    ROW(true, 0x07, 0x07, 0x00, 0x01, 0x00),
    /* a page's number of no bytes is 0; 7 in the upper half of a logical maximum is no page */
    ROW(false, 0x04, 0x09, 0x06),
    ROW(false, 0x27, 0x00, 0x00, 0x07, 0x00),
    /* long items, by which two readers may part */
    ROW(true, 0xfe, 0x02, 0x00, 0x01, 0x02),
    ROW(true, 0x05, 0x01, 0xf1, 0x00),
};

static void test_devices(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (kb_hid_report_has_keys(kb_span(rows[i].bytes, rows[i].len)) != rows[i].keys)
            fail_msg("row %zu", i);
}

/* Once what is there has keys, more does not take them away; and nothing is read behind the cut. */
static void test_cuts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool before = false;
        for (size_t len = 0; len <= rows[i].len; len++) {
            uint8_t *copy = malloc(len + 1);
            memcpy(copy + 1, rows[i].bytes, len);
            bool keys = kb_hid_report_has_keys(kb_span(copy + 1, len));
            free(copy);
            assert_true(keys || !before);
            before = keys;
        }
        assert_int_equal(before, rows[i].keys);
    }
    /* The first has them as soon as the page is there, with its eighth byte. */
    assert_false(kb_hid_report_has_keys(kb_span(rows[0].bytes, 7)));
    assert_true(kb_hid_report_has_keys(kb_span(rows[0].bytes, 8)));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
