/* Who may do what where: the whole truth table, written out by hand, and the small parts below it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "identity/access.h"
#include "identity/cidr.h"

#include <string.h>

static const struct kb_access_console build = {"lab", "u1", "build-01", "alice"};
static const struct kb_access_console test = {"lab", "u2", "test-01", "bob"};
static const struct kb_access_console far = {"cloud", "u3", "build-01", NULL};
static const struct kb_access_console nameless = {"lab", "u4", NULL, NULL};

static struct kb_scope scope(const char *sources, const char *consoles)
{
    return (struct kb_scope){(char *)(uintptr_t)sources, (char *)(uintptr_t)consoles};
}

/* What a role may: "." nothing, "c" where its scope holds, "a" only if it holds everywhere. */
static const char *const may[KB_ACTIONS] = {
    /* none, agent, user, broker, auditor, operator, admin */
    [KB_MAY_LIST_CONSOLES] = "..cc.cc",    [KB_MAY_OPEN_CONSOLE] = "..cc..c",
    [KB_MAY_GRANT_FOR_OTHERS] = "...c..c", [KB_MAY_LIST_GRANTS] = ".....cc",
    [KB_MAY_LIST_SOURCES] = ".....cc",     [KB_MAY_LIST_SESSIONS] = ".....cc",
    [KB_MAY_END_SESSION] = ".....cc",      [KB_MAY_READ_AUDIT] = "....ccc",
    [KB_MAY_MANAGE_USERS] = "......a",     [KB_MAY_OPEN_DIRECT] = "......c",
    [KB_MAY_REGISTER] = ".c....c",
};

static void test_truth_table(void **state)
{
    (void)state;
    static const struct {
        const char *sources, *consoles;
        bool everywhere, build, test, far, nameless;
    } scopes[] = {
        {NULL, NULL, 1, 1, 1, 1, 1},
        {"", "", 1, 1, 1, 1, 1},
        {NULL, "*", 1, 1, 1, 1, 1},
        {"lab", NULL, 0, 1, 1, 0, 1},
        {"lab", "*", 0, 1, 1, 0, 1},
        {"other\nlab", "*", 0, 1, 1, 0, 1},
        {"lab\ncloud", NULL, 0, 1, 1, 1, 1},
        {"LAB", NULL, 0, 0, 0, 0, 0},
        {"la", NULL, 0, 0, 0, 0, 0},
        {NULL, "build-*", 0, 1, 0, 1, 0},
        {"lab", "build-*", 0, 1, 0, 0, 0},
        {"cloud", "test-*", 0, 0, 0, 0, 0},
        {NULL, "nothing\ntest-??", 0, 0, 1, 0, 0},
        {NULL, "owner", 0, 1, 0, 0, 0},
        {"cloud", "owner", 0, 0, 0, 0, 0},
        {NULL, "owner\ntest-*", 0, 1, 1, 0, 0},
    };
    const struct kb_access_console *const consoles[] = {&build, &test, &far, &nameless};
    for (size_t s = 0; s < sizeof scopes / sizeof *scopes; s++) {
        const struct kb_scope where = scope(scopes[s].sources, scopes[s].consoles);
        const bool in[] = {scopes[s].build, scopes[s].test, scopes[s].far, scopes[s].nameless};
        for (int role = KB_ROLE_NONE; role <= KB_ROLE_ADMIN; role++) {
            struct kb_principal p = {.name = "alice"};
            kb_principal_assign(&p, (enum kb_role)role, &where);
            for (int a = 0; a < KB_ACTIONS; a++) {
                char rule = may[a][role];
                bool all = rule != '.' && scopes[s].everywhere;
                if (kb_access_everywhere(&p, (enum kb_action)a) != all ||
                    kb_access_may(&p, (enum kb_action)a, NULL) != (all || rule == 'c'))
                    fail_msg("scope %zu, role %d, action %d", s, role, a);
                for (size_t c = 0; c < 4; c++)
                    if (kb_access_may(&p, (enum kb_action)a, consoles[c]) !=
                        (all || (rule == 'c' && in[c])))
                        fail_msg("scope %zu, role %d, action %d, console %zu", s, role, a, c);
            }
            kb_principal_finish(&p);
        }
    }
}

