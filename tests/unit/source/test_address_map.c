/* Hosts that a cloud names and what they become. */
#include "source/driver.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void test_map(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        const char *host, *mapped;
    } cases[] = {
        {"pve1", "gw", "pve1", "gw"},
        {"PVE1", "gw", "pve1", "gw"},
        {"pve1", "gw", "pve10", "pve10"},
        {"*.internal", "gw", "a.internal", "gw"},
        {"*.internal", "gw", "internal", "internal"},
        {"hv?", "gw", "hv7", "gw"},
        {"10.0.0.0/8", "gw", "10.255.0.1", "gw"},
        {"10.0.0.0/8", "gw", "11.0.0.1", "11.0.0.1"},
        {"10.0.0.0/8", "gw", "10.example.org", "10.example.org"},
        {"10.1.0.0/16", "192.168.0.0/16", "10.1.2.3", "192.168.2.3"},
        {"10.1.2.0/23", "192.168.6.0/23", "10.1.3.9", "192.168.7.9"},
        {"10.1.2.3/32", "192.0.2.1/32", "10.1.2.3", "192.0.2.1"},
        {"0.0.0.0/0", "gw", "203.0.113.1", "gw"},
        {"0.0.0.0/0", "gw", "2001:db8::1", "2001:db8::1"},
        {"fd00::/16", "2001::/16", "fd00:1::2", "2001:1::2"},
        {"fd00::/16", "gw", "fd00::1", "gw"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kb_address_rule rule = {kb_strdup(cases[i].from), kb_strdup(cases[i].to)};
        assert_null(kb_address_rule_check(&rule));
        struct kb_source_config config = {.address_map = &rule, .address_count = 1};
        kb_auto_free char *mapped = kb_address_map(&config, cases[i].host);
        assert_string_equal(mapped, cases[i].mapped);
        free(rule.from);
        free(rule.to);
    }
}

static void test_order(void **state)
{
    (void)state;
    char a[] = "hv1", b[] = "first", c[] = "*", d[] = "rest";
    struct kb_address_rule rules[] = {{a, b}, {c, d}};
    struct kb_source_config config = {.address_map = rules, .address_count = 2};
    kb_auto_free char *first = kb_address_map(&config, "hv1");
    kb_auto_free char *rest = kb_address_map(&config, "hv2");
    assert_string_equal(first, "first");
    assert_string_equal(rest, "rest");
    assert_null(kb_address_map(&config, NULL));
}

static void test_rules(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *why;
    } cases[] = {
        {"", "b", "needs a host on both sides"},
        {"a", "", "needs a host on both sides"},
        {"10.0.0.0/33", "b", "is not a network such as 10.0.0.0/8 or fd00::/16"},
        {"10.0.0.0/", "b", "is not a network such as 10.0.0.0/8 or fd00::/16"},
        {"10.0.0/8", "b", "is not a network such as 10.0.0.0/8 or fd00::/16"},
        {"10.0.0.0/-1", "b", "is not a network such as 10.0.0.0/8 or fd00::/16"},
        {"a/8", "b", "is not a network such as 10.0.0.0/8 or fd00::/16"},
        {"fd00::/129", "b", "is not a network such as 10.0.0.0/8 or fd00::/16"},
        {"a", "10.0.0.0/8", "has a network on one side alone"},
        {"10.0.0.0/8", "b/8", "has a network on one side alone"},
        {"10.0.0.0/8", "11.0.0.0/9", "has networks of different sizes on its sides"},
        {"10.0.0.0/8", "fd00::/8", "has networks of different sizes on its sides"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kb_address_rule rule = {kb_strdup(cases[i].from), kb_strdup(cases[i].to)};
        assert_string_equal(kb_address_rule_check(&rule), cases[i].why);
        free(rule.from);
        free(rule.to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
