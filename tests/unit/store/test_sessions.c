/* What stays of sessions: their channels, who ended them, whose console it was. And ids for one
 * use. */
#include "fixture.h"

#define DAY (INT64_C(24) * 3600 * 1000)

static int setup_console(void **state)
{
    setup(state);
    struct kb_console_row row = {.uuid = (char *)(uintptr_t) "u1",
                                 .name = (char *)(uintptr_t) "desk",
                                 .owner = (char *)(uintptr_t) "olga",
                                 .hypervisor = (char *)(uintptr_t) "hv1",
                                 .insecure_port = 5900};
    struct kb_store_sync_consoles c = {
        .call.verb = KB_STORE_SYNC_CONSOLES, .source = "lab", .rows = &row, .count = 1};
    assert_int_equal(RUN((struct fixture *)*state, c), KB_STORE_OK);
    return 0;
}

static struct kb_session_row start(struct fixture *f, const char *token)
{
    create_grant(f, grant_call(token), NULL);
    struct kb_store_redeem_grant r = redeem(f, token, "192.0.2.7");
    assert_int_equal(r.call.status, KB_STORE_OK);
    return r.session;
}

static struct kb_audit_event event_of(const char *name, const char *session_id)
{
    struct kb_audit_event e = {.source = "lab", .console = "u1", .has_bytes = true};
    kb_copy_str(e.event, sizeof e.event, name);
    kb_copy_str(e.session_id, sizeof e.session_id, session_id);
    return e;
}

static void close_channel(struct fixture *f, const char *session_id, uint8_t type, uint64_t bytes)
{
    struct kb_audit_event e = event_of("channel.closed", session_id);
    const struct kb_channel_row row = {.type = type,
                                       .id = 3,
                                       .opened_at = test_now - 1000,
                                       .closed_at = test_now,
                                       .reason = "client_closed",
                                       .bytes_from_client = bytes,
                                       .bytes_from_server = 2 * bytes,
                                       .messages_from_client = 4,
                                       .messages_from_server = 5};
    kb_store_audit_channel(f->store, &e, &row);
}

/* The record; to be finished. A ping first: events are only posted. */
static struct kb_store_get_session get(struct fixture *f, const char *id)
{
    struct kb_store_ping ping = {.call.verb = KB_STORE_PING};
    assert_int_equal(RUN(f, ping), KB_STORE_OK);
    struct kb_store_get_session c = {.call.verb = KB_STORE_GET_SESSION, .id = id};
    RUN(f, c);
    return c;
}

static void test_record(void **state)
{
    struct fixture *f = *state;
    struct kb_session_row s = start(f, "t");
    assert_string_equal(s.owner, "olga");
    close_channel(f, s.id, 2, 100);
    test_now += 1000;
    close_channel(f, s.id, 1, UINT64_C(5000000000));
    struct kb_store_get_session c = get(f, s.id);
    assert_int_equal(c.call.status, KB_STORE_OK);
    assert_int_equal(c.record.ended_at, 0);
    kb_session_record_finish(&c.record);
    assert_int_equal(end_session(f, s.id), KB_STORE_OK);
    c = get(f, s.id);
    const struct kb_session_record *r = &c.record;
    assert_int_equal(r->ended_at, test_now);
    assert_string_equal(r->session.id, s.id);
    assert_string_equal(r->session.grant_id, s.grant_id);
    assert_string_equal(r->session.console_name, "desk");
    assert_string_equal(r->session.user, "alice");
    assert_string_equal(r->session.owner, "olga");
    assert_string_equal(r->session.policy, "default");
    assert_string_equal(r->client_address, "192.0.2.7");
    assert_string_equal(r->reason, "terminated");
    assert_string_equal(r->ended_by, "root");
    assert_int_equal(r->bytes_from_client, 11);
    assert_int_equal(r->bytes_from_server, 22);
    assert_int_equal(r->termination.terminated_at, 0);
    assert_int_equal(r->channel_count, 2);
    assert_int_equal(r->channels[0].type, 2);
    assert_int_equal(r->channels[0].id, 3);
    assert_int_equal(r->channels[0].bytes_from_server, 200);
    assert_int_equal(r->channels[1].type, 1);
    assert_int_equal(r->channels[1].bytes_from_client, UINT64_C(5000000000));
    assert_int_equal(r->channels[1].opened_at, test_now - 1000);
    assert_int_equal(r->channels[1].closed_at, test_now);
    assert_int_equal(r->channels[1].messages_from_server, 5);
    assert_string_equal(r->channels[1].reason, "client_closed");
    kb_session_record_finish(&c.record);
    assert_int_equal(count_events(f, "channel.closed"), 2);
    struct kb_store_get_session none = get(f, "0000000000000000");
    assert_int_equal(none.call.status, KB_STORE_NOT_FOUND);
}

