/* The table of reasons: names unique and fit for logs and metrics, codes that a client knows,
 * texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/reason.h"

#include <string.h>

static void test_table(void **state)
{
    (void)state;
    for (int i = 0; i < KB_REASON_COUNT; i++) {
        enum kb_reason r = (enum kb_reason)i;
        const char *name = kb_reason_name(r), *text = kb_reason_text(r);
        assert_true(name && *name && text && *text);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
        assert_true(strlen(name) < 40); /* kb_audit_event.reason */
        assert_true(kb_reason_link_error(r) <= KB_LINK_CHANNEL_NOT_AVAILABLE);
        assert_int_not_equal(kb_reason_link_error(r), KB_LINK_NEED_UNSECURED);
        assert_int_not_equal(text[strlen(text) - 1], '.'); /* it stands inside other sentences */
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(name, kb_reason_name((enum kb_reason)k));
            assert_string_not_equal(text, kb_reason_text((enum kb_reason)k));
        }
    }
}

/* What the contract says a client sees. */
static void test_codes(void **state)
{
    (void)state;
    static const struct {
        enum kb_reason reason;
        unsigned code;
    } told[] = {
        {KB_REASON_NONE, 0},           {KB_REASON_INTERNAL, 1},
        {KB_REASON_STORE_FAILED, 1},   {KB_REASON_LINK_MAGIC, 2},
        {KB_REASON_LINK_MALFORMED, 3}, {KB_REASON_LINK_VERSION, 4},
        {KB_REASON_PLAINTEXT, 5},      {KB_REASON_LINK_CAPABILITIES, 4},
        {KB_REASON_TOKEN_UNKNOWN, 7},  {KB_REASON_TOKEN_EXPIRED, 7},
        {KB_REASON_TOKEN_USED, 7},     {KB_REASON_TOKEN_REVOKED, 7},
        {KB_REASON_TOKEN_ADDRESS, 7},  {KB_REASON_CHANNEL_FORBIDDEN, 7},
        {KB_REASON_CONNECTION_ID, 8},  {KB_REASON_CONNECT_FAILED, 9},
        {KB_REASON_CONSOLE_GONE, 9},   {KB_REASON_SERVER_NO_CHANNEL, 9},
        {KB_REASON_SERVER_TICKET, 1},
    };
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        assert_int_equal(kb_reason_link_error(told[i].reason), told[i].code);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
