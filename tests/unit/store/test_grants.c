/* Grants: made, traded, redeemed, revoked, expired, and every reason why not. */
#include "fixture.h"

static int setup_console(void **state)
{
    setup(state);
    sync_one(*state, "lab", "u1", "web1");
    return 0;
}

static void test_redeem(void **state)
{
    struct fixture *f = *state;
    struct kb_store_create_grant g = grant_call("t1");
    g.policy = "strict";
    g.request_id = "req1";
    assert_int_equal(RUN(f, g), KB_STORE_OK);
    assert_string_equal(g.row.user, "alice");
    assert_string_equal(g.row.created_by, "broker");
    assert_string_equal(g.row.source, "lab");
    assert_string_equal(g.row.uuid, "u1");
    assert_string_equal(g.row.policy, "strict");
    assert_null(g.row.client_address);
    assert_int_equal(g.row.created_at, test_now);
    assert_int_equal(g.row.expires_at, test_now + 60000);
    assert_int_equal(g.row.redeemed_at, 0);
    assert_false(g.row.reusable);

    struct kb_audit_event e = only_event(f, "grant.created");
    assert_string_equal(e.actor, "broker");
    assert_string_equal(e.user, "alice");
    assert_string_equal(e.request_id, "req1");
    assert_string_equal(e.grant_id, g.row.id);
    assert_string_equal(e.console, "u1");
    assert_string_equal(e.console_name, "web1");
    assert_string_equal(e.node, "node-1");

    test_now += 60000; /* the last moment */
    struct kb_store_redeem_grant r = redeem(f, "t1", "192.0.2.7");
    assert_int_equal(r.call.status, KB_STORE_OK);
    assert_int_equal(r.reason, KB_REASON_NONE);
    assert_int_equal(strlen(r.session.id), KB_ID_SIZE - 1);
    assert_string_equal(r.session.grant_id, g.row.id);
    assert_string_equal(r.session.source, "lab");
    assert_string_equal(r.session.uuid, "u1");
    assert_string_equal(r.session.console_name, "web1");
    assert_string_equal(r.session.user, "alice");
    assert_string_equal(r.session.policy, "strict");
    assert_int_equal(r.session.started_at, test_now);
    assert_int_equal(r.session.max_session, 7200000);
    assert_int_equal(r.session.idle_timeout, 900000);
    e = only_event(f, "grant.redeemed");
    assert_string_equal(e.session_id, r.session.id);
    e = only_event(f, "session.started");
    assert_string_equal(e.session_id, r.session.id);
    assert_string_equal(e.actor, "alice");
    assert_string_equal(e.client_address, "192.0.2.7");
    assert_string_equal(e.console_name, "web1");
    assert_int_equal(e.time, test_now);

    /* Once is once. */
    assert_denied(f, "t1", "192.0.2.7", KB_REASON_TOKEN_USED);
    e = only_event(f, "grant.denied");
    assert_string_equal(e.reason, "token_used");
    assert_string_equal(e.grant_id, g.row.id);
    assert_string_equal(e.user, "alice");
    assert_string_equal(e.client_address, "192.0.2.7");
    assert_int_equal(count_events(f, "session.started"), 1);
    kb_grant_row_finish(&g.row);
}

static void test_policy_default(void **state)
{
    struct fixture *f = *state;
    create_grant(f, grant_call("t1"), NULL);
    assert_string_equal(redeem(f, "t1", "").session.policy, "default");
}

static void test_reusable(void **state)
{
    struct fixture *f = *state;
    struct kb_store_create_grant g = grant_call("t1");
    g.reusable = true;
    create_grant(f, g, NULL);
    struct kb_store_redeem_grant a = redeem(f, "t1", "192.0.2.7");
    struct kb_store_redeem_grant b = redeem(f, "t1", "192.0.2.7");
    assert_int_equal(a.call.status, KB_STORE_OK);
    assert_int_equal(b.call.status, KB_STORE_OK);
    assert_string_not_equal(a.session.id, b.session.id);
    test_now += 60001;
    assert_denied(f, "t1", "192.0.2.7", KB_REASON_TOKEN_EXPIRED);
}

