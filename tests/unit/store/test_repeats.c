/* Refusals that are repeated: one event at once, one for the rest, nothing lost at the end. */
#include "fixture.h"

#include "store/repeats.h"

static struct kb_audit_event refusal(const char *address, const char *reason)
{
    struct kb_audit_event e = {.event = "channel.refused"};
    kb_copy_str(e.client_address, sizeof e.client_address, address);
    kb_copy_str(e.reason, sizeof e.reason, reason);
    return e;
}

static bool hold(struct kb_repeats *r, const char *address, const char *reason, int64_t now)
{
    struct kb_audit_event e = refusal(address, reason);
    return kb_repeats_hold(r, &e, now);
}

static void assert_takes(struct kb_repeats *r, int64_t now, bool any, unsigned count)
{
    struct kb_audit_event *e = kb_repeats_take(r, now, any);
    assert_int_equal(e ? e->count : 0, count);
    free(e);
}

static int setup_repeats(void **state)
{
    assert_true(kb_secret_start());
    *state = kb_zalloc(sizeof(struct kb_repeats));
    kb_repeats_init(*state);
    return 0;
}

static int teardown_repeats(void **state)
{
    kb_repeats_finish(*state);
    free(*state);
    return 0;
}

static void test_count(void **state)
{
    struct kb_repeats *r = *state;
    assert_false(kb_repeats_open(r));
    assert_false(hold(r, "192.0.2.1", "token_unknown", 1000));
    assert_true(kb_repeats_open(r));
    for (int i = 0; i < 5; i++)
        assert_true(hold(r, "192.0.2.1", "token_unknown", 1001 + i));
    assert_false(hold(r, "192.0.2.2", "token_unknown", 1001));
    assert_false(hold(r, "192.0.2.1", "token_expired", 1001));
    assert_takes(r, 10999, false, 0);
    assert_takes(r, 11000, false, 5);
    /* The next ten seconds have begun with that. */
    assert_takes(r, 11000, false, 0);
    assert_true(hold(r, "192.0.2.1", "token_unknown", 11001));
    assert_takes(r, 21000, false, 1);
    assert_takes(r, 31000, false, 0);
    assert_false(kb_repeats_open(r));
    assert_false(hold(r, "192.0.2.1", "token_unknown", 31000));
}

/* The time of a count may be over long before somebody takes it. */
static void test_late(void **state)
{
    struct kb_repeats *r = *state;
    assert_false(hold(r, "192.0.2.1", "token_unknown", 1000));
    assert_true(hold(r, "192.0.2.1", "token_unknown", 2000));
    assert_true(hold(r, "192.0.2.1", "token_unknown", 90000));
    assert_takes(r, 90000, false, 2);
}

/* A wall clock that is set back does not keep what was counted for hours. */
static void test_clock_set_back(void **state)
{
    struct kb_repeats *r = *state;
    assert_false(hold(r, "192.0.2.1", "token_unknown", 9000000));
    assert_true(hold(r, "192.0.2.1", "token_unknown", 9000001));
    assert_takes(r, 1000, false, 1);
    assert_true(hold(r, "192.0.2.1", "token_unknown", 1001));
    assert_takes(r, 1002, true, 1);
}

static void test_who_is_the_same(void **state)
{
    struct kb_repeats *r = *state;
    assert_false(hold(r, "2001:db8::1", "token_unknown", 1000));
    assert_true(hold(r, "2001:db8::2", "token_unknown", 1000));
    assert_false(hold(r, "2001:db8:0:1::1", "token_unknown", 1000));
    struct kb_audit_event e = refusal("2001:db8::1", "token_unknown");
    kb_copy_str(e.grant_id, sizeof e.grant_id, "g1");
    assert_false(kb_repeats_hold(r, &e, 1000));
    kb_copy_str(e.channel, sizeof e.channel, "display:0");
    assert_true(kb_repeats_hold(r, &e, 1000));
    kb_copy_str(e.console, sizeof e.console, "u1");
    assert_false(kb_repeats_hold(r, &e, 1000));
    /* Nothing else is ever held. */
    kb_copy_str(e.event, sizeof e.event, "session.ended");
    assert_false(kb_repeats_hold(r, &e, 1000));
    assert_false(kb_repeats_hold(r, &e, 1000));
}

