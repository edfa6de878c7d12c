/* Sessions' ends, recovery after a start, and the audit: every field, filters, pages. */
#include "fixture.h"

static int setup_console(void **state)
{
    setup(state);
    sync_one(*state, "lab", "u1", "web1");
    return 0;
}

static struct kb_session_row start_session(struct fixture *f, const char *token)
{
    create_grant(f, grant_call(token), NULL);
    struct kb_store_redeem_grant r = redeem(f, token, "192.0.2.7");
    assert_int_equal(r.call.status, KB_STORE_OK);
    return r.session;
}

static void test_end_session(void **state)
{
    struct fixture *f = *state;
    struct kb_session_row s = start_session(f, "t1");
    test_now += 5000;
    assert_int_equal(end_session(f, s.id), KB_STORE_OK);
    struct kb_audit_event e = only_event(f, "session.ended");
    assert_string_equal(e.session_id, s.id);
    assert_string_equal(e.grant_id, s.grant_id);
    assert_string_equal(e.actor, "root");
    assert_string_equal(e.user, "alice");
    assert_string_equal(e.client_address, "192.0.2.7");
    assert_string_equal(e.source, "lab");
    assert_string_equal(e.console, "u1");
    assert_string_equal(e.console_name, "web1");
    assert_string_equal(e.reason, "terminated");
    assert_true(e.has_bytes);
    assert_int_equal(e.bytes_from_client, 11);
    assert_int_equal(e.bytes_from_server, 22);
    assert_int_equal(e.duration, 5000);
    assert_int_equal(end_session(f, s.id), KB_STORE_NOT_FOUND);
    assert_int_equal(end_session(f, "0123456789abcdef"), KB_STORE_NOT_FOUND);
    assert_int_equal(count_events(f, "session.ended"), 1);
}

static unsigned recover(struct fixture *f)
{
    struct kb_store_recover c = {.call.verb = KB_STORE_RECOVER};
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    return c.ended;
}

static void test_recover(void **state)
{
    struct fixture *f = *state;
    struct kb_session_row a = start_session(f, "t1"), b = start_session(f, "t2");
    assert_int_equal(end_session(f, a.id), KB_STORE_OK);
    kb_store_destroy(f->store);
    /* Another node's start does not end it. */
    char *error = NULL;
    f->store = kb_store_create("sqlite:k.db", f->dir, "node-2", &error);
    assert_non_null(f->store);
    kb_store_set_clock(f->store, test_clock);
    assert_int_equal(recover(f), 0);
    kb_store_destroy(f->store);
    open_store(f);
    assert_int_equal(recover(f), 1);
    struct kb_store_list_audit l = events(f, "session.ended");
    assert_int_equal(l.count, 2);
    assert_string_equal(l.rows[0].session_id, b.id);
    assert_string_equal(l.rows[0].reason, "node_restarted");
    assert_string_equal(l.rows[0].user, "alice");
    assert_false(l.rows[0].has_bytes);
    kb_store_list_audit_finish(&l);
    assert_int_equal(recover(f), 0);
    assert_int_equal(end_session(f, b.id), KB_STORE_NOT_FOUND);
}

static void test_every_field(void **state)
{
    struct fixture *f = *state;
    struct kb_audit_event in = {
        .event = "channel.closed",
        .time = 1234567890123,
        .node = "node-9",
        .request_id = "req",
        .session_id = "sess",
        .grant_id = "gran",
        .actor = "o'brien \"\\",
        .user = "al\nice\x01",
        .client_address = "2001:db8::1",
        .source = "lab",
        .console = "u1",
        .console_name = "given",
        .channel = "display:0",
        .reason = "client_closed",
        .detail = "bad \xff byte \xe2\x80\xae rtl",
        .has_bytes = true,
        .bytes_from_client = UINT64_C(1) << 62,
        .bytes_from_server = 7,
        .duration = 99,
    };
    kb_store_audit(f->store, &in);
    struct kb_audit_event out = only_event(f, "channel.closed");
    kb_copy_str(in.detail, sizeof in.detail, "bad \xef\xbf\xbd byte \xe2\x80\xae rtl");
#define SAME(field) assert_string_equal(out.field, in.field)
    SAME(event);
    SAME(node);
    SAME(request_id);
    SAME(session_id);
    SAME(grant_id);
    SAME(actor);
    SAME(user);
    SAME(client_address);
    SAME(source);
    SAME(console);
    SAME(console_name);
    SAME(channel);
    SAME(reason);
    SAME(detail);
    assert_int_equal(out.time, in.time);
    assert_true(out.has_bytes);
    assert_int_equal(out.bytes_from_client, in.bytes_from_client);
    assert_int_equal(out.bytes_from_server, in.bytes_from_server);
    assert_int_equal(out.duration, in.duration);
}