static void redeem_within(struct fixture *f, const char *token, const char *address,
                          unsigned user_sessions, unsigned address_sessions,
                          enum kb_reason expected, struct kb_store_redeem_grant *c)
{
    *c = (struct kb_store_redeem_grant){.call.verb = KB_STORE_REDEEM_GRANT,
                                        .token_hash = hash_of(token),
                                        .user_sessions = user_sessions,
                                        .address_sessions = address_sessions};
    kb_copy_str(c->client_address, sizeof c->client_address, address);
    RUN(f, *c);
    assert_string_equal(kb_reason_name(c->reason), kb_reason_name(expected));
    assert_int_equal(c->call.status, expected == KB_REASON_NONE ? KB_STORE_OK : KB_STORE_DENIED);
}

static void test_sessions_of_a_user(void **state)
{
    struct fixture *f = *state;
    struct kb_store_redeem_grant first, c;
    struct kb_store_create_grant g = grant_call("t1");
    g.reusable = true;
    create_grant(f, g, NULL);
    create_grant(f, grant_call("t2"), NULL);
    g = grant_call("other");
    g.user = "somebody else";
    create_grant(f, g, NULL);
    redeem_within(f, "t1", "192.0.2.7", 2, 0, KB_REASON_NONE, &first);
    redeem_within(f, "t1", "192.0.2.8", 2, 0, KB_REASON_NONE, &c);
    redeem_within(f, "t1", "192.0.2.9", 2, 0, KB_REASON_USER_SESSIONS, &c);
    struct kb_audit_event e = only_event(f, "grant.denied");
    assert_string_equal(e.reason, "user_sessions");
    assert_string_equal(e.client_address, "192.0.2.9");
    assert_string_equal(e.source, "lab");
    redeem_within(f, "other", "192.0.2.9", 2, 0, KB_REASON_NONE, &c);
    /* The grant that was refused has lost nothing: it starts its session when one has ended. */
    redeem_within(f, "t2", "192.0.2.9", 2, 0, KB_REASON_USER_SESSIONS, &c);
    assert_int_equal(end_session(f, first.session.id), KB_STORE_OK);
    redeem_within(f, "t2", "192.0.2.9", 2, 0, KB_REASON_NONE, &c);
    redeem_within(f, "t2", "192.0.2.9", 2, 0, KB_REASON_TOKEN_USED,
                  &c); /* the first that is wrong */
    redeem_within(f, "t1", "192.0.2.9", 0, 0, KB_REASON_NONE, &c);
}

static void test_sessions_of_an_address(void **state)
{
    struct fixture *f = *state;
    struct kb_store_redeem_grant c;
    struct kb_store_create_grant g = grant_call("t1");
    g.reusable = true;
    create_grant(f, g, NULL);
    redeem_within(f, "t1", "192.0.2.7", 0, 1, KB_REASON_NONE, &c);
    redeem_within(f, "t1", "::ffff:192.0.2.7", 0, 1, KB_REASON_ADDRESS_SESSIONS, &c);
    redeem_within(f, "t1", "192.0.2.8", 0, 1, KB_REASON_NONE, &c);
    /* Of IPv6 one customer has a whole /64. */
    redeem_within(f, "t1", "2001:db8::1", 0, 1, KB_REASON_NONE, &c);
    redeem_within(f, "t1", "2001:db8::ffff:1", 0, 1, KB_REASON_ADDRESS_SESSIONS, &c);
    redeem_within(f, "t1", "2001:db8:0:1::1", 0, 1, KB_REASON_NONE, &c);
    redeem_within(f, "t1", "192.0.2.7", 1, 1, KB_REASON_USER_SESSIONS, &c);
}

