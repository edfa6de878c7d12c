/* The most restrictive wins, field by field, and an enforced rule never becomes an observed one;
 * which policies hold for whom; who decided. */
#include "policy/book.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* --- the truth table -------------------------------------------------------------------------- */

/* A value of a field, for any kind but lists: unset, or a number. */
static void set(struct kb_limits *l, enum kb_field_id f, uint64_t n)
{
    char *at = (char *)l + kb_policy_fields[f].offset;
    switch (kb_policy_fields[f].kind) {
    case KB_FIELD_ALLOW:
    case KB_FIELD_FORBID:
        *(bool *)at = n != 0;
        return;
    case KB_FIELD_LEVEL:
        *(uint8_t *)at = (uint8_t)n;
        return;
    case KB_FIELD_NUMBER:
        *(uint32_t *)(void *)at = (uint32_t)n;
        return;
    case KB_FIELD_SIZE:
    case KB_FIELD_RATE:
        *(uint64_t *)(void *)at = n;
        return;
    case KB_FIELD_DURATION:
        *(int64_t *)(void *)at = (int64_t)n;
        return;
    default:
        fail_msg("%s is a list", kb_policy_fields[f].key);
    }
}

static uint64_t get(const struct kb_limits *l, enum kb_field_id f)
{
    const char *at = (const char *)l + kb_policy_fields[f].offset;
    switch (kb_policy_fields[f].kind) {
    case KB_FIELD_ALLOW:
    case KB_FIELD_FORBID:
        return *(const bool *)at;
    case KB_FIELD_LEVEL:
        return *(const uint8_t *)at;
    case KB_FIELD_NUMBER:
        return *(const uint32_t *)(const void *)at;
    case KB_FIELD_SIZE:
    case KB_FIELD_RATE:
        return *(const uint64_t *)(const void *)at;
    case KB_FIELD_DURATION:
        return (uint64_t) * (const int64_t *)(const void *)at;
    default:
        return 0;
    }
}

static const struct {
    enum kb_field_kind kind;
    uint64_t a, b, strictest;
} table[] = {
    {KB_FIELD_ALLOW, 0, 0, 0},
    {KB_FIELD_ALLOW, 0, 1, 0},
    {KB_FIELD_ALLOW, 1, 1, 1},
    {KB_FIELD_FORBID, 0, 0, 0},
    {KB_FIELD_FORBID, 0, 1, 1},
    {KB_FIELD_FORBID, 1, 1, 1},
    {KB_FIELD_LEVEL, 0, 0, 0},
    {KB_FIELD_LEVEL, 0, 1, 0},
    {KB_FIELD_LEVEL, 1, 1, 1},
    {KB_FIELD_LEVEL, 2, 1, 1},
    {KB_FIELD_LEVEL, 2, 2, 2},
    {KB_FIELD_LEVEL, 0, 2, 0},
    {KB_FIELD_NUMBER, 0, 0, 0},
    {KB_FIELD_NUMBER, 0, 7, 7},
    {KB_FIELD_NUMBER, 7, 8, 7},
    {KB_FIELD_SIZE, 0, 0, 0},
    {KB_FIELD_SIZE, 0, 7, 7},
    {KB_FIELD_SIZE, 1, 7, 1},
    {KB_FIELD_SIZE, 1ull << 40, 0, 1ull << 40},
    {KB_FIELD_RATE, 0, 9, 9},
    {KB_FIELD_RATE, 8, 9, 8},
    {KB_FIELD_DURATION, 0, 0, 0},
    {KB_FIELD_DURATION, 60000, 0, 60000},
    {KB_FIELD_DURATION, 60000, 1, 1},
};

static bool is_list(enum kb_field_id f)
{
    enum kb_field_kind k = kb_policy_fields[f].kind;
    return k == KB_FIELD_NAMES || k == KB_FIELD_FILTER || k == KB_FIELD_HOURS;
}

static const char nothing_else[] = "";

static struct kb_rules *sum(struct kb_policy_book *b, const char *names)
{
    char unknown[KB_POLICY_NAME_SIZE];
    struct kb_policy_subject s = {.by_grant = names, .source = "lab", .uuid = nothing_else};
    struct kb_rules *r = kb_policy_book_resolve(b, &s, unknown);
    assert_non_null(r);
    return r;
}

