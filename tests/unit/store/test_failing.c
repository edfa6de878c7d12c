/* A database that is locked, full, read-only, broken or exchanged while the store runs: writes are
 * refused, reads go on, what must not be lost is kept, one log line says so, and all is well again
 * by itself. The disk's faults come from a layer under SQLite (a VFS) that fails when it is told
 * to. */
#include "fixture.h"

#include <sys/mman.h>

/* --- a disk that can fail --------------------------------------------------------------------- */

static atomic_int write_error, sync_error; /* SQLITE_OK: it works */
static sqlite3_vfs failing_vfs;

/* SQLite has one set of functions for the database and another for its log. */
static struct disk {
    sqlite3_io_methods methods;
    const sqlite3_io_methods *real;
} disks[2];
static pthread_mutex_t disks_lock = PTHREAD_MUTEX_INITIALIZER;

static const sqlite3_io_methods *real_methods(const sqlite3_file *file)
{
    return disks[file->pMethods == &disks[1].methods].real;
}

static int failing_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 at)
{
    int error = atomic_load(&write_error);
    return error ? error : real_methods(file)->xWrite(file, data, len, at);
}

static int failing_sync(sqlite3_file *file, int flags)
{
    int error = atomic_load(&sync_error);
    return error ? error : real_methods(file)->xSync(file, flags);
}

static int failing_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags,
                        int *out)
{
    sqlite3_vfs *real = vfs->pAppData;
    int rc = real->xOpen(real, name, file, flags, out);
    if (rc != SQLITE_OK || !file->pMethods)
        return rc;
    pthread_mutex_lock(&disks_lock);
    struct disk *d = &disks[(flags & SQLITE_OPEN_MAIN_DB) != 0];
    if (!d->real) {
        d->real = file->pMethods;
        d->methods = *d->real;
        d->methods.xWrite = failing_write;
        d->methods.xSync = failing_sync;
    }
    assert_true(d->real == file->pMethods);
    file->pMethods = &d->methods;
    pthread_mutex_unlock(&disks_lock);
    return rc;
}

static int setup_disk(void **state)
{
    (void)state;
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    failing_vfs = *real;
    failing_vfs.zName = "failing";
    failing_vfs.pAppData = real;
    failing_vfs.xOpen = failing_open;
    return sqlite3_vfs_register(&failing_vfs, 1);
}

/* --- the log ---------------------------------------------------------------------------------- */

static int log_file = -1, true_stderr = -1;

static void capture_log(void)
{
    fflush(stderr);
    log_file = memfd_create("log", MFD_CLOEXEC);
    true_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    assert_true(log_file >= 0 && true_stderr >= 0);
    dup2(log_file, STDERR_FILENO);
}

static size_t count_lines(const char *with)
{
    struct stat st;
    fstat(log_file, &st);
    kb_auto_free char *text = kb_zalloc((size_t)st.st_size + 1);
    assert_int_equal(pread(log_file, text, (size_t)st.st_size, 0), st.st_size);
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, with)); at++)
        n++;
    return n;
}

static void release_log(void)
{
    dup2(true_stderr, STDERR_FILENO);
    if (count_lines("error: Failure!")) { /* cmocka said why into the log */
        char part[4096];
        ssize_t n;
        for (off_t at = 0; (n = pread(log_file, part, sizeof part, at)) > 0; at += n)
            fwrite(part, 1, (size_t)n, stderr);
    }
    close(true_stderr);
    close(log_file);
}

static int setup_failing(void **state)
{
    capture_log();
    setup(state);
    sync_one(*state, "lab", "u1", "web1");
    return 0;
}

static int teardown_failing(void **state)
{
    atomic_store(&write_error, 0);
    atomic_store(&sync_error, 0);
    teardown(state);
    release_log();
    return 0;
}

/* --- what must hold in every trouble ---------------------------------------------------------- */

static enum kb_store_status ping(struct fixture *f)
{
    struct kb_store_ping c = {.call.verb = KB_STORE_PING};
    return RUN(f, c);
}

static size_t count_consoles(struct fixture *f)
{
    struct kb_store_list_consoles c = {.call.verb = KB_STORE_LIST_CONSOLES, .limit = 10};
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    size_t n = c.count;
    kb_store_list_consoles_finish(&c);
    return n;
}

static struct kb_session_row before_trouble(struct fixture *f)
{
    create_grant(f, grant_call("live"), NULL);
    create_grant(f, grant_call("waiting"), NULL);
    struct kb_store_redeem_grant live = redeem(f, "live", "192.0.2.7");
    assert_int_equal(live.call.status, KB_STORE_OK);
    return live.session;
}

