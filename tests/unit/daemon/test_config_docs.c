/* The example, the page and the man page say what the tables of keys say. */
#include "fixture.h"

#include "daemon/config_schema.h"

#define EXAMPLE KB_SOURCE_ROOT "/docs/kerbside.yaml.example"

static void test_example_loads(void **state)
{
    struct fixture *f = *state;
    struct kb_config *c = kb_config_load(EXAMPLE, &f->problems);
    assert_problems(f, "");
    assert_non_null(c);
    assert_int_equal(c->source_count, 1);
    assert_int_equal(c->sources[0].console_count, 1);
    kb_config_destroy(c);
}

/* What the example shows behind a # is right as well: nothing is wrong with it but that the files
 * do not exist here. */
static void test_example_in_full(void **state)
{
    struct fixture *f = *state;
    kb_auto_free char *text = slurp(EXAMPLE);
    kb_auto(kb_buf_finish) struct kb_buf full = {0};
    unsigned uncommented = 0;
    for (const char *line = text, *end; *line; line = end) {
        end = strchr(line, '\n') + 1;
        size_t indent = strspn(line, " ");
        kb_buf_add(&full, line, indent);
        line += indent;
        if (*line == '#' && !strchr(" #\n", line[1])) {
            line++;
            uncommented++;
        }
        kb_buf_add(&full, line, (size_t)(end - line));
    }
    assert_true(uncommented > 10);
    struct kb_config *c = kb_config_parse(EXAMPLE, kb_buf_span(&full), &f->problems);
    assert_null(c);
    kb_auto_free char *problems = kb_buf_steal(&f->problems);
    unsigned files = 0;
    for (char *line = problems, *end; *line; line = end + 1) {
        end = line + strcspn(line, "\n");
        *end = '\0';
        if (strstr(line, "No such file or directory"))
            files++;
        else
            fail_msg("%s", line);
    }
    /* certificate, key, ca, ca_cert, ticket; keystone's and oidc's ca, client_secret */
    assert_int_equal(files, 8);
}

/* Every example of a page, which begins with such a line, is a configuration without a mistake. */
static void check_page(struct fixture *f, const char *name, const char *first, unsigned expected)
{
    kb_auto_free char *path = kb_printf("%s/docs/%s", KB_SOURCE_ROOT, name);
    kb_auto_free char *page = slurp(path);
    kb_auto_free char *line = kb_printf("\n    %s\n", first);
    unsigned count = 0;
    for (const char *at = page; (at = strstr(at, line)); count++) {
        kb_auto(kb_buf_finish) struct kb_buf text = {0};
        for (at++; strncmp(at, "    ", 4) == 0; at += strcspn(at, "\n") + 1)
            kb_buf_add(&text, at + 4, strcspn(at, "\n") - 3);
        kb_buf_add_str(&text, "sources:\n"
                              "- {source: lab, type: static, consoles: []}\n"
                              "- {source: cloud, type: static, consoles: []}\n");
        f->problems.len = 0;
        kb_config_destroy(kb_config_parse(name, kb_buf_span(&text), &f->problems));
        kb_auto_free char *problems = kb_buf_steal(&f->problems);
        for (char *said = problems, *end; *said; said = end + 1) {
            end = said + strcspn(said, "\n");
            *end = '\0';
            if (!strstr(said, "No such file or directory"))
                fail_msg("%s", said);
        }
    }
    assert_int_equal(count, expected);
}

static void test_pages(void **state)
{
    check_page(*state, "identity.md", "identity:", 3);
    check_page(*state, "policy.md", "policies:", 1);
}

static void in_example(const char *example, const char *path)
{
    const char *dot = strrchr(path, '.');
    kb_auto_free char *word = kb_printf("%s:", dot ? dot + 1 : path);
    if (!strstr(example, word))
        fail_msg("the example lacks %s", path);
}

static void in_page(const char *page, const char *path, const struct kb_config_key *key)
{
    kb_auto_free char *row = kb_printf("\n| `%s` |", path);
    kb_auto_free char *fallback = kb_printf("`%s`", key->fallback ? key->fallback : "");
    const char *at = strstr(page, row);
    if (!at)
        fail_msg("docs/configure.md lacks %s", path);
    kb_auto_free char *line = kb_printf("%.*s", (int)strcspn(at + 1, "\n") + 20, at + 1);
    if (key->fallback && !strstr(line, fallback))
        fail_msg("docs/configure.md has another default for %s than %s", path, key->fallback);
    if (key->required && !strstr(line, "required"))
        fail_msg("docs/configure.md does not say that %s is required", path);
}

static void in_man(const char *man, const char *path)
{
    kb_auto_free char *word = kb_printf("\n.TP\n.B %s\n", path);
    if (!strstr(man, word))
        fail_msg("kerbside.yaml(5) lacks %s", path);
}

static void test_every_key(void **state)
{
    (void)state;
    static const struct {
        const char *prefix;
        const struct kb_config_table *table;
    } tables[] = {
        {"", &kb_config_top},
        {"listen[].", &kb_config_listen},
        {"identity.roles[].", &kb_config_role},
        {"identity.groups[].", &kb_config_group_policy},
        {"policies.NAME.", &kb_config_policy},
        {"sources[].policies[].", &kb_config_source_policy},
        {"sources[].", &kb_config_source},
        {"sources[].consoles[].", &kb_config_console},
    };
    kb_auto_free char *example = slurp(EXAMPLE);
    kb_auto_free char *page = slurp(KB_SOURCE_ROOT "/docs/configure.md");
    kb_auto_free char *man = slurp(KB_SOURCE_ROOT "/man/kerbside.yaml.5");
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        assert_true(tables[t].table->count > 0);
        for (size_t i = 0; i < tables[t].table->count; i++) {
            const struct kb_config_key *key = &tables[t].table->keys[i];
            kb_auto_free char *path = kb_printf("%s%s", tables[t].prefix, key->path);
            in_example(example, path);
            in_page(page, path, key);
            in_man(man, path);
        }
    }
}

/* The keys of one driver: on its page as a row of a table, in the man page in a section of its
 * own. */
static void test_driver_keys(void **state)
{
    (void)state;
    kb_auto_free char *man = slurp(KB_SOURCE_ROOT "/man/kerbside.yaml.5");
    const struct kb_source_driver *driver;
    for (size_t d = 0; (driver = kb_source_driver_at(d)); d++) {
        if (!driver->key_count)
            continue;
        assert_true(driver->key_count <= KB_CONFIG_SETTINGS_MAX);
        struct kb_config_key keys[KB_CONFIG_SETTINGS_MAX];
        struct kb_config_choice choices[KB_CONFIG_CHOICES_MAX];
        size_t count = kb_config_driver_keys(driver, keys, choices);
        kb_auto_free char *path = kb_printf(KB_SOURCE_ROOT "/docs/sources/%s.md", driver->type);
        kb_auto_free char *page = slurp(path);
        kb_auto_free char *head = kb_printf("\n.SS Sources of the type %s\n", driver->type);
        const char *section = strstr(man, head);
        if (!section)
            fail_msg("kerbside.yaml(5) lacks the section%s", head);
        const char *end = strstr(section + strlen(head), "\n.S");
        kb_auto_free char *part = kb_printf("%.*s", (int)(end - section), section);
        for (size_t i = 0; i < count; i++) {
            in_page(page, keys[i].path, &keys[i]);
            in_man(part, keys[i].path);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_example_loads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_example_in_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_driver_keys, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
