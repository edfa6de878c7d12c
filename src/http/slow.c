/* The threads for work that waits for others. A request that rests is suspended in the HTTP server:
 * nobody but the thread that has it touches it until it is resumed. */
#include "http/slow.h"

#include "http/server.h"

#include <microhttpd.h>

static void *run(void *arg)
{
    struct kb_slow *s = arg;
    pthread_setname_np(pthread_self(), "kb-slow");
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->first && !atomic_load(&s->stop))
            pthread_cond_wait(&s->cond, &s->lock);
        struct kb_request *r = s->first;
        if (!r)
            break;
        s->first = r->next_slow;
        if (!s->first)
            s->last = NULL;
        pthread_mutex_unlock(&s->lock);
        r->work(r);
        pthread_mutex_lock(&s->lock);
        s->resting--;
        MHD_resume_connection(r->connection); /* r is the server's from here */
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void kb_slow_start(struct kb_slow *s)
{
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->cond, NULL);
    for (int i = 0; i < KB_SLOW_THREADS; i++)
        if (pthread_create(&s->threads[i], NULL, run, s) != 0)
            abort();
}

void kb_slow_stop(struct kb_slow *s)
{
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->stop, true);
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < KB_SLOW_THREADS; i++)
        pthread_join(s->threads[i], NULL);
}

void kb_slow_finish(struct kb_slow *s)
{
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->lock);
}

bool kb_request_defer(struct kb_request *r, void (*work)(struct kb_request *r))
{
    struct kb_slow *s = &r->http->slow;
    pthread_mutex_lock(&s->lock);
    bool room = s->resting < KB_SLOW_MAX && !atomic_load(&s->stop);
    s->resting += room;
    pthread_mutex_unlock(&s->lock);
    if (room) {
        r->work = work;
        return true;
    }
    kb_reply_header(r, "Retry-After", "5");
    kb_reply_error(r, 503, "busy", "too much of this is under way; try again in some seconds");
    return false;
}

_Static_assert(KB_SLOW_FEW < KB_SLOW_THREADS, "logins have threads left");

bool kb_request_defer_few(struct kb_request *r, const char *code, const char *what,
                          void (*work)(struct kb_request *r))
{
    bool room = atomic_fetch_add(&r->http->slow.few, 1) < KB_SLOW_FEW;
    if (room && kb_request_defer(r, work))
        return true;
    atomic_fetch_sub(&r->http->slow.few, 1);
    if (room)
        return false; /* answered by defer */
    kb_reply_header(r, "Retry-After", "5");
    kb_reply_error(r, 429, code, "%u %s are under way; try again soon", KB_SLOW_FEW, what);
    return false;
}

void kb_request_done_few(struct kb_request *r)
{
    atomic_fetch_sub(&r->http->slow.few, 1);
}

bool kb_slow_hand_over(struct kb_slow *s, struct kb_request *r)
{
    pthread_mutex_lock(&s->lock);
    if (atomic_load(&s->stop)) { /* the threads may have ended */
        pthread_mutex_unlock(&s->lock);
        kb_reply_error(r, 503, "stopping", "kerbside is stopping");
        return false;
    }
    MHD_suspend_connection(r->connection);
    r->next_slow = NULL;
    if (s->last)
        s->last->next_slow = r;
    else
        s->first = r;
    s->last = r;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->lock);
    return true;
}
