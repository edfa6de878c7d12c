/* Who may do what: the whole truth table, written out a second time on purpose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "identity/identity.h"

static void test_truth_table(void **state)
{
    (void)state;
    /* none, agent, user, broker, auditor, operator, admin */
    static const bool table[KB_ACTIONS][KB_ROLE_ADMIN + 1] = {
        [KB_MAY_LIST_CONSOLES] = {0, 0, 1, 1, 0, 1, 1},
        [KB_MAY_OPEN_CONSOLE] = {0, 0, 1, 1, 0, 0, 1},
        [KB_MAY_GRANT_FOR_OTHERS] = {0, 0, 0, 1, 0, 0, 1},
        [KB_MAY_LIST_GRANTS] = {0, 0, 0, 0, 0, 1, 1},
        [KB_MAY_LIST_SOURCES] = {0, 0, 0, 0, 0, 1, 1},
        [KB_MAY_LIST_SESSIONS] = {0, 0, 0, 0, 0, 1, 1},
        [KB_MAY_END_SESSION] = {0, 0, 0, 0, 0, 1, 1},
        [KB_MAY_READ_AUDIT] = {0, 0, 0, 0, 1, 1, 1},
        [KB_MAY_MANAGE_USERS] = {0, 0, 0, 0, 0, 0, 1},
        [KB_MAY_OPEN_DIRECT] = {0, 0, 0, 0, 0, 0, 1},
        [KB_MAY_REGISTER] = {0, 1, 0, 0, 0, 0, 1},
    };
    for (int a = 0; a < KB_ACTIONS; a++)
        for (int r = KB_ROLE_NONE; r <= KB_ROLE_ADMIN; r++)
            if (kb_role_may((enum kb_role)r, (enum kb_action)a) != table[a][r])
                fail_msg("action %d of %s", a, kb_role_name((enum kb_role)r));
    /* What is no role or no action may nothing. */
    assert_false(kb_role_may((enum kb_role)(KB_ROLE_ADMIN + 1), KB_MAY_LIST_CONSOLES));
    assert_false(kb_role_may((enum kb_role)99, KB_MAY_LIST_CONSOLES));
    assert_false(kb_role_may(KB_ROLE_ADMIN, KB_ACTIONS));
}

static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {"agent", "user", "broker", "auditor", "operator", "admin"};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(kb_role_parse(names[i]), KB_ROLE_AGENT + i);
        assert_string_equal(kb_role_name((enum kb_role)(KB_ROLE_AGENT + i)), names[i]);
    }
    static const char *const bad[] = {"", "none", "Admin", "admin ", " admin", "admins", "root"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(kb_role_parse(bad[i]), KB_ROLE_NONE);
    assert_int_equal(kb_role_parse(NULL), KB_ROLE_NONE);
    assert_string_equal(kb_role_name(KB_ROLE_NONE), "none");
    assert_string_equal(kb_role_name((enum kb_role)99), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truth_table),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
