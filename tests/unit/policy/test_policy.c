/* Rules of no policy allow every message. */
#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_messages(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    static const uint8_t bytes[] = {101, 0, 2, 0, 0, 0, 1, 2};
    for (unsigned type = KB_CHANNEL_MAIN; type < KB_CHANNEL_END; type++) {
        for (int d = 0; d < KB_DIRECTIONS; d++) {
            struct kb_piece piece = {.bytes = kb_span(bytes, sizeof bytes),
                                     .type = 101,
                                     .size = 2,
                                     .first = true,
                                     .last = true};
            assert_int_equal(kb_policy_judge(rules, type, (enum kb_direction)d, &piece), KB_ALLOW);
        }
    }
    kb_rules_unref(rules);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
