/* Consoles in files of their own: what a file may say, what is said of one that is wrong, and which
 * files of a folder count. */
#include "fixture.h"

#include "daemon/config_schema.h"

#include <sys/stat.h>
#include <unistd.h>

/* Reads the text as a file; what is found must be so many consoles, or this problem ("@" stands for
 * the file). */
static void check(struct fixture *f, const char *text, size_t count, const char *problem)
{
    kb_auto_free char *path = put(f, "consoles.yaml", text), *why = NULL;
    struct kb_static_console *list = NULL;
    size_t found = 0;
    bool ok = kb_config_read_console_file(path, &list, &found, &why);
    if (problem) {
        const char *tail = problem + strspn(problem, "@");
        kb_auto_free char *expected = kb_printf("%s%s", tail > problem ? path : "", tail);
        assert_false(ok);
        assert_string_equal(why, expected);
    } else {
        if (!ok)
            fail_msg("%s", why);
        assert_int_equal(found, count);
        kb_static_consoles_finish(list, found);
    }
}

static void test_files(void **state)
{
    struct fixture *f = *state;
    static const char one[] = "uuid: u1\nhypervisor: hv\nsecure_port: 5901\nticket: sesame\n";
    check(f, one, 1, NULL);
    check(f, "- {uuid: u1, unix_socket: /u}\n- {uuid: u2, unix_socket: /u}\n", 2, NULL);
    check(f, "[]", 0, NULL);
    check(f, "", 0, "@: the file is empty; [] is a list without a console");
    check(f, "# nothing\n", 0, "@: the file is empty; [] is a list without a console");
    check(f, "uuid: u1", 0, "@:1: needs hypervisor_ip, hypervisor or unix_socket (and more)");
    check(f, "hypervisor: hv\nsecure_port: 1\n", 0, "@:1: uuid: is required");
    check(f, "- {uuid: u1, unix_socket: /u}\n- {uuid: u2, unix_socket: /u, port: 1}\n", 0,
          "@:2: [1].port: unknown key");
    check(f, "{uuid: u1, unix_socket: /u, policy: default}", 0, "@:1: policy: unknown key");
    check(f, "- uuid: u1\n  unix_socket: [", 0,
          "@:3: not valid YAML: did not find expected node content");
    check(f, "a text", 0, "@:1: must be a list, not a text");
    check(f, "--- []\n--- []\n", 0, "@:2: a second document begins here; only one is read");
}

/* What is there is cut at every byte, as somebody who writes it might leave it: never more consoles
 * than there are, never a crash. */
static void test_cut(void **state)
{
    struct fixture *f = *state;
    static const char whole[] = "- uuid: u1\n  hypervisor_ip: 192.0.2.1\n  insecure_port: 5900\n"
                                "- {uuid: u2, unix_socket: '/u', ticket: \"t\"}\n";
    for (size_t len = 0; len < sizeof whole; len++) {
        kb_auto_free char *text = kb_printf("%.*s", (int)len, whole), *why = NULL;
        kb_auto_free char *path = put(f, "consoles.yaml", text);
        struct kb_static_console *list = NULL;
        size_t found = 0;
        if (kb_config_read_console_file(path, &list, &found, &why))
            assert_true(found <= 2);
        kb_static_consoles_finish(list, found);
    }
}

static void test_tickets(void **state)
{
    struct fixture *f = *state;
    kb_auto_free char *ticket = put(f, "ticket", "sesame\n");
    kb_auto_free char *path = put(f, "consoles.yaml",
                                  "{uuid: u, unix_socket: s, ticket: {file: "
                                  "ticket}}"),
                      *why = NULL, *socket = expand(f, "@/s");
    struct kb_static_console *list;
    size_t count;
    assert_true(kb_config_read_console_file(path, &list, &count, &why));
    assert_string_equal(kb_secret_text(&list->ticket), "sesame");
    assert_string_equal(list->unix_socket, socket); /* relative to the file */
    kb_static_consoles_finish(list, count);
    unlink(ticket);
    assert_false(kb_config_read_console_file(path, &list, &count, &why));
    assert_non_null(strstr(why, ":1: ticket: cannot use file "));
}

static bool try(struct fixture *f, const char *path, size_t *count, char why[256])
{
    kb_auto_free char *text =
        kb_printf("sources: [{source: desks, type: static, path: %s}]\n", path);
    struct kb_config *c = load(f, text);
    assert_problems(f, "");
    bool ok = kb_source_files_check(&c->sources[0], count, why);
    kb_config_destroy(c);
    return ok;
}

static void test_folder(void **state)
{
    struct fixture *f = *state;
    size_t count;
    char why[256];
    /* The fixture removes files of its folder alone. */
    kb_auto_free char *folder = expand(f, "@/desks.d");
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_true(try(f, "desks.d", &count, why));
    assert_int_equal(count, 0);
    kb_auto_free char *a = put(f, "desks.d/a.yaml", "{uuid: a, unix_socket: /a}");
    kb_auto_free char *b = put(f, "desks.d/b.yml", "[{uuid: b, unix_socket: /b}]");
    kb_auto_free char *hidden = put(f, "desks.d/.c.yaml", "nonsense");
    kb_auto_free char *other = put(f, "desks.d/README", "nonsense");
    assert_true(try(f, "desks.d", &count, why));
    assert_int_equal(count, 2);
    kb_auto_free char *twice = put(f, "desks.d/c.yaml", "{uuid: a, unix_socket: /c}");
    assert_false(try(f, "desks.d", &count, why));
    kb_auto_free char *expected = kb_printf("%s: uuid a is there twice", twice);
    assert_string_equal(why, expected);
    char *const files[] = {a, b, hidden, other, twice};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(files[i]);
    rmdir(folder);
    assert_false(try(f, "desks.d", &count, why));
    kb_auto_free char *gone = kb_printf("%s: No such file or directory", folder);
    assert_string_equal(why, gone);
}

static void test_where(void **state)
{
    struct fixture *f = *state;
    kb_config_destroy(load(f, "sources:\n- {source: a, type: static, consoles: [], path: x}\n"));
    assert_problems(f, "@/kerbside.yaml:2: sources[0].consoles: source a is not loaded: is there, "
                       "and so is path\n");
    struct kb_config *c = load(f, "sources: [{source: a, type: static, path: x, probe: 5s}]\n");
    assert_problems(f, "");
    kb_auto_free char *path = expand(f, "@/x");
    assert_string_equal(kb_setting_text(&c->sources[0], "path"), path);
    assert_int_equal(kb_setting_number(&c->sources[0], "probe"), 5000);
    assert_ptr_equal(c->sources[0].read_file, kb_config_read_console_file);
    kb_config_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tickets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_where, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