static void add(struct kb_policy_book *b, const char *name, bool observe, enum kb_field_id f,
                uint64_t n)
{
    struct kb_policy *p = kb_policy_create(name);
    p->observe = observe;
    set(&p->limits, f, n);
    kb_policy_say(p, f);
    kb_policy_book_add(b, p);
}

/* Every scalar field, every row of its kind, both orders, all four pairs of modes. */
static void test_truth_table(void **state)
{
    (void)state;
    struct kb_limits loosest;
    kb_limits_init(&loosest);
    unsigned seen = 0;
    for (unsigned f = 0; f < KB_FIELD_COUNT; f++) {
        for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
            if (is_list((enum kb_field_id)f) || kb_policy_fields[f].kind != table[i].kind ||
                f == KB_HAS_GRAMMAR)
                continue;
            seen |= 1u << f;
            for (unsigned modes = 0; modes < 8; modes++) {
                struct kb_policy_book *b = kb_policy_book_create();
                bool a_observes = modes & 1, b_observes = modes & 2;
                add(b, "a", a_observes, (enum kb_field_id)f, table[i].a);
                add(b, "b", b_observes, (enum kb_field_id)f, table[i].b);
                struct kb_rules *r = sum(b, modes & 4 ? "b a" : "a b");
                uint64_t none = get(&loosest, (enum kb_field_id)f);
                uint64_t enforced = !a_observes && !b_observes ? table[i].strictest
                                    : !a_observes              ? table[i].a
                                    : !b_observes              ? table[i].b
                                                               : none;
                if (get(&r->enforced, (enum kb_field_id)f) != enforced ||
                    get(&r->all, (enum kb_field_id)f) != table[i].strictest)
                    fail_msg("%s row %zu modes %u", kb_policy_fields[f].key, i, modes);
                assert_int_equal(r->observing, a_observes || b_observes);
                /* Nothing else has changed. */
                for (unsigned o = 0; o < KB_FIELD_COUNT; o++)
                    if (o != f && !is_list((enum kb_field_id)o))
                        assert_true(kb_policy_field_equal((enum kb_field_id)o, &r->all, &loosest));
                kb_rules_unref(r);
                kb_policy_book_unref(b);
            }
        }
    }
    for (unsigned f = 0; f < KB_FIELD_COUNT; f++)
        if (!is_list((enum kb_field_id)f) && f != KB_HAS_GRAMMAR && !(seen & 1u << f))
            fail_msg("%s was not tried", kb_policy_fields[f].key);
}

/* What is not said is loosest: a policy without a field changes nothing. */
static void test_unsaid(void **state)
{
    (void)state;
    struct kb_policy_book *b = kb_policy_book_create();
    struct kb_policy *p = kb_policy_create("odd");
    memset(&p->limits, 0, sizeof p->limits); /* the strictest, but it says nothing of it */
    kb_policy_book_add(b, p);
    struct kb_rules *r = sum(b, "odd");
    struct kb_limits loosest;
    kb_limits_init(&loosest);
    for (unsigned f = 0; f < KB_FIELD_COUNT; f++)
        if (!is_list((enum kb_field_id)f) && f != KB_HAS_GRAMMAR)
            assert_true(kb_policy_field_equal((enum kb_field_id)f, &r->enforced, &loosest));
    assert_false(r->observing);
    assert_string_equal(r->names, "default odd");
    kb_rules_unref(r);
    kb_policy_book_unref(b);
}