static void test_reasons(void **state)
{
    struct fixture *f = *state;
    assert_denied(f, "nobody's", "192.0.2.7", KB_REASON_TOKEN_UNKNOWN);
    struct kb_audit_event e = only_event(f, "grant.denied");
    assert_string_equal(e.reason, "token_unknown");
    assert_string_equal(e.grant_id, "");
    assert_string_equal(e.client_address, "192.0.2.7");

    char id[KB_ID_SIZE];
    create_grant(f, grant_call("revoked"), id);
    struct kb_store_revoke_grant rv = {
        .call.verb = KB_STORE_REVOKE_GRANT, .id = id, .actor = "op", .request_id = "req2"};
    assert_int_equal(RUN(f, rv), KB_STORE_OK);
    e = only_event(f, "grant.revoked");
    assert_string_equal(e.actor, "op");
    assert_string_equal(e.request_id, "req2");
    assert_string_equal(e.grant_id, id);
    assert_denied(f, "revoked", "", KB_REASON_TOKEN_REVOKED);

    struct kb_store_create_grant g = grant_call("pinned");
    g.client_address = "192.0.2.7";
    create_grant(f, g, NULL);
    assert_denied(f, "pinned", "192.0.2.8", KB_REASON_TOKEN_ADDRESS);
    assert_denied(f, "pinned", "", KB_REASON_TOKEN_ADDRESS);
    assert_int_equal(redeem(f, "pinned", "::ffff:192.0.2.7").call.status, KB_STORE_OK);

    g = grant_call("pinned6");
    g.client_address = "2001:DB8:0:0::1";
    create_grant(f, g, NULL);
    assert_int_equal(redeem(f, "pinned6", "2001:db8::1").call.status, KB_STORE_OK);

    create_grant(f, grant_call("late"), NULL);
    test_now += 60001;
    assert_denied(f, "late", "", KB_REASON_TOKEN_EXPIRED);
}

static void test_conflict_and_no_console(void **state)
{
    struct fixture *f = *state;
    create_grant(f, grant_call("t1"), NULL);
    struct kb_store_create_grant again = grant_call("t1");
    assert_int_equal(RUN(f, again), KB_STORE_CONFLICT);
    assert_null(again.row.user);
    struct kb_store_create_grant other = grant_call("t2");
    other.uuid = "u2";
    assert_int_equal(RUN(f, other), KB_STORE_NOT_FOUND);
    assert_int_equal(count_events(f, "grant.created"), 1);
    assert_denied(f, "t2", "", KB_REASON_TOKEN_UNKNOWN);
}

/* A console that goes takes what could still be opened with it, and nothing else. */
static void test_console_gone(void **state)
{
    struct fixture *f = *state;
    create_grant(f, grant_call("open"), NULL);
    create_grant(f, grant_call("live"), NULL);
    struct kb_store_create_grant g = grant_call("reusable");
    g.reusable = true;
    create_grant(f, g, NULL);
    struct kb_store_redeem_grant live = redeem(f, "live", "");
    assert_int_equal(redeem(f, "reusable", "").call.status, KB_STORE_OK);
    sync_one(f, "lab", "u9", "other");
    assert_denied(f, "open", "", KB_REASON_TOKEN_REVOKED);
    assert_denied(f, "reusable", "", KB_REASON_CONSOLE_GONE);
    struct kb_audit_event e = only_event(f, "grant.revoked");
    assert_string_equal(e.reason, "console_gone");
    assert_int_equal(end_session(f, live.session.id), KB_STORE_OK);
}

static struct kb_store_exchange_grant exchange(struct fixture *f, const char *token,
                                               const char *console_token, bool look_only)
{
    struct kb_store_exchange_grant c = {
        .call.verb = KB_STORE_EXCHANGE_GRANT,
        .exchange_hash = hash_of(token),
        .token_hash = hash_of(console_token),
        .client_address = "192.0.2.7",
        .request_id = "req3",
        .look_only = look_only,
    };
    RUN(f, c);
    return c;
}

static void exchange_finish(struct kb_store_exchange_grant *c)
{
    kb_grant_row_finish(&c->row);
    kb_console_row_finish(&c->console);
}

static void assert_no_exchange(struct fixture *f, const char *token, enum kb_reason reason)
{
    for (int look_only = 1; look_only >= 0; look_only--) {
        struct kb_store_exchange_grant c = exchange(f, token, "console", look_only);
        assert_int_equal(c.call.status, KB_STORE_DENIED);
        assert_string_equal(kb_reason_name(c.reason), kb_reason_name(reason));
        assert_null(c.row.user);
        assert_null(c.console.name);
    }
}

