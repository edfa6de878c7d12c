/* `kerbside check`: what goes to which stream, and the exit code. */
#include "fixture.h"

#include "daemon/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* Runs check with both streams in files; gives what they got, with "@" for the folder. */
static int run(struct fixture *f, const char *text, char **out, char **err)
{
    kb_auto_free char *expanded = expand(f, text);
    kb_auto_free char *file = put(f, "kerbside.yaml", expanded);
    kb_auto_free char *out_path = put(f, "out", "");
    kb_auto_free char *err_path = put(f, "err", "");
    int streams[2] = {dup(1), dup(2)};
    fflush(stdout);
    fflush(stderr);
    int fds[2] = {open(out_path, O_WRONLY), open(err_path, O_WRONLY)};
    dup2(fds[0], 1);
    dup2(fds[1], 2);
    int rc = kb_check_main(file);
    fflush(stdout);
    fflush(stderr);
    dup2(streams[0], 1);
    dup2(streams[1], 2);
    for (int i = 0; i < 2; i++) {
        close(streams[i]);
        close(fds[i]);
    }
    *out = slurp(out_path);
    *err = slurp(err_path);
    return rc;
}

static void check(struct fixture *f, const char *text, int rc, const char *out, const char *err)
{
    kb_auto_free char *found_out = NULL, *found_err = NULL;
    kb_auto_free char *expected_out = expand(f, out), *expected_err = expand(f, err);
    assert_int_equal(run(f, text, &found_out, &found_err), rc);
    assert_string_equal(found_out, expected_out);
    assert_string_equal(found_err, expected_err);
}

static void test_good(void **state)
{
    check(*state,
          "sources: [{source: a, type: static, consoles: [{uuid: u, unix_socket: /u}, {uuid: v, "
          "unix_socket: /v}]}]\n",
          0, "ok: @/kerbside.yaml: 1 listener, 1 source, 2 consoles, 0 warnings\n", "");
}

static void test_warning(void **state)
{
    check(*state, "sources: []\n", 0,
          "ok: @/kerbside.yaml: 1 listener, 0 sources, 0 consoles, 1 warning\n",
          "@/kerbside.yaml:1: warning: sources: no source is configured, so there is no console to "
          "open\n");
}

static void test_bad_source(void **state)
{
    check(*state, "sources: [{source: a, type: static}]\n", 2, "",
          "@/kerbside.yaml:1: sources[0].consoles: source a is not loaded: is required "
          "where there is no path\n"
          "@/kerbside.yaml: would be taken, but without 1 source\n");
}

/* Files of consoles are read too. */
static void test_files(void **state)
{
    struct fixture *f = *state;
    free(put(f, "desks.yaml", "[{uuid: u, unix_socket: /u}, {uuid: v, unix_socket: /v}]"));
    check(f, "sources: [{source: a, type: static, path: desks.yaml}]\n", 0,
          "ok: @/kerbside.yaml: 1 listener, 1 source, 2 consoles, 0 warnings\n", "");
    free(put(f, "desks.yaml", "uuid: u\nunix_sock: /u\n"));
    check(f, "sources: [{source: a, type: static, path: desks.yaml}]\n", 2, "",
          "@/desks.yaml:2: unix_sock: unknown key; did you mean unix_socket? (source a)\n"
          "@/kerbside.yaml: would be taken, but without 1 source\n");
}

static void test_refused(void **state)
{
    check(*state, "source: []\n", 2, "",
          "@/kerbside.yaml:1: source: unknown key; did you mean sources?\n"
          "@/kerbside.yaml:1: sources: is required\n"
          "@/kerbside.yaml: refused\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_warning, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_source, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