static void test_grammar(void **state)
{
    (void)state;
    enum { UNSAID = -1, E = KB_GRAMMAR_ENFORCE, O = KB_GRAMMAR_OBSERVE };
    static const struct {
        int a;
        bool a_observes;
        int b;
        bool b_observes, observed;
    } cases[] = {
        {UNSAID, 0, UNSAID, 0, 0}, {UNSAID, 1, UNSAID, 1, 0}, {E, 0, UNSAID, 0, 0},
        {O, 0, UNSAID, 0, 1},      {E, 1, UNSAID, 0, 1},      {O, 0, E, 0, 0},
        {O, 0, E, 1, 1},           {E, 0, O, 1, 0},           {E, 1, E, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kb_policy_book *b = kb_policy_book_create();
        struct kb_policy *one = kb_policy_create("a"), *two = kb_policy_create("b");
        one->observe = cases[i].a_observes;
        two->observe = cases[i].b_observes;
        if (cases[i].a != UNSAID) {
            one->limits.grammar = (uint8_t)cases[i].a;
            kb_policy_say(one, KB_HAS_GRAMMAR);
        }
        if (cases[i].b != UNSAID) {
            two->limits.grammar = (uint8_t)cases[i].b;
            kb_policy_say(two, KB_HAS_GRAMMAR);
        }
        kb_policy_book_add(b, one);
        kb_policy_book_add(b, two);
        struct kb_rules *r = sum(b, i % 2 ? "a b" : "b a");
        if (r->grammar_observed != cases[i].observed)
            fail_msg("case %zu", i);
        assert_false(r->observing);
        kb_rules_unref(r);
        kb_policy_book_unref(b);
    }
}

static struct kb_policy *with_names(const char *name, bool observe, const char *one)
{
    struct kb_policy *p = kb_policy_create(name);
    p->observe = observe;
    p->files_names.entries = kb_calloc(1, sizeof *p->files_names.entries);
    *(const char **)p->files_names.entries = kb_strdup(one);
    p->files_names.count = 1;
    kb_policy_say(p, KB_HAS_FILES_NAMES);
    kb_policy_say(p, KB_HAS_FILES_NAMES); /* once is enough */
    kb_policy_say(p, KB_HAS_PORTS);       /* an empty list: no port */
    assert_null(kb_usb_filter_parse("-1,-1,-1,-1,0", &p->usb_filter));
    kb_policy_say(p, KB_HAS_USB_FILTER);
    assert_null(kb_hours_add(&p->hours, "mon 08:00-18:00"));
    kb_policy_say(p, KB_HAS_HOURS);
    return p;
}

static void test_lists(void **state)
{
    (void)state;
    struct kb_policy_book *b = kb_policy_book_create();
    kb_policy_book_add(b, with_names("a", false, "*.pdf"));
    kb_policy_book_add(b, with_names("b", false, "report*"));
    kb_policy_book_add(b, with_names("c", true, "*2024*"));
    struct kb_rules *r = sum(b, "a b c");
    kb_policy_book_unref(b); /* the rules hold it */
    assert_true(kb_limits_allow_file_name(&r->enforced, "report.pdf"));
    assert_false(kb_limits_allow_file_name(&r->enforced, "report.doc"));
    assert_false(kb_limits_allow_file_name(&r->enforced, "other.pdf"));
    assert_false(kb_limits_allow_file_name(&r->all, "report.pdf"));
    assert_true(kb_limits_allow_file_name(&r->all, "report-2024.pdf"));
    assert_false(kb_limits_allow_port(&r->enforced, "org.spice-space.webdav.0"));
    assert_int_equal(r->enforced.usb_filters.count, 2);
    assert_int_equal(r->all.usb_filters.count, 3);
    assert_int_equal(r->enforced.hours.count, 2);
    assert_true(r->observing);
    kb_rules_unref(r);
}

/* --- who gets what ---------------------------------------------------------------------------- */

static struct kb_policy_book *some_book(void)
{
    static const char *const names[] = {"src", "web", "one", "staff", "guests", "temp"};
    struct kb_policy_book *b = kb_policy_book_create();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        kb_policy_book_add(b, kb_policy_create(names[i]));
    kb_policy_book_attach(b, "src", "lab", NULL, NULL);
    kb_policy_book_attach(b, "web", "lab", NULL, "db-*\nweb-?");
    kb_policy_book_attach(b, "one", "lab", "u1", NULL);
    kb_policy_book_attach(b, "src", "lab", NULL, "web-*");
    return b;
}

static void test_choose(void **state)
{
    (void)state;
    static const struct {
        struct kb_policy_subject subject;
        const char *chosen; /* name/because */
    } cases[] = {
        {{.source = "other", .uuid = "u1", .console = "web-1"}, "default/default"},
        {{.source = "lab", .uuid = "u2"}, "default/default src/source"},
        {{.source = "lab", .uuid = "u2", .console = "web-1"},
         "default/default src/source web/console"},
        {{.source = "lab", .uuid = "u2", .console = "web-12"}, "default/default src/source"},
        {{.source = "lab", .uuid = "u1", .console = "x"}, "default/default src/source one/console"},
        {{.by_role = "staff",
          .by_group = "guests staff",
          .by_grant = "temp",
          .source = "o",
          .uuid = "u"},
         "default/default staff/role guests/group temp/grant"},
        {{.by_grant = " default  temp temp ", .source = "o", .uuid = "u"},
         "default/default temp/grant"},
    };
    struct kb_policy_book *b = some_book();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kb_policy_choice chosen[KB_POLICIES_MAX];
        size_t count;
        char unknown[KB_POLICY_NAME_SIZE], text[256] = "";
        assert_true(kb_policy_book_choose(b, &cases[i].subject, chosen, &count, unknown));
        for (size_t k = 0; k < count; k++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s/%s", k ? " " : "",
                     chosen[k].policy->name, kb_because_name(chosen[k].because));
        assert_string_equal(text, cases[i].chosen);
    }
    kb_policy_book_unref(b);
}