static void test_exchange(void **state)
{
    struct fixture *f = *state;
    struct kb_store_create_grant g = grant_call("x1");
    g.exchange = true;
    assert_int_equal(RUN(f, g), KB_STORE_OK);
    assert_int_equal(g.row.expires_at, test_now + 300000);
    kb_grant_row_finish(&g.row);
    /* It is not a console token. */
    assert_denied(f, "x1", "192.0.2.7", KB_REASON_TOKEN_UNKNOWN);

    for (int i = 0; i < 3; i++) {
        struct kb_store_exchange_grant look = exchange(f, "x1", "c1", true);
        assert_int_equal(look.call.status, KB_STORE_OK);
        assert_string_equal(look.row.user, "alice");
        assert_string_equal(look.console.name, "web1");
        exchange_finish(&look);
    }
    assert_denied(f, "c1", "192.0.2.7", KB_REASON_TOKEN_UNKNOWN);
    assert_int_equal(count_events(f, "grant.exchanged"), 0);

    test_now += 300000;
    struct kb_store_exchange_grant c = exchange(f, "x1", "c1", false);
    assert_int_equal(c.call.status, KB_STORE_OK);
    assert_int_equal(c.row.expires_at, test_now + 60000);
    assert_string_equal(c.console.name, "web1");
    assert_string_equal(c.console.hypervisor, "hv1");
    exchange_finish(&c);
    struct kb_audit_event e = only_event(f, "grant.exchanged");
    assert_string_equal(e.client_address, "192.0.2.7");
    assert_string_equal(e.request_id, "req3");

    size_t denied = count_events(f, "grant.denied");
    assert_no_exchange(f, "x1", KB_REASON_TOKEN_USED);
    assert_int_equal(count_events(f, "grant.denied"), denied + 1); /* looking is not audited */

    test_now += 60000;
    assert_int_equal(redeem(f, "c1", "192.0.2.7").call.status, KB_STORE_OK);
}

static void test_exchange_reasons(void **state)
{
    struct fixture *f = *state;
    char id[KB_ID_SIZE];
    assert_no_exchange(f, "nobody's", KB_REASON_TOKEN_UNKNOWN);

    struct kb_store_create_grant g = grant_call("pinned");
    g.exchange = true;
    g.client_address = "192.0.2.9";
    create_grant(f, g, NULL);
    assert_no_exchange(f, "pinned", KB_REASON_TOKEN_ADDRESS);

    g = grant_call("revoked");
    g.exchange = true;
    create_grant(f, g, id);
    struct kb_store_revoke_grant rv = {.call.verb = KB_STORE_REVOKE_GRANT, .id = id, .actor = "op"};
    assert_int_equal(RUN(f, rv), KB_STORE_OK);
    assert_no_exchange(f, "revoked", KB_REASON_TOKEN_REVOKED);

    g = grant_call("late");
    g.exchange = true;
    create_grant(f, g, NULL);
    test_now += 300001;
    assert_no_exchange(f, "late", KB_REASON_TOKEN_EXPIRED);
}

static void test_explain(void **state)
{
    struct fixture *f = *state;
    char id[KB_ID_SIZE];
    create_grant(f, grant_call("t1"), id);
    struct kb_store_explain_token c = {.call.verb = KB_STORE_EXPLAIN_TOKEN,
                                       .token_hash = hash_of("t1")};
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    assert_int_equal(c.reason, KB_REASON_CONNECTION_ID);
    assert_string_equal(c.grant_id, id);
    assert_int_equal(redeem(f, "t1", "").call.status, KB_STORE_OK); /* it had changed nothing */
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    assert_int_equal(c.reason, KB_REASON_TOKEN_USED);

    create_grant(f, grant_call("t2"), id);
    test_now += 60001;
    c.token_hash = hash_of("t2");
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    assert_int_equal(c.reason, KB_REASON_TOKEN_EXPIRED);

    struct kb_store_revoke_grant rv = {.call.verb = KB_STORE_REVOKE_GRANT, .id = id, .actor = "op"};
    assert_int_equal(RUN(f, rv), KB_STORE_OK);
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    assert_int_equal(c.reason, KB_REASON_TOKEN_REVOKED);

    c.token_hash = hash_of("nobody's");
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    assert_int_equal(c.reason, KB_REASON_TOKEN_UNKNOWN);
    assert_string_equal(c.grant_id, "");
    assert_int_equal(count_events(f, "grant.denied"), 0);
}

static void test_revoke(void **state)
{
    struct fixture *f = *state;
    char id[KB_ID_SIZE];
    create_grant(f, grant_call("t1"), id);
    struct kb_store_revoke_grant c = {
        .call.verb = KB_STORE_REVOKE_GRANT, .id = id, .created_by = "other", .actor = "other"};
    assert_int_equal(RUN(f, c), KB_STORE_NOT_FOUND);
    c.created_by = "broker";
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    assert_int_equal(RUN(f, c), KB_STORE_NOT_FOUND);
    c.created_by = NULL;
    c.id = "0000000000000000";
    assert_int_equal(RUN(f, c), KB_STORE_NOT_FOUND);
    assert_int_equal(count_events(f, "grant.revoked"), 1);
}

