/* The plans of the long lists: whatever is asked for, an index finds it in the list's order. And
 * the two halves of audit's filters, which must find each row once. */
#include "fixture.h"

#include "store/sqlite_lists.h"

struct plan {
    sqlite3 *db;
    struct kb_buf text; /* a line a step */
};

static void fold(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3_result_value(context, values[0]);
}

static void open_plan(struct fixture *f, struct plan *p)
{
    kb_auto_free char *path = in_dir(f, "k.db");
    *p = (struct plan){0};
    assert_int_equal(sqlite3_open(path, &p->db), SQLITE_OK);
    sqlite3_create_function(p->db, "fold", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, fold, NULL,
                            NULL);
}

static void close_plan(struct plan *p)
{
    sqlite3_close(p->db);
    kb_buf_finish(&p->text);
}

/* The query is finished too. */
static const char *plan_of(struct plan *p, struct kb_query *q)
{
    sqlite3_stmt *st;
    kb_auto_free char *sql = kb_printf("EXPLAIN QUERY PLAN %s", (const char *)q->sql.data);
    if (sqlite3_prepare_v2(p->db, sql, -1, &st, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(p->db));
    assert_int_equal((size_t)sqlite3_bind_parameter_count(st), q->count);
    p->text.len = 0;
    while (sqlite3_step(st) == SQLITE_ROW)
        kb_buf_printf(&p->text, "%s\n", (const char *)sqlite3_column_text(st, 3));
    kb_buf_add(&p->text, "", 1);
    sqlite3_finalize(st);
    kb_query_finish(q);
    return (const char *)p->text.data;
}

static unsigned count_of(const char *text, const char *part)
{
    unsigned n = 0;
    for (; (text = strstr(text, part)); text++)
        n++;
    return n;
}

/* Each way into the table is one of these indexes (one or two), and nothing is sorted. */
static void assert_plan(struct plan *p, struct kb_query *q, const char *table, const char *how,
                        const char *first, const char *second)
{
    kb_auto_free char *sql = kb_strdup((const char *)q->sql.data);
    const char *plan = plan_of(p, q);
    kb_auto_free char *any_search = kb_printf("SEARCH %s ", table);
    kb_auto_free char *any_scan = kb_printf("SCAN %s", table);
    kb_auto_free char *one = kb_printf("%s %s USING INDEX %s", how, table, first);
    kb_auto_free char *two = kb_printf("%s %s USING INDEX %s", how, table, second ? second : "");
    unsigned wanted = count_of(plan, one) + (second ? count_of(plan, two) : 0);
    if (wanted != (second ? 2 : 1) ||
        count_of(plan, any_search) + count_of(plan, any_scan) != wanted || strstr(plan, "TEMP"))
        fail_msg("%s\nis planned as\n%s", sql, plan);
}

enum {
    SOURCE = 1,
    CONSOLE = 2,
    USER = 4,
    EVENT = 8,
    SINCE = 16,
    UNTIL = 32,
    AFTER = 64,
    ALL = 128
};

static void test_audit_plans(void **state)
{
    struct plan p;
    open_plan(*state, &p);
    for (unsigned with = 0; with < ALL; with++) {
        const struct kb_store_list_audit c = {
            .source = with & SOURCE ? "lab" : NULL,
            .console = with & CONSOLE ? "u1" : NULL,
            .user = with & USER ? "alice" : NULL,
            .event = with & EVENT ? "login.ok" : NULL,
            .since = with & SINCE ? 5 : 0,
            .until = with & UNTIL ? 9 : 0,
        };
        struct kb_cursor after = {0};
        if (with & AFTER)
            after = (struct kb_cursor){.parts = {kb_strdup("7"), kb_strdup("1")}};
        struct kb_query q;
        kb_query_audit(&q, &c, &after, 101);
        if (with & CONSOLE)
            assert_plan(&p, &q, "audit", "SEARCH", "audit_by_console (", "audit_by_console_name (");
        else if (with & USER)
            assert_plan(&p, &q, "audit", "SEARCH", "audit_by_user (", "audit_by_actor (");
        else if (with & EVENT)
            assert_plan(&p, &q, "audit", "SEARCH", "audit_by_event (", NULL);
        else if (with & SOURCE)
            assert_plan(&p, &q, "audit", "SEARCH", "audit_by_source (", NULL);
        else if (with)
            assert_plan(&p, &q, "audit", "SEARCH", "audit_by_time (", NULL);
        else /* the newest rows, until the page is full */
            assert_plan(&p, &q, "audit", "SCAN", "audit_by_time", NULL);
        kb_cursor_finish(&after);
    }
    close_plan(&p);
}

static void test_grant_plans(void **state)
{
    struct plan p;
    open_plan(*state, &p);
    for (unsigned with = 0; with < 4; with++) {
        const struct kb_store_list_grants c = {.created_by = with & 1 ? "alice" : NULL};
        struct kb_cursor after = {0};
        if (with & 2)
            after = (struct kb_cursor){.parts = {kb_strdup("7"), kb_strdup("x")}};
        struct kb_query q;
        kb_query_grants(&q, &c, &after, 101);
        assert_plan(&p, &q, "grants", with ? "SEARCH" : "SCAN",
                    with & 1 ? "grants_by_creator" : "grants_by_age", NULL);
        kb_cursor_finish(&after);
    }
    close_plan(&p);
}

/* A part of a name is looked for in all names, in order, until the page is full. */
static void test_console_plans(void **state)
{
    struct plan p;
    open_plan(*state, &p);
    for (unsigned with = 0; with < 8; with++) {
        const struct kb_store_list_consoles c = {.source = with & 1 ? "lab" : NULL,
                                                 .q = with & 2 ? "web" : NULL};
        struct kb_cursor after = {0};
        if (with & 4)
            after = (struct kb_cursor){.parts = {kb_strdup("a"), kb_strdup("b"), kb_strdup("c")}};
        struct kb_query q;
        kb_query_consoles(&q, &c, &after, 101);
        assert_plan(&p, &q, "c", with & 5 ? "SEARCH" : "SCAN",
                    with & 1 ? "consoles_by_source" : "consoles_by_name", NULL);
        kb_cursor_finish(&after);
    }
    close_plan(&p);
}

/* --- the halves ------------------------------------------------------------------------------- */

static void add(struct fixture *f, int64_t time, const char *actor, const char *user,
                const char *console, const char *name)
{
    struct kb_audit_event e = {.event = "made.up", .time = time, .source = "lab"};
    kb_copy_str(e.actor, sizeof e.actor, actor);
    kb_copy_str(e.user, sizeof e.user, user);
    kb_copy_str(e.console, sizeof e.console, console);
    kb_copy_str(e.console_name, sizeof e.console_name, name);
    kb_store_audit(f->store, &e);
}

/* The times of the rows, two a page, as "9 7 5". */
static char *times(struct fixture *f, const char *console, const char *user)
{
    struct kb_buf text = {0};
    kb_auto_free char *after = NULL;
    do {
        struct kb_store_list_audit c = {.call.verb = KB_STORE_LIST_AUDIT,
                                        .console = console,
                                        .user = user,
                                        .event = "made.up",
                                        .after = after,
                                        .limit = 2};
        assert_int_equal(RUN(f, c), KB_STORE_OK);
        for (size_t i = 0; i < c.count; i++)
            kb_buf_printf(&text, "%s%lld", text.len ? " " : "", (long long)c.rows[i].time);
        free(after);
        after = kb_strdup(c.next);
        kb_store_list_audit_finish(&c);
    } while (after);
    return kb_buf_steal(&text);
}

static void assert_times(struct fixture *f, const char *console, const char *user,
                         const char *wanted)
{
    kb_auto_free char *found = times(f, console, user);
    assert_string_equal(found, wanted);
}

static void test_each_row_once(void **state)
{
    struct fixture *f = *state;
    add(f, 1, "alice", "alice", "u1", "web");
    add(f, 2, "apikey:nova", "alice", "u2", "web");
    add(f, 3, "alice", "", "u1", "");
    add(f, 4, "alice", "bob", "web", "web");
    add(f, 5, "bob", "bob", "u3", "u1");
    add(f, 6, "", "", "", "");
    struct kb_store_ping ping = {.call.verb = KB_STORE_PING}; /* they are written */
    assert_int_equal(RUN(f, ping), KB_STORE_OK);
    assert_times(f, NULL, NULL, "6 5 4 3 2 1");
    assert_times(f, NULL, "alice", "4 3 2 1");
    assert_times(f, NULL, "bob", "5 4");
    assert_times(f, NULL, "apikey:nova", "2");
    assert_times(f, NULL, "nobody", "");
    assert_times(f, "u1", NULL, "5 3 1");
    assert_times(f, "web", NULL, "4 2 1");
    assert_times(f, "u1", "alice", "3 1");
    assert_times(f, "web", "bob", "4");
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_audit_plans),
        TEST(test_grant_plans),
        TEST(test_console_plans),
        TEST(test_each_row_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