static void test_unknown(void **state)
{
    (void)state;
    struct kb_policy_book *b = some_book();
    char unknown[KB_POLICY_NAME_SIZE];
    const struct kb_policy_subject s = {.by_grant = "temp gone", .source = "lab", .uuid = "u"};
    assert_null(kb_policy_book_resolve(b, &s, unknown));
    assert_string_equal(unknown, "gone");
    /* More than there is room for is refused too, never cut. */
    char names[40 * 8] = "";
    for (int i = 0; i < 40; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        kb_policy_book_add(b, kb_policy_create(name));
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s ", name);
    }
    const struct kb_policy_subject many = {.by_grant = names, .source = "o", .uuid = "u"};
    assert_null(kb_policy_book_resolve(b, &many, unknown));
    assert_string_equal(unknown, "p31");
    kb_policy_book_unref(b);
}

static void test_decides(void **state)
{
    (void)state;
    struct kb_policy_book *b = kb_policy_book_create();
    add(b, "small", false, KB_HAS_CLIPBOARD_MAX, 10);
    add(b, "large", false, KB_HAS_CLIPBOARD_MAX, 100);
    add(b, "trial", true, KB_HAS_CLIPBOARD_MAX, 1);
    kb_policy_book_add(b, with_names("names", false, "*"));
    struct kb_rules *r = sum(b, "small large trial names");
    static const struct {
        const char *name;
        bool enforced, decides;
    } cases[] = {
        {"small", true, true},   {"small", false, false},  {"large", true, false},
        {"large", false, false}, {"trial", true, false},   {"trial", false, true},
        {"names", true, false},  {"default", true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(kb_policy_decides(kb_policy_book_find(b, cases[i].name),
                                           KB_HAS_CLIPBOARD_MAX, r, cases[i].enforced),
                         cases[i].decides);
    assert_true(kb_policy_decides(kb_policy_book_find(b, "names"), KB_HAS_HOURS, r, true));
    assert_int_equal(kb_policy_field_find("clipboard.max_bytes"), KB_HAS_CLIPBOARD_MAX);
    assert_int_equal(kb_policy_field_find("clipboard"), KB_FIELD_COUNT);
    kb_rules_unref(r);
    kb_policy_book_unref(b);
    kb_policy_book_unref(NULL);
}

static void test_replaced_default(void **state)
{
    (void)state;
    struct kb_policy_book *b = kb_policy_book_create();
    add(b, "default", false, KB_HAS_SOUND, 0);
    assert_int_equal(b->count, 1);
    struct kb_rules *r = sum(b, NULL);
    assert_false(r->enforced.sound);
    kb_rules_unref(r);
    kb_policy_book_unref(b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truth_table), cmocka_unit_test(test_unsaid),
        cmocka_unit_test(test_grammar),     cmocka_unit_test(test_lists),
        cmocka_unit_test(test_choose),      cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_decides),     cmocka_unit_test(test_replaced_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