static void test_termination(void **state)
{
    struct fixture *f = *state;
    struct kb_session_row s = start(f, "t");
    struct kb_audit_event e = event_of("session.terminated", s.id);
    kb_copy_str(e.actor, sizeof e.actor, "apikey:nova");
    kb_copy_str(e.request_id, sizeof e.request_id, "0123456789abcdef");
    kb_copy_str(e.detail, sizeof e.detail, "noon");
    kb_store_audit_termination(f->store, &e, "fedcba9876543210");
    kb_copy_str(e.actor, sizeof e.actor, "too late");
    kb_store_audit_termination(f->store, &e, "");
    struct kb_store_get_session c = get(f, s.id);
    const struct kb_termination_row *t = &c.record.termination;
    assert_int_equal(t->terminated_at, test_now);
    assert_string_equal(t->actor, "apikey:nova");
    assert_string_equal(t->apikey_id, "fedcba9876543210");
    assert_string_equal(t->request_id, "0123456789abcdef");
    assert_string_equal(t->detail, "noon");
    kb_session_record_finish(&c.record);
    assert_int_equal(count_events(f, "session.terminated"), 2);
}

/* An event whose session the store does not have (another database was put in its place) is still
 * an event, and blocks nothing. */
static void test_unknown_session(void **state)
{
    struct fixture *f = *state;
    close_channel(f, "0000000000000000", 1, 1);
    struct kb_audit_event e = event_of("session.terminated", "0000000000000000");
    kb_store_audit_termination(f->store, &e, "");
    assert_int_equal(count_events(f, "channel.closed"), 1);
    assert_int_equal(count_events(f, "session.terminated"), 1);
}

static void test_many_channels(void **state)
{
    struct fixture *f = *state;
    struct kb_session_row s = start(f, "t");
    for (unsigned i = 0; i < KB_CHANNELS_SHOWN + 5; i++)
        close_channel(f, s.id, 2, i);
    struct kb_store_get_session c = get(f, s.id);
    assert_int_equal(c.record.channel_count, KB_CHANNELS_SHOWN);
    assert_int_equal(c.record.channels[0].bytes_from_client, 5);
    assert_int_equal(c.record.channels[KB_CHANNELS_SHOWN - 1].bytes_from_client,
                     KB_CHANNELS_SHOWN + 4);
    kb_session_record_finish(&c.record);
}

/* The owner of then: it stays when the console goes to somebody else, or goes. */
static void test_owner(void **state)
{
    struct fixture *f = *state;
    struct kb_session_row s = start(f, "t");
    assert_string_equal(only_event(f, "console.added").owner, "olga");
    assert_string_equal(only_event(f, "grant.created").owner, "olga");
    assert_string_equal(only_event(f, "session.started").owner, "olga");
    sync_one(f, "lab", "u1", "desk"); /* no owner any more */
    close_channel(f, s.id, 1, 1);
    assert_string_equal(only_event(f, "channel.closed").owner, "olga");
    assert_string_equal(only_event(f, "console.changed").owner, "");
    assert_int_equal(end_session(f, s.id), KB_STORE_OK);
    assert_string_equal(only_event(f, "session.ended").owner, "olga");
}

static void test_owner_of_gone(void **state)
{
    struct fixture *f = *state;
    create_grant(f, grant_call("unused"), NULL);
    struct kb_store_sync_consoles none = {.call.verb = KB_STORE_SYNC_CONSOLES, .source = "lab"};
    assert_int_equal(RUN(f, none), KB_STORE_OK);
    assert_string_equal(only_event(f, "console.removed").owner, "olga");
    assert_string_equal(only_event(f, "grant.revoked").owner, "olga");
}

static enum kb_store_status spend(struct fixture *f, const char *kind, const char *id)
{
    struct kb_store_spend_id c = {.call.verb = KB_STORE_SPEND_ID,
                                  .kind = kind,
                                  .hash = hash_of(id),
                                  .expires_at = test_now + DAY};
    return RUN(f, c);
}

static void test_spend(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(spend(f, "oidc", "a"), KB_STORE_OK);
    assert_int_equal(spend(f, "oidc", "a"), KB_STORE_CONFLICT);
    assert_int_equal(spend(f, "nova", "a"), KB_STORE_OK);
    assert_int_equal(spend(f, "oidc", "b"), KB_STORE_OK);
    /* It holds over a restart, and until the id has expired. */
    kb_store_destroy(f->store);
    open_store(f);
    test_now += DAY - 1;
    count_events(f, NULL);
    count_events(f, NULL);
    assert_int_equal(spend(f, "oidc", "a"), KB_STORE_CONFLICT);
    test_now += 61000;
    count_events(f, NULL);
    count_events(f, NULL);
    assert_int_equal(spend(f, "oidc", "a"), KB_STORE_OK);
}

static void *spend_many(void *arg)
{
    size_t won = 0;
    for (int i = 0; i < 200; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        won += spend(arg, "oidc", id) == KB_STORE_OK;
    }
    return (void *)won;
}

static void test_spend_at_once(void **state)
{
    pthread_t threads[4];
    size_t won = 0;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, spend_many, *state), 0);
    for (size_t i = 0; i < 4; i++) {
        void *mine;
        pthread_join(threads[i], &mine);
        won += (size_t)mine;
    }
    assert_int_equal(won, 200);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_console, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_record),        TEST(test_termination),   TEST(test_unknown_session),
        TEST(test_many_channels), TEST(test_owner),         TEST(test_owner_of_gone),
        TEST(test_spend),         TEST(test_spend_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