/* Roles add up, each where it holds. */
static void test_several(void **state)
{
    (void)state;
    const struct kb_scope lab = scope("lab", NULL), cloud = scope("cloud", NULL);
    struct kb_principal p = {.name = "bob"};
    assert_false(kb_access_may(&p, KB_MAY_LIST_CONSOLES, NULL));
    assert_int_equal(kb_principal_role(&p), KB_ROLE_NONE);
    kb_principal_assign(&p, KB_ROLE_USER, &lab);
    assert_false(kb_access_may_know(&p));
    kb_principal_assign(&p, KB_ROLE_OPERATOR, &cloud);
    assert_int_equal(kb_principal_role(&p), KB_ROLE_OPERATOR);
    assert_true(kb_access_may_know(&p));
    assert_true(kb_access_may(&p, KB_MAY_OPEN_CONSOLE, &build));
    assert_false(kb_access_may(&p, KB_MAY_OPEN_CONSOLE, &far));
    assert_true(kb_access_may(&p, KB_MAY_END_SESSION, &far));
    assert_false(kb_access_may(&p, KB_MAY_END_SESSION, &build));
    assert_true(kb_access_source(&p, KB_MAY_LIST_SOURCES, "cloud"));
    assert_false(kb_access_source(&p, KB_MAY_LIST_SOURCES, "lab"));
    assert_false(kb_access_everywhere(&p, KB_MAY_LIST_CONSOLES));
    kb_principal_finish(&p);
}

/* 404 for a user, 403 for those who may know. */
static void test_may_know(void **state)
{
    (void)state;
    static const bool knows[] = {0, 0, 0, 0, 1, 1, 1};
    const struct kb_scope lab = scope("lab", "x");
    for (int role = KB_ROLE_NONE; role <= KB_ROLE_ADMIN; role++) {
        struct kb_principal p = {.name = "x"};
        kb_principal_assign(&p, (enum kb_role)role, &lab);
        assert_int_equal(kb_access_may_know(&p), knows[role]);
        kb_principal_finish(&p);
    }
}

static bool applies(const struct kb_role_rule *rule, const char *name, const char *alias,
                    const char *groups)
{
    struct kb_principal p = {.name = name, .alias = alias, .groups = groups};
    kb_principal_apply(&p, rule, 1);
    bool yes = p.count == 1 && p.assignments[0].scope == &rule->scope;
    kb_principal_finish(&p);
    return yes;
}

static void test_rules(void **state)
{
    (void)state;
    char users[] = "alice\nkeystone:bob\noidc-sub:7", groups[] = "staff\nwith space",
         keys[] = "nova";
    const struct kb_role_rule rule = {
        .role = KB_ROLE_USER, .users = users, .groups = groups, .keys = keys};
    const struct kb_role_rule nobody = {.role = KB_ROLE_ADMIN};
    assert_true(applies(&rule, "alice", NULL, NULL));
    assert_false(applies(&rule, "Alice", NULL, NULL));
    assert_false(applies(&rule, "keystone:alice", NULL, ""));
    assert_true(applies(&rule, "keystone:bob", NULL, ""));
    assert_false(applies(&rule, "bob", NULL, NULL));
    assert_true(applies(&rule, "oidc:carol", "oidc-sub:7", ""));
    assert_true(applies(&rule, "oidc:x", NULL, "other\nstaff"));
    assert_true(applies(&rule, "oidc:x", NULL, "with space"));
    assert_false(applies(&rule, "oidc:x", NULL, "staf\nstaff2\nwith\nspace"));
    assert_true(applies(&rule, "apikey:nova", NULL, NULL));
    assert_false(applies(&rule, "nova", NULL, NULL));
    /* A key is no user, whatever it is called. */
    assert_false(applies(&rule, "apikey:alice", NULL, NULL));
    assert_false(applies(&nobody, "alice", NULL, "staff"));
    assert_false(applies(&nobody, "", NULL, ""));
}

