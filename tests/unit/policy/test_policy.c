/* The policy `default`: every channel of SPICE, every message. */
#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_channels(void **state)
{
    (void)state;
    const struct kb_policy *p = kb_policy_default();
    assert_string_equal(p->name, "default");
    assert_ptr_equal(p, kb_policy_default());
    for (unsigned type = 0; type < 300; type++)
        assert_int_equal(kb_policy_allows_channel(p, type), type >= 1 && type <= 11);
    assert_false(kb_policy_allows_channel(p, ~0u));
}

static void test_messages(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {101, 0, 2, 0, 0, 0, 1, 2};
    for (unsigned type = KB_CHANNEL_MAIN; type < KB_CHANNEL_END; type++) {
        for (int d = 0; d < KB_DIRECTIONS; d++) {
            struct kb_piece piece = {.bytes = kb_span(bytes, sizeof bytes),
                                     .type = 101,
                                     .size = 2,
                                     .first = true,
                                     .last = true};
            assert_int_equal(
                kb_policy_judge(kb_policy_default(), type, (enum kb_direction)d, &piece), KB_ALLOW);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
