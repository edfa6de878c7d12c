/* Mailboxes, workers and latches, with real threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mailbox.h"
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { SENDERS = 4, EACH = 5000 };

struct note {
    struct kb_message message;
    unsigned sender, number;
    struct receiver *to;
};

struct receiver {
    struct kb_worker worker;
    unsigned next[SENDERS], total, batches;
    bool ordered, own_thread;
};

static void take_note(struct kb_message *m)
{
    struct note *n = (struct note *)m;
    struct receiver *r = n->to;
    r->ordered = r->ordered && n->number == r->next[n->sender];
    r->next[n->sender]++;
    r->total++;
    r->own_thread = r->own_thread && pthread_equal(pthread_self(), r->worker.thread);
    free(n);
}

static void post(struct receiver *r, unsigned sender, unsigned number)
{
    struct note *n = kb_zalloc(sizeof *n);
    n->message.run = take_note;
    n->sender = sender;
    n->number = number;
    n->to = r;
    kb_mailbox_post(&r->worker.box, &n->message);
}

struct sender {
    struct receiver *to;
    unsigned id;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (unsigned i = 0; i < EACH; i++)
        post(s->to, s->id, i);
    return NULL;
}

static void run_senders(struct receiver *r)
{
    pthread_t threads[SENDERS];
    struct sender senders[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.to = r, .id = i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
}

static void start(struct receiver *r)
{
    *r = (struct receiver){.ordered = true};
    kb_worker_init(&r->worker);
    kb_worker_start(&r->worker, "receiver");
    r->own_thread = true; /* before anything is posted */
}

/* Every message once, each sender's in order, on the worker's thread, and a stop waits for all. */
static void test_worker(void **state)
{
    (void)state;
    struct receiver r;
    start(&r);
    run_senders(&r);
    kb_worker_stop(&r.worker);
    assert_int_equal(r.total, SENDERS * EACH);
    assert_true(r.ordered);
    assert_true(r.own_thread);
    kb_worker_stop(&r.worker); /* twice does no harm */
}

static void run_batch(struct kb_worker *w, struct kb_message *first)
{
    struct receiver *r = w->owner;
    assert_non_null(first);
    r->batches++;
    while (first) {
        struct kb_message *next = first->next;
        first->run(first);
        first = next;
    }
}

static void test_batch(void **state)
{
    (void)state;
    struct receiver r = {.ordered = true, .own_thread = true};
    kb_worker_init(&r.worker);
    r.worker.batch = run_batch;
    r.worker.owner = &r;
    /* What is posted before the start is one batch. */
    for (unsigned i = 0; i < 3; i++)
        post(&r, 0, i);
    r.own_thread = false; /* the thread's id is not there yet for these */
    kb_worker_start(&r.worker, "receiver");
    kb_worker_stop(&r.worker);
    assert_int_equal(r.total, 3);
    assert_int_equal(r.batches, 1);
    assert_true(r.ordered);

    r = (struct receiver){.ordered = true, .own_thread = false};
    kb_worker_init(&r.worker);
    r.worker.batch = run_batch;
    r.worker.owner = &r;
    kb_worker_start(&r.worker, "receiver");
    run_senders(&r);
    kb_worker_stop(&r.worker);
    assert_int_equal(r.total, SENDERS * EACH);
    assert_true(r.ordered);
}

/* A message that its run() posts again: the receiver owns it by then. */
struct again {
    struct kb_message message;
    struct kb_worker *worker;
    unsigned left;
    struct kb_latch latch;
};

static void run_again(struct kb_message *m)
{
    struct again *a = (struct again *)m;
    if (a->left--)
        kb_mailbox_post(&a->worker->box, m);
    else
        kb_latch_count_down(&a->latch);
}

static void test_post_again(void **state)
{
    (void)state;
    struct kb_worker w;
    kb_worker_init(&w);
    kb_worker_start(&w, "again");
    struct again a = {.message.run = run_again, .worker = &w, .left = 1000};
    kb_latch_init(&a.latch, 1);
    kb_mailbox_post(&w.box, &a.message);
    kb_latch_wait(&a.latch);
    kb_worker_stop(&w);
}

struct idler {
    struct kb_worker worker;
    unsigned times;
    struct kb_latch latch;
};

