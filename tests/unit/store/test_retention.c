/* What is old goes: audit events, ended sessions and their grants, some rows at a time, and nothing
 * that anybody still needs. */
#include "fixture.h"

#define DAY (INT64_C(24) * 3600 * 1000)

static int setup_console(void **state)
{
    setup(state);
    sync_one(*state, "lab", "u1", "desk");
    return 0;
}

/* The sweep comes after an answer, once a minute at most; a second answer says that it is over. */
static void sweep(struct fixture *f)
{
    test_now += 61000;
    count_events(f, NULL);
    count_events(f, NULL);
}

static int64_t count_rows(struct fixture *f, const char *table)
{
    kb_auto_free char *path = in_dir(f, "k.db");
    kb_auto_free char *sql = kb_printf("SELECT count(*) FROM %s", table);
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return n;
}

static void append(struct fixture *f, const char *event, size_t count)
{
    struct kb_audit_event e = {0};
    kb_copy_str(e.event, sizeof e.event, event);
    for (size_t i = 0; i < count; i++)
        kb_store_audit(f->store, &e);
    count_events(f, event);
}

static void test_audit(void **state)
{
    struct fixture *f = *state;
    append(f, "login.ok", 5);
    test_now += 40 * DAY;
    append(f, "login.failed", 3);
    sweep(f);
    assert_int_equal(count_events(f, "login.ok"), 5); /* for ever, until somebody says otherwise */
    kb_store_set_retention(f->store, 41 * DAY, 0);
    sweep(f);
    assert_int_equal(count_events(f, "login.ok"), 5);
    kb_store_set_retention(f->store, 40 * DAY, 0);
    sweep(f);
    assert_int_equal(count_events(f, "login.ok"), 0);
    assert_int_equal(count_events(f, "login.failed"), 3);
}

/* Many rows go in steps, each behind an answer. */
static void test_steps(void **state)
{
    struct fixture *f = *state;
    append(f, "login.ok", 1200);
    test_now += 2 * DAY;
    kb_store_set_retention(f->store, DAY, 0);
    int64_t before = count_rows(f, "audit");
    sweep(f); /* two answers, so one step for sure and two or three at most */
    int64_t after = count_rows(f, "audit");
    assert_true(after < before);
    assert_true(after >= before - 1500);
    for (int i = 0; i < 10; i++)
        count_events(f, NULL); /* no minute passes: the next step comes with the next call */
    assert_int_equal(count_events(f, "login.ok"), 0);
}

static void test_sessions(void **state)
{
    struct fixture *f = *state;
    char unused[KB_ID_SIZE];
    create_grant(f, grant_call("ended"), NULL);
    create_grant(f, grant_call("live"), NULL);
    create_grant(f, grant_call("unused"), unused);
    struct kb_store_redeem_grant ended = redeem(f, "ended", ""), live = redeem(f, "live", "");
    assert_int_equal(ended.call.status, KB_STORE_OK);
    assert_int_equal(live.call.status, KB_STORE_OK);
    struct kb_audit_event e = {.event = "channel.closed"};
    kb_copy_str(e.session_id, sizeof e.session_id, ended.session.id);
    kb_store_audit_channel(f->store, &e, &(struct kb_channel_row){.type = 1});
    kb_store_audit_termination(f->store, &e, "");
    assert_int_equal(end_session(f, ended.session.id), KB_STORE_OK);
    assert_int_equal(count_rows(f, "channels"), 1);
    assert_int_equal(count_rows(f, "terminations"), 1);
    kb_store_set_retention(f->store, 0, 30 * DAY);
    test_now += 29 * DAY;
    sweep(f);
    assert_int_equal(count_rows(f, "sessions"), 2);
    assert_int_equal(count_rows(f, "grants"), 3);
    test_now += 2 * DAY;
    sweep(f);
    /* The ended one and its grant, and the one that was never used. The live one stays whole. */
    assert_int_equal(count_rows(f, "sessions"), 1);
    assert_int_equal(count_rows(f, "channels"), 0);
    assert_int_equal(count_rows(f, "terminations"), 0);
    assert_int_equal(count_rows(f, "grants"), 1);
    assert_int_equal(end_session(f, live.session.id), KB_STORE_OK);
    sweep(f);
    assert_int_equal(count_rows(f, "sessions"), 1); /* its end is young */
    test_now += 31 * DAY;
    sweep(f);
    assert_int_equal(count_rows(f, "sessions"), 0);
    sweep(f);
    assert_int_equal(count_rows(f, "grants"), 0);
    /* What was said of them stays as long as the audit. */
    assert_int_equal(count_events(f, "session.ended"), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_console, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_audit),
        TEST(test_steps),
        TEST(test_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
