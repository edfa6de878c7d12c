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
    box->wake = wake;
}

void kb_mailbox_finish(struct kb_mailbox *box)
{
    pthread_mutex_destroy(&box->lock);
}

void kb_mailbox_post(struct kb_mailbox *box, struct kb_message *m)
{
    m->next = NULL;
    pthread_mutex_lock(&box->lock);
    bool was_empty = !box->first;
    if (was_empty)
        box->first = m;
    else
        box->last->next = m;
    box->last = m;
    pthread_mutex_unlock(&box->lock);
    if (was_empty)
        box->wake(box);
}

struct kb_message *kb_mailbox_take(struct kb_mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    struct kb_message *m = box->first;
    box->first = box->last = NULL;
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

/* Until there is something to do; false when idle_ms passed without. */
static bool wait_for_work(struct kb_worker *w)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(w->idle_ms / 1000);
    until.tv_nsec += (long)(w->idle_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!w->awake && !w->stopping) {
        if (!w->idle)
            pthread_cond_wait(&w->cond, &w->lock);
        else if (pthread_cond_timedwait(&w->cond, &w->lock, &until) == ETIMEDOUT)
            return w->awake || w->stopping;
    }
    return true;
}

static void *worker_main(void *arg)
{
    struct kb_worker *w = arg;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        bool work = wait_for_work(w);
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
