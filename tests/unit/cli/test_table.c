/* Tables, paths and the place of the admin socket: what of the command line needs no daemon. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/runtime_dir.h"
#include "cli/table.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <unistd.h>

static const struct kb_column columns[] = {
    {"NAME", "name", KB_CELL_TEXT, true, 0},
    {"BYTES", "bytes", KB_CELL_BYTES, false, 0},
    {"CHANNELS", "channels", KB_CELL_COUNT, false, 0},
    {"STARTED", "started", KB_CELL_TIME, false, 0},
};

static void check_table(const char *rows, unsigned width, const char *expected)
{
    json_t *j = json_loads(rows, 0, NULL);
    assert_non_null(j);
    struct kb_buf b = {0};
    kb_table_render(&b, columns, 4, j, width);
    kb_buf_add(&b, "", 1);
    assert_string_equal((char *)b.data, expected);
    kb_buf_finish(&b);
    json_decref(j);
}

static void test_table(void **state)
{
    (void)state;
    check_table("[]", 0, "NAME  BYTES  CHANNELS  STARTED\n");
    check_table("[{\"name\":\"desk\",\"bytes\":1536,\"channels\":[1,2],"
                "\"started\":\"2026-11-20T18:00:00.123Z\"},{\"name\":null,\"bytes\":0}]",
                0,
                "NAME    BYTES  CHANNELS  STARTED\n"
                "desk  1.5 KiB         2  2026-11-20 18:00:00\n"
                "-         0 B         0  -\n");
}

static void test_narrow(void **state)
{
    (void)state;
    check_table("[{\"name\":\"a name that is far too long\",\"bytes\":1,\"channels\":[]}]", 36,
                "NAME        BYTES  CHANNELS  STARTED\n"
                "a name th\xe2\x80\xa6    1 B         0  -\n");
    /* Never narrower than what can still be read; then lines are longer than the terminal. */
    check_table("[{\"name\":\"a name that is far too long\",\"bytes\":1,\"channels\":[]}]", 10,
                "NAME      BYTES  CHANNELS  STARTED\n"
                "a name \xe2\x80\xa6    1 B         0  -\n");
}

/* What can be spared goes, first what is marked highest, once cutting does not help; and it is
 * said. */
