/* Patterns of names: what they match, and that none of them is slow. */
#include "base/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_globs(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool match;
    } cases[] = {
        {"", "", 1},
        {"", "a", 0},
        {"*", "", 1},
        {"*", "anything", 1},
        {"a*", "a", 1},
        {"a*c", "abbbc", 1},
        {"a*c", "abbbcd", 0},
        {"*-01", "build-01", 1},
        {"*-01", "build-01x", 0},
        {"a*b*c", "a-b-b-c", 1},
        {"a*b*c", "a-c-b", 0},
        {"?", "", 0},
        {"?", "x", 1},
        {"?", "\xc3\xa4", 1},
        {"??", "\xc3\xa4", 0},
        {"a?c",
         "a\xe2\x82\xac"
         "c",
         1},
        {"Build", "build", 0},
        {"\\*", "*", 1},
        {"\\*", "x", 0},
        {"\\owner", "owner", 1},
        {"a\\", "a\\", 1},
        {"[ab]", "a", 0},
        {"[ab]", "[ab]", 1},
        {"*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (kb_glob(kb_span_str(cases[i].pattern), cases[i].name) != cases[i].match)
            fail_msg("%s on %s", cases[i].pattern, cases[i].name);
}

static void test_folded(void **state)
{
    (void)state;
    assert_true(kb_glob_fold(kb_span_str("*.exe"), "Setup.EXE"));
    assert_true(kb_glob_fold(kb_span_str("*.EXE"), "setup.exe"));
    assert_false(kb_glob(kb_span_str("*.exe"), "Setup.EXE"));
    assert_false(kb_glob_fold(kb_span_str("*.exe"), "setup.exe.txt"));
    /* Only letters: "[" and "{" differ by the same bit. */
    assert_false(kb_glob_fold(kb_span_str("["), "{"));
    assert_false(kb_glob_fold(kb_span_str("@"), "`"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_globs),
        cmocka_unit_test(test_folded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
