/* Limits: what is allowed at first, which channels follow from them, names by patterns, verdicts.
 */
#include "policy/rules.h"
#include "policy/verdicts.h"
#include "spice/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_init_allows_all(void **state)
{
    (void)state;
    struct kb_rules *r = kb_rules_create();
    for (unsigned t = 0; t < 300; t++)
        assert_int_equal(kb_limits_allow_channel(&r->enforced, t), t >= 1 && t <= 11);
    assert_false(kb_limits_allow_channel(&r->all, ~0u));
    assert_true(kb_limits_allow_file_name(&r->enforced, "anything"));
    assert_true(kb_limits_allow_port(&r->enforced, ""));
    assert_false(r->grammar_observed);
    kb_rules_unref(kb_rules_ref(r));
    kb_rules_unref(r);
    kb_rules_unref(NULL);
}

static void test_channels(void **state)
{
    (void)state;
    const struct kb_limits nothing = {0};
    for (unsigned t = 1; t < KB_CHANNEL_END; t++) {
        bool kept = t == KB_CHANNEL_MAIN || t == KB_CHANNEL_DISPLAY || t == KB_CHANNEL_INPUTS ||
                    t == KB_CHANNEL_TUNNEL || t == KB_CHANNEL_PORT;
        assert_int_equal(kb_limits_allow_channel(&nothing, t), kept);
    }
    const struct kb_names none = {0}, *list = &none;
    const struct kb_limits no_ports = {.ports = {&list, 1}};
    assert_false(kb_limits_allow_channel(&no_ports, KB_CHANNEL_PORT));
}

static void test_names(void **state)
{
    (void)state;
    static const char *const entries[] = {"*.pdf", "*.txt", "!secret*"};
    static const char *const only_out[] = {"!*.exe"};
    const struct kb_names mixed = {entries, 3}, out = {only_out, 1}, none = {0};
    assert_true(kb_names_allow(&mixed, "a.pdf", false));
    assert_false(kb_names_allow(&mixed, "a.PDF", false));
    assert_true(kb_names_allow(&mixed, "a.PDF", true));
    assert_false(kb_names_allow(&mixed, "secret.pdf", false));
    assert_false(kb_names_allow(&mixed, "a.doc", false));
    assert_true(kb_names_allow(&out, "a.doc", true));
    assert_false(kb_names_allow(&out, "a.EXE", true));
    assert_false(kb_names_allow(&none, "a", false));
    /* All lists must let a name pass. */
    const struct kb_names *both[] = {&mixed, &out};
    const struct kb_limits l = {.files_names = {both, 2}, .ports = {both, 1}};
    assert_true(kb_limits_allow_file_name(&l, "A.PDF"));
    assert_false(kb_limits_allow_file_name(&l, "a.exe"));
    assert_false(kb_limits_allow_port(&l, "A.PDF"));
}

/* Within all hours, for as long as the first of them lasts. */
static void test_open(void **state)
{
    (void)state;
    struct kb_hours day = {0}, morning = {0}, always = {0};
    assert_null(kb_hours_add(&day, "thu 08:00-18:00"));
    assert_null(kb_hours_add(&morning, "mon-sun 06:00-12:00"));
    assert_null(kb_hours_add(&always, "mon-sun 00:00-24:00"));
    const struct kb_hours *all[] = {&always, &day, &morning};
    const struct kb_limits none = {0}, l = {.hours = {all, 3}}, ever = {.hours = {all, 1}};
    const int64_t hour = 3600000; /* 1970-01-01 was a Thursday */
    int64_t left;
    assert_true(kb_limits_open(&none, 0, &left) && left == INT64_MAX);
    assert_true(kb_limits_open(&ever, 0, &left) && left == INT64_MAX);
    assert_false(kb_limits_open(&l, 7 * hour, &left));
    assert_true(kb_limits_open(&l, 11 * hour, &left));
    assert_int_equal(left, hour);
    assert_false(kb_limits_open(&l, 12 * hour, &left));
    kb_hours_finish(&day);
    kb_hours_finish(&morning);
    kb_hours_finish(&always);
}

static void test_verdicts(void **state)
{
    (void)state;
    struct kb_verdicts v = {0};
    assert_true(kb_verdicts_add(&v, KB_RULE_USB, KB_RULE_BLOCKED, KB_FROM_CLIENT));
    assert_false(kb_verdicts_add(&v, KB_RULE_USB, KB_RULE_BLOCKED, KB_FROM_SERVER));
    assert_true(kb_verdicts_add(&v, KB_RULE_USB, KB_RULE_OBSERVED, KB_FROM_SERVER));
    assert_true(kb_verdicts_add(&v, KB_RULE_FOLDERS, KB_RULE_BLOCKED, KB_FROM_SERVER));
    assert_int_equal(kb_verdicts_total(&v, KB_RULE_USB, KB_RULE_BLOCKED), 2);
    v.counts[KB_RULE_USB][KB_RULE_BLOCKED][KB_FROM_CLIENT] = UINT32_MAX;
    assert_false(kb_verdicts_add(&v, KB_RULE_USB, KB_RULE_BLOCKED, KB_FROM_CLIENT));
    assert_true(kb_verdicts_total(&v, KB_RULE_USB, KB_RULE_BLOCKED) == (uint64_t)UINT32_MAX + 1);
    assert_string_equal(kb_rule_name(KB_RULE_CLIPBOARD_MAX), "clipboard.max_bytes");
    assert_string_equal(kb_rule_name(KB_RULE_COUNT), "unknown");
    assert_string_equal(kb_rule_action_name(KB_RULE_OBSERVED), "observed");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init_allows_all), cmocka_unit_test(test_channels),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_open),
        cmocka_unit_test(test_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