static void test_list(void **state)
{
    struct fixture *f = *state;
    char ids[7][KB_ID_SIZE];
    for (int i = 0; i < 7; i++) {
        struct kb_store_create_grant g = grant_call((char[]){(char)('a' + i), 0});
        if (i == 6)
            g.created_by = "other";
        create_grant(f, g, ids[i]);
        test_now += i % 2; /* some at the same millisecond */
    }
    struct kb_store_list_grants c = {
        .call.verb = KB_STORE_LIST_GRANTS, .created_by = "broker", .limit = 2};
    int seen[7] = {0}, pages = 0;
    int64_t last = INT64_MAX;
    kb_auto_free char *next = NULL;
    do {
        c.after = next;
        assert_int_equal(RUN(f, c), KB_STORE_OK);
        assert_true(c.count <= 2);
        for (size_t i = 0; i < c.count; i++) {
            assert_true(c.rows[i].created_at <= last);
            last = c.rows[i].created_at;
            for (int k = 0; k < 7; k++)
                seen[k] += strcmp(c.rows[i].id, ids[k]) == 0;
        }
        free(next);
        next = kb_strdup(c.next);
        kb_store_list_grants_finish(&c);
        /* A newer one must not shift the pages. */
        test_now++;
        create_grant(f, grant_call((char[]){'n', (char)('0' + pages++), 0}), NULL);
    } while (next);
    for (int k = 0; k < 7; k++)
        assert_int_equal(seen[k], k < 6);
    assert_int_equal(pages, 3);
    c.after = "not a cursor";
    assert_int_equal(RUN(f, c), KB_STORE_NOT_FOUND);
}

/* Unused grants are audited once when their time is over; the sweep comes with the next call. */
static void test_expiry_is_audited(void **state)
{
    struct fixture *f = *state;
    struct kb_store_create_grant g = grant_call("x");
    g.exchange = true;
    create_grant(f, g, NULL);
    create_grant(f, grant_call("used"), NULL);
    assert_int_equal(redeem(f, "used", "").call.status, KB_STORE_OK);
    char id[KB_ID_SIZE];
    create_grant(f, grant_call("late"), id);
    test_now += 61000;
    count_events(f, NULL); /* its ping is the call; the sweep runs after the answer */
    struct kb_audit_event e = only_event(f, "grant.expired");
    assert_string_equal(e.grant_id, id);
    assert_string_equal(e.user, "alice");
    assert_string_equal(e.reason, "token_expired");
    test_now += 300000;
    count_events(f, NULL);
    assert_int_equal(count_events(f, "grant.expired"), 2);
    test_now += 300000;
    count_events(f, NULL);
    assert_int_equal(count_events(f, "grant.expired"), 2);
}

/* A list of policies that does not fit a session must not become a shorter one. */
static void test_too_many_policies(void **state)
{
    struct fixture *f = *state;
    char names[KB_POLICY_NAMES_MAX + 1];
    for (size_t cut = 0; cut < 2; cut++) {
        size_t len = KB_POLICY_NAMES_MAX - cut;
        memset(names, 'p', len);
        names[len] = '\0';
        struct kb_store_create_grant g = grant_call(cut ? "fits" : "long");
        g.policy = names;
        create_grant(f, g, NULL);
        struct kb_store_redeem_grant r = redeem(f, cut ? "fits" : "long", "192.0.2.7");
        assert_int_equal(r.call.status, KB_STORE_OK);
        assert_string_equal(r.session.policy, cut ? names : "?");
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_console, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_sessions_of_a_user),
        TEST(test_sessions_of_an_address),
        TEST(test_redeem),
        TEST(test_too_many_policies),
        TEST(test_policy_default),
        TEST(test_reusable),
        TEST(test_reasons),
        TEST(test_conflict_and_no_console),
        TEST(test_console_gone),
        TEST(test_exchange),
        TEST(test_exchange_reasons),
        TEST(test_explain),
        TEST(test_revoke),
        TEST(test_list),
        TEST(test_expiry_is_audited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
