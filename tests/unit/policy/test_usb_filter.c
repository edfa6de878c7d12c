/* Filters of USB devices: what is one. */
#include "policy/usb_filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text, *is; /* is NULL: wrong */
    } cases[] = {
        {"-1,-1,-1,-1,0", "-1,-1,-1,-1,0"},
        {"0x03,-1,-1,-1,0|-1,-1,-1,-1,1", "0x03,-1,-1,-1,0|-1,-1,-1,-1,1"},
        {"3,0x1050,0x0407,256,1", "0x03,0x1050,0x0407,0x0100,1"},
        {"0XfF,0xFFFF,65535,-1,1", "0xff,0xffff,0xffff,-1,1"},
        {"|-1,-1,-1,-1,1|", "-1,-1,-1,-1,1"},
        {"8,-1,-1,-1,1||9,-1,-1,-1,0", "0x08,-1,-1,-1,1|0x09,-1,-1,-1,0"},
        {"", NULL},
        {"|", NULL},
        {"-1,-1,-1,-1", NULL},
        {"-1,-1,-1,-1,2", NULL},
        {"-1,-1,-1,-1,-1", NULL},
        {"-1,-1,-1,-1,1,1", NULL},
        {"-1,-1,-1,-1,1 ", NULL},
        {"256,-1,-1,-1,1", NULL},
        {"-2,-1,-1,-1,1", NULL},
        {"-0x1,-1,-1,-1,1", NULL},
        {"0x,-1,-1,-1,1", NULL},
        {",-1,-1,-1,1", NULL},
        {"3,65536,-1,-1,1", NULL},
        {"3,99999999999999999999,-1,-1,1", NULL},
        {"a,-1,-1,-1,1", NULL},
        {"-1,-1,-1,1.10,1", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kb_usb_filter f;
        const char *why = kb_usb_filter_parse(cases[i].text, &f);
        if (!why != (cases[i].is != NULL))
            fail_msg("%s: %s", cases[i].text, why ? why : "taken");
        char *text = kb_usb_filter_format(&f);
        if (cases[i].is)
            assert_string_equal(text, cases[i].is);
        else
            assert_int_equal(f.count, 0);
        free(text);
        kb_usb_filter_finish(&f);
    }
}

static void test_most_rules(void **state)
{
    (void)state;
    enum { RULE = sizeof "-1,-1,-1,-1,1|" - 1 };
    static char text[(KB_USB_FILTER_MAX + 1) * RULE + 1];
    for (size_t i = 0; i <= KB_USB_FILTER_MAX; i++)
        memcpy(text + i * RULE, "-1,-1,-1,-1,1|", RULE);
    struct kb_usb_filter f;
    assert_non_null(kb_usb_filter_parse(text, &f));
    text[KB_USB_FILTER_MAX * RULE] = '\0';
    assert_null(kb_usb_filter_parse(text, &f));
    assert_int_equal(f.count, KB_USB_FILTER_MAX);
    kb_usb_filter_finish(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_most_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
