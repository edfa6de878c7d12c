/* A process that is killed while it answers: nothing that was acknowledged is lost, and no session
 * lives on as a ghost. The child says on a pipe what the store has answered; the parent kills it in
 * the middle and looks. */
#include "fixture.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { KILLS = 12, THREADS = 4 };

enum what { SAID_GRANT = 1, SAID_SESSION, SAID_ENDED };

struct said {
    enum what what;
    char id[KB_ID_SIZE];
};

static struct fixture *child_fixture;
static int child_pipe;

static void say(enum what what, const char *id)
{
    struct said s = {0};
    s.what = what;
    kb_copy_str(s.id, sizeof s.id, id);
    if (write(child_pipe, &s, sizeof s) != sizeof s) /* atomic: below PIPE_BUF */
        _exit(1);
}

static void *child_thread(void *arg)
{
    (void)arg;
    for (int i = 0;; i++) {
        char token[KB_TOKEN_SIZE], id[KB_ID_SIZE];
        kb_token_create(token);
        create_grant(child_fixture, grant_call(token), id);
        say(SAID_GRANT, id);
        struct kb_store_redeem_grant r = redeem(child_fixture, token, "192.0.2.7");
        if (r.call.status != KB_STORE_OK)
            _exit(1);
        say(SAID_SESSION, r.session.id);
        if (i % 2 == 0) {
            if (end_session(child_fixture, r.session.id) != KB_STORE_OK)
                _exit(1);
            say(SAID_ENDED, r.session.id);
        }
    }
    return NULL;
}

static void run_child(struct fixture *f, int out)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Its log says nothing that matters here. */
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDERR_FILENO);
    child_fixture = f;
    child_pipe = out;
    open_store(f);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, child_thread, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    _exit(1);
}

static bool has_row(sqlite3 *db, const char *sql, const char *id)
{
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
    bool found = sqlite3_step(st) == SQLITE_ROW;
    sqlite3_finalize(st);
    return found;
}

/* Every word the child said has its row, and its audit event. */
static void check_said(sqlite3 *db, const struct said *s)
{
    static const char *const rows[] = {
        [SAID_GRANT] = "SELECT 1 FROM grants WHERE id = ?",
        [SAID_SESSION] = "SELECT 1 FROM sessions WHERE id = ?",
        [SAID_ENDED] = "SELECT 1 FROM sessions WHERE id = ? AND ended_at != 0"
                       " AND reason = 'terminated'",
    };
    static const char *const audits[] = {
        [SAID_GRANT] = "SELECT 1 FROM audit WHERE grant_id = ? AND event = 'grant.created'",
        [SAID_SESSION] = "SELECT 1 FROM audit WHERE session_id = ? AND event = 'session.started'",
        [SAID_ENDED] = "SELECT 1 FROM audit WHERE session_id = ? AND event = 'session.ended'",
    };
    assert_true(has_row(db, rows[s->what], s->id));
    assert_true(has_row(db, audits[s->what], s->id));
}

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

/* Kills a child after it has said some words; all that it said, to be freed. */
static struct said *kill_one(struct fixture *f, int words, size_t *count)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        run_child(f, ends[1]);
    close(ends[1]);
    struct said *said = NULL, one;
    size_t space = 0;
    *count = 0;
    while (read(ends[0], &one, sizeof one) == sizeof one) {
        if (*count == space) {
            space = space ? space * 2 : 64;
            said = kb_realloc(said, space * sizeof *said);
        }
        said[(*count)++] = one;
        if (*count == (size_t)words)
            kill(child, SIGKILL); /* what it said until then still comes */
    }
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    return said;
}

static void test_kill(void **state)
{
    struct fixture *f = *state;
    assert_true(kb_secret_start());
    open_store(f);
    sync_one(f, "lab", "u1", "web1");
    kb_store_destroy(f->store);
    f->store = NULL;
    kb_auto_free char *path = in_dir(f, "k.db");
    for (int i = 0; i < KILLS; i++) {
        size_t count = 0;
        kb_auto_free struct said *said = kill_one(f, 1 + i * 17, &count);
        sqlite3 *db = NULL;
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        for (size_t k = 0; k < count; k++)
            check_said(db, &said[k]);
        int64_t live = number(db, "SELECT count(*) FROM sessions WHERE ended_at = 0");
        open_store(f);
        struct kb_store_recover r = {.call.verb = KB_STORE_RECOVER};
        assert_int_equal(RUN(f, r), KB_STORE_OK);
        assert_int_equal(r.ended, live);
        kb_store_destroy(f->store);
        f->store = NULL;
        assert_int_equal(number(db, "SELECT count(*) FROM sessions WHERE ended_at = 0"), 0);
        /* Each session has one start and one end in the audit, no more. */
        assert_int_equal(number(db, "SELECT count(*) FROM sessions s WHERE 1 != (SELECT count(*)"
                                    " FROM audit a WHERE a.session_id = s.id"
                                    " AND a.event = 'session.ended')"),
                         0);
        assert_int_equal(number(db, "SELECT count(*) FROM sessions s WHERE 1 != (SELECT count(*)"
                                    " FROM audit a WHERE a.session_id = s.id"
                                    " AND a.event = 'session.started')"),
                         0);
        assert_int_equal(number(db, "SELECT count(*) FROM pragma_integrity_check"
                                    " WHERE integrity_check = 'ok'"),
                         1);
        sqlite3_close(db);
    }
}

static int setup_dir(void **state)
{
    struct fixture *f = kb_zalloc(sizeof *f);
    make_dir(f);
    *state = f;
    return 0;
}

static int teardown_dir(void **state)
{
    struct fixture *f = *state;
    kb_store_destroy(f->store);
    remove_dir(f);
    free(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kill, setup_dir, teardown_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