static void count_idle(struct kb_worker *w)
{
    struct idler *i = w->owner;
    if (i->times++ < 3)
        kb_latch_count_down(&i->latch);
}

static void set_no_messages(struct kb_message *m)
{
    free(m);
}

/* idle comes again and again when nobody posts, and messages still run. */
static void test_idle(void **state)
{
    (void)state;
    struct idler i = {0};
    kb_latch_init(&i.latch, 3);
    kb_worker_init(&i.worker);
    i.worker.owner = &i;
    i.worker.idle = count_idle;
    i.worker.idle_ms = 1;
    kb_worker_start(&i.worker, "idler");
    struct kb_message *m = kb_zalloc(sizeof *m);
    m->run = set_no_messages;
    kb_mailbox_post(&i.worker.box, m);
    kb_latch_wait(&i.latch);
    kb_worker_stop(&i.worker);
    assert_true(i.times >= 3);
}

static atomic_uint woken;

static void count_wake(struct kb_mailbox *box)
{
    (void)box;
    atomic_fetch_add(&woken, 1);
}

/* The owner is woken for the first message of a full box only. */
static void test_wake(void **state)
{
    (void)state;
    struct kb_mailbox box;
    kb_mailbox_init(&box, count_wake);
    struct kb_message m[3] = {0};
    assert_null(kb_mailbox_take(&box));
    for (int i = 0; i < 3; i++)
        kb_mailbox_post(&box, &m[i]);
    assert_int_equal(atomic_load(&woken), 1);
    struct kb_message *all = kb_mailbox_take(&box);
    assert_ptr_equal(all, &m[0]);
    assert_ptr_equal(all->next, &m[1]);
    assert_ptr_equal(all->next->next, &m[2]);
    assert_null(m[2].next);
    kb_mailbox_post(&box, &m[1]);
    assert_int_equal(atomic_load(&woken), 2);
    assert_ptr_equal(kb_mailbox_take(&box), &m[1]);
    kb_mailbox_finish(&box);
}

struct batches {
    struct kb_worker worker;
    unsigned count[4], batches;
    struct kb_latch latch;
};

static void count_batch(struct kb_worker *w, struct kb_message *first)
{
    struct batches *b = w->owner;
    for (; first; first = first->next)
        b->count[b->batches]++;
    b->batches++;
    kb_latch_count_down(&b->latch);
}

/* Patient messages wait for an urgent one and keep their place before it. */
static void test_patience(void **state)
{
    (void)state;
    struct batches b = {0};
    kb_latch_init(&b.latch, 1);
    kb_worker_init(&b.worker);
    b.worker.owner = &b;
    b.worker.batch = count_batch;
    b.worker.patience_ms = 3600000;
    kb_worker_start(&b.worker, "patient");
    struct kb_message m[4] = {0};
    for (int i = 0; i < 3; i++)
        kb_mailbox_post_patient(&b.worker.box, &m[i]);
    kb_mailbox_post(&b.worker.box, &m[3]);
    kb_latch_wait(&b.latch);
    assert_int_equal(b.count[0], 4);
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(m[i].next, &m[i + 1]);
    /* The end does not wait for the hour. */
    kb_latch_init(&b.latch, 1);
    kb_mailbox_post_patient(&b.worker.box, &m[0]);
    kb_worker_stop(&b.worker);
    kb_latch_wait(&b.latch);
    assert_int_equal(b.count[1], 1);
}

/* Nor do they wait for ever when nobody else comes. */
static void test_patience_ends(void **state)
{
    (void)state;
    struct batches b = {0};
    kb_latch_init(&b.latch, 1);
    kb_worker_init(&b.worker);
    b.worker.owner = &b;
    b.worker.batch = count_batch;
    b.worker.patience_ms = 1;
    kb_worker_start(&b.worker, "patient");
    struct kb_message m = {0};
    kb_mailbox_post_patient(&b.worker.box, &m);
    kb_latch_wait(&b.latch);
    kb_worker_stop(&b.worker);
    assert_int_equal(b.count[0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker),        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_post_again),    cmocka_unit_test(test_idle),
        cmocka_unit_test(test_wake),          cmocka_unit_test(test_patience),
        cmocka_unit_test(test_patience_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