static void test_policies(void **state)
{
    (void)state;
    char alice[] = "alice", staff[] = "staff", nova[] = "nova", lab[] = "lab", web[] = "web-*",
         owner[] = "owner", strict[] = "strict", narrow[] = "narrow", keyed[] = "keyed",
         mine[] = "mine", any[] = "staff\nvisitors";
    const struct kb_role_rule rules[] = {
        {.role = KB_ROLE_USER, .users = alice, .scope = {lab, web}, .policy = strict},
        {.role = KB_ROLE_USER, .groups = staff, .policy = narrow},
        {.role = KB_ROLE_USER, .users = alice, .policy = narrow}, /* once is enough */
        {.role = KB_ROLE_BROKER, .keys = nova, .policy = keyed},
        {.role = KB_ROLE_USER, .users = alice, .scope = {NULL, owner}, .policy = mine},
        {.role = KB_ROLE_USER, .users = alice},
    };
    const struct kb_group_policy groups[] = {{any, strict}, {staff, narrow}};
    static const struct {
        struct kb_principal who;
        struct kb_access_console on;
        const char *roles, *groups;
    } cases[] = {
        {{.name = "alice"}, {"lab", "u", "web-1", NULL}, "strict\nnarrow", ""},
        {{.name = "alice"}, {"lab", "u", "db", "bob"}, "narrow", ""},
        {{.name = "alice"}, {"lab", "u", NULL, NULL}, "narrow", ""},
        {{.name = "alice"}, {"other", "u", "web-1", "alice"}, "narrow\nmine", ""},
        {{.name = "bob", .groups = "x\nstaff"},
         {"lab", "u", "db", NULL},
         "narrow",
         "strict\nnarrow"},
        {{.name = "bob", .groups = "visitors"}, {"lab", "u", "db", NULL}, "", "strict"},
        {{.name = "apikey:nova"}, {"lab", "u", "db", NULL}, "keyed", ""},
        {{.name = "nova"}, {"lab", "u", "db", NULL}, "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kb_auto_free char *by_role = kb_principal_role_policies(
            &cases[i].who, rules, sizeof rules / sizeof *rules, &cases[i].on);
        kb_auto_free char *by_group = kb_principal_group_policies(&cases[i].who, groups, 2);
        assert_string_equal(by_role, cases[i].roles);
        assert_string_equal(by_group, cases[i].groups);
    }
}

static void test_glob(void **state)
{
    (void)state;
    /* The word owner is no pattern; with a backslash it is. */
    const struct kb_access_console called = {"lab", "u", "owner", NULL};
    const struct kb_scope word = scope(NULL, "owner"), pattern = scope(NULL, "\\owner");
    struct kb_principal p = {.name = "alice"};
    kb_principal_assign(&p, KB_ROLE_USER, &word);
    assert_false(kb_access_may(&p, KB_MAY_OPEN_CONSOLE, &called));
    kb_principal_assign(&p, KB_ROLE_USER, &pattern);
    assert_true(kb_access_may(&p, KB_MAY_OPEN_CONSOLE, &called));
    kb_principal_finish(&p);
}

static void test_cidr(void **state)
{
    (void)state;
    static const char *const good[] = {"192.0.2.7",  "192.0.2.0/24",   "0.0.0.0/0",
                                       "::/0",       "2001:db8::/32",  "::1",
                                       "10.0.0.0/8", "192.0.2.128/25", "2001:db8::1/128"};
    static const char *const bad[] = {"",
                                      "x",
                                      "192.0.2.1/24",
                                      "192.0.2.0/33",
                                      "192.0.2.0/",
                                      "192.0.2.0/ 8",
                                      "192.0.2.0/0x8",
                                      "2001:db8::/129",
                                      "2001:db8::1/64",
                                      "192.0.2.0/24/8",
                                      "192.0.2",
                                      "host/8"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(kb_cidr_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (kb_cidr_valid(bad[i]))
            fail_msg("%s", bad[i]);
    static const char list[] = "192.0.2.0/25\n2001:db8::/32\n198.51.100.9";
    assert_true(kb_cidr_match(list, "192.0.2.127"));
    assert_false(kb_cidr_match(list, "192.0.2.128"));
    assert_true(kb_cidr_match(list, "::ffff:192.0.2.1"));
    assert_true(kb_cidr_match(list, "2001:db8:ffff::1"));
    assert_false(kb_cidr_match(list, "2001:db9::1"));
    assert_true(kb_cidr_match(list, "198.51.100.9"));
    assert_false(kb_cidr_match(list, "198.51.100.10"));
    assert_false(kb_cidr_match(list, "unix"));
    assert_false(kb_cidr_match("", "192.0.2.1"));
    assert_false(kb_cidr_match(NULL, "192.0.2.1"));
    assert_true(kb_cidr_match("::/0", "192.0.2.1"));
    assert_false(kb_cidr_match("0.0.0.0/0", "2001:db8::1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truth_table), cmocka_unit_test(test_several),
        cmocka_unit_test(test_may_know),    cmocka_unit_test(test_rules),
        cmocka_unit_test(test_glob),        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_cidr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
