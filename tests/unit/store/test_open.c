/* Opening: a new database, the same again, and everything that must be refused with clear words. */
#include "fixture.h"

#include <sys/wait.h>

static int setup_dir(void **state)
{
    assert_true(kb_secret_start());
    struct fixture *f = kb_zalloc(sizeof *f);
    make_dir(f);
    *state = f;
    return 0;
}

static int teardown_dir(void **state)
{
    struct fixture *f = *state;
    remove_dir(f);
    free(f);
    return 0;
}

static void assert_refused(struct fixture *f, const char *url, const char *words)
{
    char *error = NULL;
    struct kb_store *s = kb_store_create(url, f->dir, "node-1", &error);
    assert_null(s);
    assert_non_null(error);
    if (!strstr(error, words))
        fail_msg("\"%s\" does not say \"%s\"", error, words);
    free(error);
}

static mode_t mode_of(const struct fixture *f, const char *name)
{
    kb_auto_free char *path = in_dir(f, name);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

/* A statement on the closed database, as another program would run it; its one number. */
static int64_t run_sql(const struct fixture *f, const char *sql)
{
    kb_auto_free char *path = in_dir(f, "k.db");
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    int rc = sqlite3_step(st);
    assert_true(rc == SQLITE_ROW || rc == SQLITE_DONE);
    int64_t value = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;
    sqlite3_finalize(st);
    sqlite3_close(db);
    return value;
}

static void test_new(void **state)
{
    struct fixture *f = *state;
    mode_t before = umask(0); /* the mode is ours, not the umask's */
    open_store(f);
    umask(before);
    sync_one(f, "lab", "u1", "web1");
    assert_int_equal(mode_of(f, "k.db"), 0600);
    assert_int_equal(mode_of(f, "k.db-wal"), 0600);
    assert_int_equal(mode_of(f, "k.db-shm"), 0600);
    kb_store_destroy(f->store);
    assert_int_equal(run_sql(f, "PRAGMA user_version"), 6);
    assert_int_equal(run_sql(f, "PRAGMA journal_mode = WAL"), 0); /* "wal" is no number */
    assert_int_equal(run_sql(f, "SELECT count(*) FROM pragma_integrity_check"
                                " WHERE integrity_check = 'ok'"),
                     1);
    assert_int_equal(run_sql(f, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"
                                " AND name NOT LIKE 'sqlite_%' AND sql NOT LIKE '%STRICT'"),
                     0);
}

static void test_same_again(void **state)
{
    struct fixture *f = *state;
    open_store(f);
    sync_one(f, "lab", "u1", "web1");
    kb_store_destroy(f->store);
    kb_auto_free char *path = in_dir(f, "k.db");
    assert_int_equal(chmod(path, 0644), 0); /* somebody's copy; it is ours alone again */
    open_store(f);
    assert_int_equal(mode_of(f, "k.db"), 0600);
    struct kb_store_get_console g = {
        .call.verb = KB_STORE_GET_CONSOLE, .source = "lab", .uuid = "u1"};
    assert_int_equal(RUN(f, g), KB_STORE_OK);
    kb_console_row_finish(&g.row);
    kb_store_destroy(f->store);
}

/* An empty file is a new database: a start that was killed right after the file was made. */
static void test_empty_file(void **state)
{
    struct fixture *f = *state;
    kb_auto_free char *path = in_dir(f, "k.db");
    kb_auto_close int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    open_store(f);
    sync_one(f, "lab", "u1", "web1");
    kb_store_destroy(f->store);
}

static void test_absolute_path(void **state)
{
    struct fixture *f = *state;
    kb_auto_free char *url = kb_printf("sqlite:%s/abs.db", f->dir);
    char *error = NULL;
    struct kb_store *s = kb_store_create(url, "/nowhere", "node-1", &error);
    assert_non_null(s);
    kb_store_destroy(s);
    assert_int_equal(mode_of(f, "abs.db"), 0600);
}

/* A database of the first schema is brought up to date with all that is in it. */
static void test_older_schema(void **state)
{
    struct fixture *f = *state;
    kb_auto_free char *path = in_dir(f, "k.db");
    kb_auto_fclose FILE *file = fopen(KB_SOURCE_ROOT "/src/store/migrations/001_first.sql", "r");
    static char first[65536];
    assert_non_null(file);
    assert_true(fread(first, 1, sizeof first - 1, file) > 1000);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, first, NULL, NULL, NULL), SQLITE_OK);
    struct kb_hash login = hash_of("token"), key = hash_of("key");
    char hex[2][2 * KB_HASH_SIZE + 1];
    for (size_t i = 0; i < KB_HASH_SIZE; i++) {
        snprintf(hex[0] + 2 * i, 3, "%02x", login.bytes[i]);
        snprintf(hex[1] + 2 * i, 3, "%02x", key.bytes[i]);
    }
    kb_auto_free char *rows = kb_printf(
        "INSERT INTO users VALUES ('zoe', 'operator', 'h', 1);"
        "INSERT INTO logins VALUES (x'%s', 'zoe', 1, 9000000000000);"
        "INSERT INTO apikeys VALUES ('0123456789abcdef', 'nova', 'broker', 'zoe', x'%s', 1, 0, 0);"
        "INSERT INTO sources VALUES ('lab', 1);"
        "INSERT INTO consoles VALUES ('lab', 'u1', 'web1', 'hv', NULL, NULL, NULL, 5900, 0, 1);"
        "INSERT INTO grants (id, source, uuid, user_name, created_by, created_at, expires_at,"
        " start_within, max_session, idle_timeout, reusable)"
        " VALUES ('00000000000000aa', 'lab', 'u1', 'zoe', 'zoe', 1, 2, 1, 0, 0, 0);"
        "INSERT INTO sessions (id, node, grant_id, source, uuid, console_name, user_name,"
        " client_address, started_at, ended_at, reason, bytes_from_client)"
        " VALUES ('00000000000000bb', 'n', '00000000000000aa', 'lab', 'u1', 'web1', 'zoe',"
        " '192.0.2.1', 1, 2, 'idle', 3);"
        "PRAGMA application_id = 0x6b627364; PRAGMA user_version = 1",
        hex[0], hex[1]);
    assert_int_equal(sqlite3_exec(db, rows, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    open_store(f);
    struct kb_store_find_login found = {.call.verb = KB_STORE_FIND_LOGIN, .hash = login};
    assert_int_equal(RUN(f, found), KB_STORE_OK);
    assert_string_equal(found.row.user, "zoe");
    assert_string_equal(found.row.role, "operator");
    assert_string_equal(found.row.provider, "local");
    assert_int_equal(strlen(found.row.id), KB_ID_SIZE - 1);
    kb_login_row_finish(&found.row);
    struct kb_store_find_apikey k = {.call.verb = KB_STORE_FIND_APIKEY, .hash = key};
    assert_int_equal(RUN(f, k), KB_STORE_OK);
    assert_string_equal(k.row.cidrs, "");
    kb_apikey_row_finish(&k.row);
    struct kb_store_get_console c = {
        .call.verb = KB_STORE_GET_CONSOLE, .source = "lab", .uuid = "u1"};
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    assert_null(c.row.owner);
    kb_console_row_finish(&c.row);
    struct kb_store_get_session s = {.call.verb = KB_STORE_GET_SESSION, .id = "00000000000000bb"};
    assert_int_equal(RUN(f, s), KB_STORE_OK);
    assert_string_equal(s.record.session.owner, "");
    assert_string_equal(s.record.session.policy, "default");
    assert_string_equal(s.record.reason, "idle");
    assert_int_equal(s.record.bytes_from_client, 3);
    assert_int_equal(s.record.channel_count, 0);
    kb_session_record_finish(&s.record);
    struct kb_store_remove_user r = {.call.verb = KB_STORE_REMOVE_USER, .name = "zoe"};
    assert_int_equal(RUN(f, r), KB_STORE_OK);
    assert_int_equal(RUN(f, found), KB_STORE_NOT_FOUND);
    kb_store_destroy(f->store);
}

static void test_newer_schema(void **state)
{
    struct fixture *f = *state;
    open_store(f);
    kb_store_destroy(f->store);
    run_sql(f, "PRAGMA user_version = 99");
    assert_refused(f, "sqlite:k.db", "schema 99, which is newer than the 6");
    assert_int_equal(run_sql(f, "PRAGMA user_version"), 99);
}

static void test_not_ours(void **state)
{
    struct fixture *f = *state;
    run_sql(f, "CREATE TABLE letters (a TEXT)");
    assert_refused(f, "sqlite:k.db", "a database of another program");
    assert_int_equal(run_sql(f, "SELECT count(*) FROM sqlite_schema"), 1);
}

static void test_garbage(void **state)
{
    struct fixture *f = *state;
    kb_auto_free char *path = in_dir(f, "k.db");
    FILE *out = fopen(path, "w");
    for (int i = 0; i < 2000; i++)
        fputs("not a database ", out);
    fclose(out);
    assert_refused(f, "sqlite:k.db", "file is not a database");
}

static void test_no_place(void **state)
{
    struct fixture *f = *state;
    assert_refused(f, "sqlite:sub/k.db", "sub: No such file or directory");
    assert_refused(f, "sqlite:/dev/null/k.db", "/dev/null is not a directory");
    assert_refused(f, "sqlite:/dev/null", "not a regular file");
    kb_auto_free char *path = in_dir(f, "k.db");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_refused(f, "sqlite:k.db", "k.db: Is a directory");
    rmdir(path);
    assert_refused(f, "sqlite:", "the url must be sqlite:PATH");
    assert_refused(f, "sqlite", "the url must be sqlite:PATH");
    assert_refused(f, "mysql:k.db", "the url must be sqlite:PATH");
    assert_refused(f, "", "the url must be sqlite:PATH");
}

/* Root may write everything, so a user without rights tries it. */
static void without_rights(struct fixture *f, const char *words)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(3);
        char *error = NULL;
        struct kb_store *s = kb_store_create("sqlite:k.db", f->dir, "node-1", &error);
        if (error)
            fprintf(stderr, "%s\n", error);
        _exit(s ? 2 : strstr(error, words) ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_no_rights(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(chmod(f->dir, 0555), 0);
    without_rights(f, "cannot be written by this user: Permission denied");
    assert_int_equal(chmod(f->dir, 0777), 0);
    open_store(f);
    kb_store_destroy(f->store);
    kb_auto_free char *path = in_dir(f, "k.db");
    assert_int_equal(chmod(path, 0400), 0);
    without_rights(f, "k.db: Permission denied");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_dir, teardown_dir)
    const struct CMUnitTest tests[] = {
        TEST(test_new),           TEST(test_same_again),   TEST(test_empty_file),
        TEST(test_absolute_path), TEST(test_older_schema), TEST(test_newer_schema),
        TEST(test_not_ours),      TEST(test_garbage),      TEST(test_no_place),
        TEST(test_no_rights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