/* What the proxy does not know is looked up. */
static void test_filled_in(void **state)
{
    struct fixture *f = *state;
    struct kb_session_row s = start_session(f, "t1");
    struct kb_audit_event in = {.event = "channel.opened", .source = "lab", .console = "u1"};
    kb_copy_str(in.session_id, sizeof in.session_id, s.id);
    kb_store_audit(f->store, &in);
    struct kb_audit_event out = only_event(f, "channel.opened");
    assert_string_equal(out.user, "alice");
    assert_string_equal(out.console_name, "web1");
    assert_string_equal(out.node, "node-1");
    assert_int_equal(out.time, test_now);
    assert_false(out.has_bytes);

    in = (struct kb_audit_event){.event = "channel.refused"};
    kb_copy_str(in.grant_id, sizeof in.grant_id, s.grant_id);
    kb_store_audit(f->store, &in);
    out = only_event(f, "channel.refused");
    assert_string_equal(out.user, "alice");
}

static size_t count_filtered(struct fixture *f, struct kb_store_list_audit c)
{
    c.call.verb = KB_STORE_LIST_AUDIT;
    c.limit = 1000;
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    size_t n = c.count;
    kb_store_list_audit_finish(&c);
    return n;
}

static void test_filters(void **state)
{
    struct fixture *f = *state;
    const struct kb_audit_event some[] = {
        {.event = "login.ok", .time = 1000, .actor = "alice"},
        {.event = "login.failed", .time = 2000, .actor = "bob"},
        {.event = "session.terminated",
         .time = 3000,
         .actor = "op",
         .user = "alice",
         .source = "s2",
         .console = "x1",
         .console_name = "db"},
        {.event = "session.terminated",
         .time = 4000,
         .actor = "op",
         .user = "bob",
         .source = "s3",
         .console = "x1",
         .console_name = "other"},
    };
    for (size_t i = 0; i < 4; i++)
        kb_store_audit(f->store, &some[i]);
    count_events(f, "login.ok"); /* its ping: they are written */
    assert_int_equal(count_filtered(f, (struct kb_store_list_audit){.user = "alice"}), 2);
    assert_int_equal(count_filtered(f, (struct kb_store_list_audit){.user = "op"}), 2);
    assert_int_equal(count_filtered(f, (struct kb_store_list_audit){.user = "nobody"}), 0);
    assert_int_equal(count_filtered(f, (struct kb_store_list_audit){.source = "s2"}), 1);
    assert_int_equal(count_filtered(f, (struct kb_store_list_audit){.console = "x1"}), 2);
    assert_int_equal(count_filtered(f, (struct kb_store_list_audit){.console = "db"}), 1);
    assert_int_equal(
        count_filtered(f, (struct kb_store_list_audit){.console = "x1", .source = "s3"}), 1);
    assert_int_equal(count_filtered(f, (struct kb_store_list_audit){.event = "login.ok"}), 1);
    /* since is in, until is out */
    assert_int_equal(count_filtered(f, (struct kb_store_list_audit){.since = 2000, .until = 4000}),
                     2);
    assert_int_equal(
        count_filtered(f, (struct kb_store_list_audit){.user = "alice", .until = 3000}), 1);
    assert_int_equal(count_filtered(f, (struct kb_store_list_audit){.user = "x' OR '1'='1"}), 0);
}

static void test_pages(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 23 };
    for (int i = 0; i < COUNT; i++) {
        struct kb_audit_event e = {.event = "login.ok", .time = 5000 + i / 3};
        snprintf(e.detail, sizeof e.detail, "%d", i);
        kb_store_audit(f->store, &e);
    }
    count_events(f, "login.ok");
    struct kb_store_list_audit c = {
        .call.verb = KB_STORE_LIST_AUDIT, .event = "login.ok", .limit = 5};
    int expected = COUNT - 1;
    kb_auto_free char *next = NULL;
    do {
        c.after = next;
        assert_int_equal(RUN(f, c), KB_STORE_OK);
        for (size_t i = 0; i < c.count; i++) {
            char number[16];
            snprintf(number, sizeof number, "%d", expected--);
            assert_string_equal(c.rows[i].detail, number); /* newest first, also in a tie */
            assert_true(i == 0 || c.ids[i] < c.ids[i - 1]);
        }
        free(next);
        next = kb_strdup(c.next);
        kb_store_list_audit_finish(&c);
        kb_store_audit(f->store, &(struct kb_audit_event){.event = "login.ok", .detail = "new"});
    } while (next);
    assert_int_equal(expected, -1);
    c.after = "YQ";
    assert_int_equal(RUN(f, c), KB_STORE_NOT_FOUND);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_console, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_end_session), TEST(test_recover), TEST(test_every_field),
        TEST(test_filled_in),   TEST(test_filters), TEST(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
