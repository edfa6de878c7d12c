/* Many threads at once: one token has one winner, answers come to the mailbox that was named and in
 * the order of the posts, and an end answers what was posted. */
#include "fixture.h"

#include "store/repeats.h"

static int setup_console(void **state)
{
    setup(state);
    sync_one(*state, "lab", "u1", "web1");
    return 0;
}

enum { RACERS = 8, ROUNDS = 25 };

struct race {
    struct fixture *f;
    pthread_barrier_t start;
    const char *token;
    bool exchange;
    atomic_uint won, used;
};

static void *racer(void *arg)
{
    struct race *r = arg;
    pthread_barrier_wait(&r->start);
    enum kb_store_status status;
    enum kb_reason reason;
    if (r->exchange) {
        char mine[KB_TOKEN_SIZE];
        kb_token_create(mine);
        struct kb_store_exchange_grant c = {.call.verb = KB_STORE_EXCHANGE_GRANT,
                                            .exchange_hash = hash_of(r->token),
                                            .token_hash = hash_of(mine),
                                            .client_address = "192.0.2.7"};
        status = RUN(r->f, c);
        reason = c.reason;
        kb_grant_row_finish(&c.row);
        kb_console_row_finish(&c.console);
    } else {
        struct kb_store_redeem_grant c = redeem(r->f, r->token, "192.0.2.7");
        status = c.call.status;
        reason = c.reason;
    }
    if (status == KB_STORE_OK)
        atomic_fetch_add(&r->won, 1);
    if (status == KB_STORE_DENIED && reason == KB_REASON_TOKEN_USED)
        atomic_fetch_add(&r->used, 1);
    return NULL;
}

/* Those that were counted into one event too; it comes when their ten seconds are over. */
static unsigned denied_in_all(struct fixture *f)
{
    unsigned n = 0;
    test_now += KB_REPEATS_MS;
    count_events(f, "grant.denied"); /* lets the writing thread see that they are */
    struct kb_store_list_audit c = events(f, "grant.denied");
    for (size_t i = 0; i < c.count; i++)
        n += c.rows[i].count;
    kb_store_list_audit_finish(&c);
    return n;
}

static void race(struct fixture *f, bool exchange)
{
    for (int i = 0; i < ROUNDS; i++) {
        char token[16];
        snprintf(token, sizeof token, "t%d", i);
        struct kb_store_create_grant g = grant_call(token);
        g.exchange = exchange;
        create_grant(f, g, NULL);
        struct race r = {.f = f, .token = token, .exchange = exchange};
        pthread_barrier_init(&r.start, NULL, RACERS);
        pthread_t threads[RACERS];
        for (int k = 0; k < RACERS; k++)
            assert_int_equal(pthread_create(&threads[k], NULL, racer, &r), 0);
        for (int k = 0; k < RACERS; k++)
            pthread_join(threads[k], NULL);
        pthread_barrier_destroy(&r.start);
        assert_int_equal(atomic_load(&r.won), 1);
        assert_int_equal(atomic_load(&r.used), RACERS - 1);
    }
    assert_int_equal(count_events(f, exchange ? "grant.exchanged" : "session.started"), ROUNDS);
    assert_int_equal(denied_in_all(f), ROUNDS * (RACERS - 1));
}

static void test_one_redeems(void **state)
{
    race(*state, false);
}

static void test_one_exchanges(void **state)
{
    race(*state, true);
}

/* Two processes on one file: the second connection is another node's, the rule is the same. */
static void test_two_stores(void **state)
{
    struct fixture *f = *state;
    struct fixture other = *f;
    char *error = NULL;
    other.store = kb_store_create("sqlite:k.db", f->dir, "node-2", &error);
    assert_non_null(other.store);
    kb_store_set_clock(other.store, test_clock);
    for (int i = 0; i < ROUNDS; i++) {
        char token[16];
        snprintf(token, sizeof token, "t%d", i);
        create_grant(f, grant_call(token), NULL);
        struct race a = {.f = f, .token = token}, b = {.f = &other, .token = token};
        pthread_barrier_init(&a.start, NULL, 1);
        pthread_barrier_init(&b.start, NULL, 1);
        pthread_t ta, tb;
        assert_int_equal(pthread_create(&ta, NULL, racer, &a), 0);
        assert_int_equal(pthread_create(&tb, NULL, racer, &b), 0);
        pthread_join(ta, NULL);
        pthread_join(tb, NULL);
        pthread_barrier_destroy(&a.start);
        pthread_barrier_destroy(&b.start);
        assert_int_equal(atomic_load(&a.won) + atomic_load(&b.won), 1);
        assert_int_equal(atomic_load(&a.used) + atomic_load(&b.used), 1);
    }
    kb_store_destroy(other.store);
}

/* --- posted calls ----------------------------------------------------------------------------- */

enum { POSTS = 200 };

/* A thread like a loop: its mailbox is where answers go. */
struct loop {
    struct kb_worker worker;
    struct kb_latch latch;
    unsigned answered;
};

struct post {
    struct kb_store_redeem_grant redeem;
    struct loop *loop;
    unsigned number;
};

static void answered(struct kb_store_call *call)
{
    struct post *p = (struct post *)call;
    assert_true(pthread_equal(pthread_self(), p->loop->worker.thread));
    assert_int_equal(p->number, p->loop->answered);
    p->loop->answered++;
    assert_int_equal(call->status, p->number % 2 ? KB_STORE_DENIED : KB_STORE_OK);
    kb_latch_count_down(&p->loop->latch);
    free(p);
}

static void test_post(void **state)
{
    struct fixture *f = *state;
    struct loop loop = {0};
    kb_worker_init(&loop.worker);
    kb_worker_start(&loop.worker, "loop");
    kb_latch_init(&loop.latch, POSTS);
    for (unsigned i = 0; i < POSTS; i++) {
        char token[16];
        snprintf(token, sizeof token, "t%u", i / 2); /* each twice */
        if (i % 2 == 0)
            create_grant(f, grant_call(token), NULL);
        struct post *p = kb_zalloc(sizeof *p);
        p->redeem.call = (struct kb_store_call){
            .verb = KB_STORE_REDEEM_GRANT, .reply_to = &loop.worker.box, .done = answered};
        p->redeem.token_hash = hash_of(token);
        p->loop = &loop;
        p->number = i;
        kb_store_post(f->store, &p->redeem.call);
    }
    kb_latch_wait(&loop.latch);
    assert_int_equal(loop.answered, POSTS);
    kb_worker_stop(&loop.worker);
}

static atomic_uint done_count;

static void count_done(struct kb_store_call *call)
{
    atomic_fetch_add(&done_count, 1);
    free(call);
}

static void test_destroy_answers_all(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < POSTS; i++) {
        struct kb_store_ping *c = kb_zalloc(sizeof *c);
        c->call = (struct kb_store_call){.verb = KB_STORE_PING, .done = count_done};
        kb_store_post(f->store, &c->call);
        struct kb_store_find_user *u = kb_zalloc(sizeof *u);
        *u = (struct kb_store_find_user){.call = {.verb = KB_STORE_FIND_USER, .done = count_done},
                                         .name = "nobody"};
        kb_store_post(f->store, &u->call);
        kb_store_audit(f->store, &(struct kb_audit_event){.event = "login.ok"});
    }
    kb_store_destroy(f->store);
    assert_int_equal(atomic_load(&done_count), 2 * POSTS);
    open_store(f);
    assert_int_equal(count_events(f, "login.ok"), POSTS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_console, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_one_redeems), TEST(test_one_exchanges),       TEST(test_two_stores),
        TEST(test_post),        TEST(test_destroy_answers_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
