/* The mailbox, the worker thread over it, and the latch. Any thread posts; see mailbox.h. */
#include "base/mailbox.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

void kb_mailbox_init(struct kb_mailbox *box, void (*wake)(struct kb_mailbox *box))
{
    pthread_mutex_init(&box->lock, NULL);
    box->first = box->last = NULL;
    box->urgent = false;
    box->wake = wake;
}

void kb_mailbox_finish(struct kb_mailbox *box)
{
    pthread_mutex_destroy(&box->lock);
}

static void post(struct kb_mailbox *box, struct kb_message *m, bool urgent)
{
    m->next = NULL;
    pthread_mutex_lock(&box->lock);
    bool wake = !box->first || (urgent && !box->urgent);
    if (!box->first)
        box->first = m;
    else
        box->last->next = m;
    box->last = m;
    box->urgent |= urgent;
    pthread_mutex_unlock(&box->lock);
    if (wake)
        box->wake(box);
}

void kb_mailbox_post(struct kb_mailbox *box, struct kb_message *m)
{
    post(box, m, true);
}

void kb_mailbox_post_patient(struct kb_mailbox *box, struct kb_message *m)
{
    post(box, m, false);
}

static bool is_urgent(struct kb_mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    bool urgent = box->urgent;
    pthread_mutex_unlock(&box->lock);
    return urgent;
}

struct kb_message *kb_mailbox_take(struct kb_mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    struct kb_message *m = box->first;
    box->first = box->last = NULL;
    box->urgent = false;
    pthread_mutex_unlock(&box->lock);
    return m;
}

static void worker_wake(struct kb_mailbox *box)
{
    struct kb_worker *w = (struct kb_worker *)((char *)box - offsetof(struct kb_worker, box));
    pthread_mutex_lock(&w->lock);
    w->awake = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

void kb_worker_init(struct kb_worker *w)
{
    *w = (struct kb_worker){0};
    kb_mailbox_init(&w->box, worker_wake);
    pthread_mutex_init(&w->lock, NULL);
    /* The monotonic clock: a wall clock that is set must not stretch or cut the wait for idle. */
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->cond, &attr);
    pthread_condattr_destroy(&attr);
}

static void run_all(struct kb_message *m)
{
    while (m) {
        struct kb_message *next = m->next; /* run() may free or re-post m */
        m->run(m);
        m = next;
    }
}

static struct timespec in_ms(unsigned ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* Until there is something to do; false when idle_ms passed without. */
static bool wait_for_work(struct kb_worker *w)
{
    struct timespec until = in_ms(w->idle_ms);
    while (!w->awake && !w->stopping) {
        if (!w->idle)
            pthread_cond_wait(&w->cond, &w->lock);
        else if (pthread_cond_timedwait(&w->cond, &w->lock, &until) == ETIMEDOUT)
            return w->awake || w->stopping;
    }
    return true;
}

/* Until a message that may not wait, or for patience_ms: many that may are one batch. */
static void wait_for_more(struct kb_worker *w)
{
    struct timespec until = in_ms(w->patience_ms);
    while (!w->stopping && !is_urgent(&w->box))
        if (pthread_cond_timedwait(&w->cond, &w->lock, &until) == ETIMEDOUT)
            return;
}

static void *worker_main(void *arg)
{
    struct kb_worker *w = arg;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        bool work = wait_for_work(w);
        if (work && w->patience_ms)
            wait_for_more(w);
        bool stopping = w->stopping;
        w->awake = false;
        pthread_mutex_unlock(&w->lock);
        if (!work) {
            w->idle(w);
            continue;
        }
        struct kb_message *first = kb_mailbox_take(&w->box);
        if (first && w->batch)
            w->batch(w, first);
        else
            run_all(first);
        if (stopping && !first)
            return NULL;
    }
}

void kb_worker_start(struct kb_worker *w, const char *name)
{
    if (pthread_create(&w->thread, NULL, worker_main, w) != 0)
        abort();
    pthread_setname_np(w->thread, name);
    w->started = true;
}

void kb_worker_stop(struct kb_worker *w)
{
    if (!w->started)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->lock);
    kb_mailbox_finish(&w->box);
    w->started = false;
}

void kb_latch_init(struct kb_latch *l, unsigned count)
{
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->cond, NULL);
    l->left = count;
}

void kb_latch_count_down(struct kb_latch *l)
{
    /* Signalled under the lock: the waiter frees the latch as soon as it has the lock back. */
    pthread_mutex_lock(&l->lock);
    if (--l->left == 0)
        pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->lock);
}

void kb_latch_wait(struct kb_latch *l)
{
    pthread_mutex_lock(&l->lock);
    while (l->left)
        pthread_cond_wait(&l->cond, &l->lock);
    pthread_mutex_unlock(&l->lock);
    pthread_cond_destroy(&l->cond);
    pthread_mutex_destroy(&l->lock);
}