/* While there is trouble. */
static void in_trouble(struct fixture *f, const struct kb_session_row *live)
{
    struct kb_store_redeem_grant r = redeem(f, "waiting", "192.0.2.7");
    assert_int_equal(r.call.status, KB_STORE_FAILED);
    assert_int_equal(r.reason, KB_REASON_STORE_FAILED);
    assert_string_equal(r.session.id, "");
    kb_store_audit(f->store, &(struct kb_audit_event){.event = "channel.opened", .detail = "kept"});
    struct kb_audit_event closed = {.event = "channel.closed"};
    kb_copy_str(closed.session_id, sizeof closed.session_id, live->id);
    kb_store_audit_channel(f->store, &closed,
                           &(struct kb_channel_row){.type = 2, .bytes_from_client = 7});
    assert_int_equal(end_session(f, live->id), KB_STORE_FAILED);
    struct kb_store_create_grant g = grant_call("new");
    assert_int_equal(RUN(f, g), KB_STORE_FAILED);
    assert_null(g.row.user);
    assert_int_equal(ping(f), KB_STORE_FAILED);
    /* Pages still show what there is. */
    assert_int_equal(count_consoles(f), 1);
    assert_int_equal(count_lines("store.failed"), 1);
}

static void after_trouble(struct fixture *f, const struct kb_session_row *live, int64_t ended_at)
{
    assert_int_equal(ping(f), KB_STORE_OK);
    assert_int_equal(count_lines("store.failed"), 1);
    assert_int_equal(count_lines("store.recovered"), 1);
    struct kb_audit_event e = only_event(f, "channel.opened");
    assert_string_equal(e.detail, "kept");
    assert_int_equal(e.time, ended_at);
    e = only_event(f, "session.ended");
    assert_string_equal(e.session_id, live->id);
    assert_int_equal(e.time, ended_at);
    assert_int_equal(e.bytes_from_client, 11);
    assert_int_equal(count_events(f, "grant.created"), 2);
    /* The row of a channel that closed meanwhile was kept with its event. */
    struct kb_store_get_session s = {.call.verb = KB_STORE_GET_SESSION, .id = live->id};
    assert_int_equal(RUN(f, s), KB_STORE_OK);
    assert_int_equal(s.record.channel_count, 1);
    assert_int_equal(s.record.channels[0].bytes_from_client, 7);
    kb_session_record_finish(&s.record);
    /* A redemption that failed has used nothing. */
    assert_int_equal(redeem(f, "waiting", "192.0.2.7").call.status, KB_STORE_OK);
    assert_denied(f, "new", "", KB_REASON_TOKEN_UNKNOWN);
    /* What happened in the transaction that failed was not logged as if it had. */
    assert_int_equal(count_lines("grant.redeemed"), 2);
    assert_int_equal(count_lines("grant.created"), 2);
}

static void trouble_with_disk(struct fixture *f, atomic_int *which, int error)
{
    struct kb_session_row live = before_trouble(f);
    test_now += 1000;
    int64_t then = test_now;
    atomic_store(which, error);
    in_trouble(f, &live);
    atomic_store(which, 0);
    test_now += 1000;
    /* What is kept is tried at most every half second. */
    while (ping(f) != KB_STORE_OK)
        continue;
    after_trouble(f, &live, then);
}

static void test_full_disk(void **state)
{
    trouble_with_disk(*state, &write_error, SQLITE_FULL);
}

static void test_bad_disk(void **state)
{
    trouble_with_disk(*state, &write_error, SQLITE_IOERR_WRITE);
}

static void test_read_only(void **state)
{
    trouble_with_disk(*state, &write_error, SQLITE_READONLY);
}

static void test_sync_fails(void **state)
{
    trouble_with_disk(*state, &sync_error, SQLITE_IOERR_FSYNC);
}

static void test_locked(void **state)
{
    struct fixture *f = *state;
    struct kb_session_row live = before_trouble(f);
    test_now += 1000;
    int64_t then = test_now;
    kb_auto_free char *path = in_dir(f, "k.db");
    sqlite3 *other = NULL;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    in_trouble(f, &live);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    test_now += 1000;
    while (ping(f) != KB_STORE_OK)
        continue;
    after_trouble(f, &live, then);
}

/* It does not need a call to write what was kept. */
static void test_recovers_alone(void **state)
{
    struct fixture *f = *state;
    atomic_store(&write_error, SQLITE_FULL);
    assert_int_equal(ping(f), KB_STORE_FAILED);
    kb_store_audit(f->store, &(struct kb_audit_event){.event = "channel.opened"});
    assert_int_equal(ping(f), KB_STORE_FAILED); /* the event is taken: it was posted before */
    atomic_store(&write_error, 0);
    size_t found = 0;
    while (!found) {
        struct kb_store_list_audit c = {
            .call.verb = KB_STORE_LIST_AUDIT, .event = "channel.opened", .limit = 10};
        assert_int_equal(RUN(f, c), KB_STORE_OK); /* reads only, on the other thread */
        found = c.count;
        kb_store_list_audit_finish(&c);
    }
    assert_int_equal(found, 1);
}