/* However many there are: none is lost, memory stays. */
static void test_many(void **state)
{
    struct kb_repeats *r = *state;
    const unsigned all = 3 * KB_REPEATS_ROWS * KB_REPEATS_WAYS;
    unsigned found = 0;
    char address[32];
    for (unsigned i = 0; i < 2 * all; i++) {
        snprintf(address, sizeof address, "192.%u.%u.1", (i / 2) / 256, (i / 2) % 256);
        found += !hold(r, address, "token_unknown", 1000);
    }
    for (struct kb_audit_event *e; (e = kb_repeats_take(r, 1000, true));) {
        found += e->count;
        free(e);
    }
    assert_int_equal(found, 2 * all);
}

/* --- in the store ----------------------------------------------------------------------------- */

static void assert_counts(struct fixture *f, const char *event, const unsigned *counts, size_t n)
{
    struct kb_store_list_audit c = events(f, event);
    assert_int_equal(c.count, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(c.rows[i].count, counts[i]);
    kb_store_list_audit_finish(&c);
}

/* Wrong tokens, which the store itself audits, and what others do. */
static void test_flood(void **state)
{
    struct fixture *f = *state;
    struct kb_audit_event e = refusal("192.0.2.9", "not_spice");
    for (int i = 0; i < 100; i++) {
        assert_denied(f, "wrong", "192.0.2.7", KB_REASON_TOKEN_UNKNOWN);
        kb_store_audit(f->store, &e);
    }
    assert_denied(f, "wrong", "192.0.2.8", KB_REASON_TOKEN_UNKNOWN);
    assert_counts(f, "grant.denied", (const unsigned[]){1, 1}, 2);
    assert_counts(f, "channel.refused", (const unsigned[]){1}, 1);
    test_now += KB_REPEATS_MS;
    /* The first call after that lets the writing thread see what is due, the second waits. */
    for (int i = 0; i < 2; i++)
        count_events(f, "grant.denied");
    assert_counts(f, "grant.denied", (const unsigned[]){99, 1, 1}, 3);
    assert_counts(f, "channel.refused", (const unsigned[]){99, 1}, 2);
    struct kb_store_list_audit c = events(f, "grant.denied");
    assert_string_equal(c.rows[0].client_address, "192.0.2.7");
    assert_string_equal(c.rows[0].reason, "token_unknown");
    assert_string_equal(c.rows[0].detail, "99 more like it");
    assert_int_equal(c.rows[0].time, test_now);
    kb_store_list_audit_finish(&c);
}

/* Nobody has to call for them, and none waits for its time when the store is closed. */
static void test_nobody_calls(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++)
        assert_denied(f, "wrong", "192.0.2.7", KB_REASON_TOKEN_UNKNOWN);
    kb_store_destroy(f->store);
    open_store(f);
    assert_counts(f, "grant.denied", (const unsigned[]){4, 1}, 2);
    assert_denied(f, "wrong", "192.0.2.7", KB_REASON_TOKEN_UNKNOWN);
    assert_denied(f, "wrong", "192.0.2.7", KB_REASON_TOKEN_UNKNOWN);
    test_now += KB_REPEATS_MS;
    struct kb_store_list_audit c = {.count = 0};
    for (int i = 0; i < 600 && c.count < 4; i++) { /* a read wakes only the reading thread */
        const struct timespec pause = {.tv_nsec = 50000000};
        nanosleep(&pause, NULL);
        c = (struct kb_store_list_audit){
            .call.verb = KB_STORE_LIST_AUDIT, .event = "grant.denied", .limit = 100};
        assert_int_equal(RUN(f, c), KB_STORE_OK);
        size_t count = c.count;
        kb_store_list_audit_finish(&c);
        c.count = count;
    }
    assert_int_equal(c.count, 4);
}

int main(void)
{
#define PURE(t) cmocka_unit_test_setup_teardown(t, setup_repeats, teardown_repeats)
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        PURE(test_count), PURE(test_late),  PURE(test_clock_set_back), PURE(test_who_is_the_same),
        PURE(test_many),  TEST(test_flood), TEST(test_nobody_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