static void test_spare(void **state)
{
    (void)state;
    static const struct kb_column spare[] = {
        {"NAME", "name", KB_CELL_TEXT, true, 0},
        {"BYTES", "bytes", KB_CELL_BYTES, false, 1},
        {"ID", "id", KB_CELL_TEXT, false, 0},
        {"STARTED", "started", KB_CELL_TEXT, false, 2},
    };
    json_auto_t *rows =
        json_loads("[{\"name\":\"a name that is far too long\",\"bytes\":1,\"id\":\"0123456789\","
                   "\"started\":\"yesterday\"}]",
                   0, NULL);
    const struct {
        unsigned width;
        const char *expected;
    } cases[] = {
        {38, "NAME      BYTES  ID          STARTED\n"
             "a name \xe2\x80\xa6    1 B  0123456789  yesterday\n"},
        {37, "NAME                BYTES  ID\n"
             "a name that is fa\xe2\x80\xa6    1 B  0123456789\n"
             "(no room for STARTED; --json has all)\n"},
        {24, "NAME          ID\n"
             "a name that\xe2\x80\xa6  0123456789\n"
             "(no room for STARTED, B\xe2\x80\xa6\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kb_buf b = {0};
        kb_table_render(&b, KB_COLUMNS(spare), rows, cases[i].width);
        kb_buf_add(&b, "", 1);
        assert_string_equal((char *)b.data, cases[i].expected);
        kb_buf_finish(&b);
    }
}

/* A terminal obeys control characters; names come from clouds. */
static void test_hostile_cells(void **state)
{
    (void)state;
    check_table("[{\"name\":\"a\\u001b[31m\\nb\\u009b\"}]", 0,
                "NAME       BYTES  CHANNELS  STARTED\n"
                "a?[31m?b?      -         0  -\n");
    check_table("[{\"name\":\"\xe6\xa1\x8c\xe9\x9d\xa2\"}]", 0, /* two columns each */
                "NAME  BYTES  CHANNELS  STARTED\n"
                "\xe6\xa1\x8c\xe9\x9d\xa2      -         0  -\n");
}

static void test_object(void **state)
{
    (void)state;
    json_t *j = json_loads("{\"name\":\"desk\",\"bytes\":5368709120}", 0, NULL);
    struct kb_buf b = {0};
    kb_table_render_object(&b, columns, 3, j);
    kb_buf_add(&b, "", 1);
    assert_string_equal((char *)b.data, "NAME      desk\nBYTES     5.0 GiB\nCHANNELS  0\n");
    kb_buf_finish(&b);
    json_decref(j);
}

static void test_paths(void **state)
{
    (void)state;
    char *path = kb_client_path("/api/v1/consoles/%s/%s", "a/b", "x y?z%\xc3\xa9");
    assert_string_equal(path, "/api/v1/consoles/a%2Fb/x%20y%3Fz%25%C3%A9");
    kb_client_add_query(&path, "q", NULL);
    kb_client_add_query(&path, "q", "a&b");
    kb_client_add_query(&path, "r", "");
    assert_string_equal(path, "/api/v1/consoles/a%2Fb/x%20y%3Fz%25%C3%A9?q=a%26b&r=");
    free(path);
}

/* The file's runtime_dir, or NULL; the file is in /tmp. */
static char *runtime_dir_of(const char *text, bool *failed)
{
    char file[] = "/tmp/kb-cli-XXXXXX";
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    char *problem = NULL, *dir = kb_runtime_dir_read(file, &problem);
    *failed = problem;
    free(problem);
    unlink(file);
    return dir;
}

static void test_runtime_dir(void **state)
{
    (void)state;
    static const struct {
        const char *text, *dir; /* NULL: refused */
    } cases[] = {
        {"runtime_dir: /run/elsewhere\n", "/run/elsewhere"},
        {"listen: []\nruntime_dir: run\nsources: []\n", "/tmp/run"},
        {"sources: []\n", "/run/kerbside"},
        {"public: {runtime_dir: /nested}\n", "/run/kerbside"},
        {"runtime_dir:\n", "/run/kerbside"},
        {"", "/run/kerbside"},
        {"- a list\n", "/run/kerbside"},
        {"runtime_dir: [\n", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool failed;
        char *dir = runtime_dir_of(cases[i].text, &failed);
        assert_int_equal(failed, cases[i].dir == NULL);
        if (dir)
            assert_string_equal(dir, cases[i].dir);
        free(dir);
    }
    char *problem = NULL;
    assert_null(kb_runtime_dir_read("/nonexistent/kerbside.yaml", &problem));
    assert_non_null(problem);
    free(problem);
}

static int run(const char *const *words)
{
    char *argv[16];
    int argc = 0;
    for (; words[argc]; argc++)
        argv[argc] = kb_strdup(words[argc]);
    argv[argc] = NULL;
    char *kept[16]; /* options are sorted to the front */
    memcpy(kept, argv, sizeof kept);
    int status = kb_cli_main(argc, argv);
    for (int i = 0; i < argc; i++)
        free(kept[i]);
    return status;
}

#define RUN(...) run((const char *const[]){"kerbside", __VA_ARGS__, NULL})

static void test_usage(void **state)
{
    (void)state;
    unsetenv("KERBSIDE_URL");
    unsetenv("KERBSIDE_API_KEY");
    assert_int_equal(RUN("version"), 0);
    assert_int_equal(RUN("help"), 0);
    assert_int_equal(RUN("--help"), 0);
    assert_int_equal(RUN("help", "console", "vv"), 0);
    assert_int_equal(RUN("console", "vv", "--help"), 0);
    assert_int_equal(RUN("console"), 2);
    assert_int_equal(RUN("nonsense"), 2);
    assert_int_equal(RUN("console", "nonsense"), 2);
    assert_int_equal(RUN("status", "more"), 2);
    assert_int_equal(RUN("session", "show"), 2);
    assert_int_equal(RUN("status", "--role", "admin"), 2);
    assert_int_equal(RUN("status", "--nonsense"), 2);
    assert_int_equal(RUN("status", "-c", "/nonexistent/kerbside.yaml"), 2);
    assert_int_equal(RUN("status", "--url", "http://127.0.0.1"), 2);
    assert_int_equal(RUN("status", "--url", "https://127.0.0.1"), 2); /* no key */
    assert_int_equal(RUN("user", "add", "alice"), 2);                 /* no role */
    assert_int_equal(RUN("audit", "--limit", "x"), 2);
}

static void test_unreachable(void **state)
{
    (void)state;
    char dir[] = "/tmp/kb-cli-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *file = kb_printf("%s/kerbside.yaml", dir);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs("runtime_dir: .\n", f);
    fclose(f);
    assert_int_equal(RUN("status", "-c", file), 3);
    assert_int_equal(RUN("console", "vv", "-c", file, "lab", "x"), 3);
    unlink(file);
    rmdir(dir);
    free(file);
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        return 1;
    setenv("LC_ALL", "C.UTF-8", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),       cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_spare),       cmocka_unit_test(test_hostile_cells),
        cmocka_unit_test(test_object),      cmocka_unit_test(test_paths),
        cmocka_unit_test(test_runtime_dir), cmocka_unit_test(test_usage),
        cmocka_unit_test(test_unreachable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