/* More than can be kept is counted, said once, and the oldest are those that stay. */
static void test_too_many_to_keep(void **state)
{
    struct fixture *f = *state;
    atomic_store(&write_error, SQLITE_FULL);
    assert_int_equal(ping(f), KB_STORE_FAILED);
    for (int i = 0; i < 10007; i++)
        kb_store_audit(f->store,
                       &(struct kb_audit_event){.event = "channel.opened", .time = i + 1});
    assert_int_equal(ping(f), KB_STORE_FAILED);
    assert_int_equal(count_lines("store.dropping_audit_events"), 1);
    atomic_store(&write_error, 0);
    while (ping(f) != KB_STORE_OK)
        continue;
    assert_int_equal(count_lines("store.audit_events_dropped count=7"), 1);
    struct kb_store_list_audit c = {
        .call.verb = KB_STORE_LIST_AUDIT, .limit = 1, .event = "channel.opened", .until = 1000000};
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    assert_int_equal(c.rows[0].time, 10000);
    kb_store_list_audit_finish(&c);
    struct kb_buf text = {0};
    kb_metrics_render(&text);
    kb_auto_free char *metrics = kb_buf_steal(&text);
    assert_non_null(strstr(metrics, "\nkerbside_audit_dropped_total 7\n"));
    assert_non_null(strstr(metrics, "kerbside_store_seconds_count{call=\"ping\"}"));
}

/* What was kept is written at the end too, when it can be. */
static void test_written_at_the_end(void **state)
{
    struct fixture *f = *state;
    atomic_store(&write_error, SQLITE_FULL);
    kb_store_audit(f->store, &(struct kb_audit_event){.event = "channel.opened"});
    assert_int_equal(ping(f), KB_STORE_FAILED);
    atomic_store(&write_error, 0);
    kb_store_destroy(f->store);
    open_store(f);
    assert_int_equal(count_events(f, "channel.opened"), 1);
}

/* A call so big that the disk fills in its middle takes the whole transaction with it. */
static void test_full_in_the_middle(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 20000 };
    struct kb_console_row *rows = kb_calloc(COUNT, sizeof *rows);
    static char name[800];
    memset(name, 'n', sizeof name - 1);
    for (int i = 0; i < COUNT; i++)
        rows[i] = (struct kb_console_row){.uuid = kb_printf("%d", i), .name = name};
    atomic_store(&write_error, SQLITE_FULL);
    struct kb_store_sync_consoles c = {
        .call.verb = KB_STORE_SYNC_CONSOLES, .source = "lab", .rows = rows, .count = COUNT};
    assert_int_equal(RUN(f, c), KB_STORE_FAILED);
    atomic_store(&write_error, 0);
    assert_int_equal(count_consoles(f), 1);
    assert_int_equal(ping(f), KB_STORE_OK);
    assert_int_equal(count_consoles(f), 1);
    assert_int_equal(count_events(f, "console.added"), 1);
    for (int i = 0; i < COUNT; i++)
        free(rows[i].uuid);
    free(rows);
}

/* The file is taken away and put back, as a restore does: no second database is made meanwhile. */
static void test_exchanged_file(void **state)
{
    struct fixture *f = *state;
    create_grant(f, grant_call("t1"), NULL);
    kb_auto_free char *path = in_dir(f, "k.db"), *aside = in_dir(f, "aside.db");
    kb_auto_free char *wal = in_dir(f, "k.db-wal"), *shm = in_dir(f, "k.db-shm");
    kb_auto_free char *dump = kb_printf("VACUUM INTO '%s'", aside);
    sqlite3 *backup = NULL;
    assert_int_equal(sqlite3_open(path, &backup), SQLITE_OK);
    assert_int_equal(sqlite3_exec(backup, dump, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(backup);
    assert_int_equal(unlink(path), 0);
    unlink(wal);
    unlink(shm);
    assert_int_equal(ping(f), KB_STORE_FAILED);
    struct kb_store_list_users users = {.call.verb = KB_STORE_LIST_USERS};
    assert_int_equal(RUN(f, users), KB_STORE_FAILED);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(rename(aside, path), 0);
    while (ping(f) != KB_STORE_OK)
        continue;
    assert_int_equal(redeem(f, "t1", "").call.status, KB_STORE_OK);
    while (RUN(f, users) != KB_STORE_OK) /* the reading connection is another */
        continue;
    assert_int_equal(count_consoles(f), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_failing, teardown_failing)
    const struct CMUnitTest tests[] = {
        TEST(test_full_disk),
        TEST(test_bad_disk),
        TEST(test_read_only),
        TEST(test_sync_fails),
        TEST(test_locked),
        TEST(test_recovers_alone),
        TEST(test_too_many_to_keep),
        TEST(test_written_at_the_end),
        TEST(test_full_in_the_middle),
        TEST(test_exchanged_file),
    };
    return cmocka_run_group_tests(tests, setup_disk, NULL);
}
