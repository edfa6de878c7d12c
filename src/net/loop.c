/* The data loop: its thread, mailbox, deferred work and timers. See loop.h. */
#include "net/loop.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/priority.h"

#include <stdlib.h>
#include <time.h>

static struct kb_family busy_ratio = {
    .name = "kerbside_loop_busy_ratio",
    .help = "Share of the last second that a data loop was at work (its CPU time).",
    .kind = KB_GAUGE,
    .labels = {"loop"},
    .scale = 1000,
};

/* An event that takes longer than a millisecond holds up every other channel of its loop. The wall
 * clock is asked, so a machine that gives the loop no CPU shows here as well. */
#define SLOW_US 1000
#define SLOW_LOG_US 20000
#define SLOW_LOG_EVERY_US 10000000

static const char *const work_names[KB_WORK_KINDS] = {
    [KB_WORK_RELAY] = "relay",
    [KB_WORK_SETUP] = "setup",
};

static struct kb_family slow_events = {
    .name = "kerbside_loop_slow_events_total",
    .help = "Events of one connection that kept a data loop longer than 1 ms.",
    .kind = KB_COUNTER,
    .labels = {"loop", "work"},
};

static void wake_loop(struct kb_mailbox *box)
{
    struct kb_loop *l = (struct kb_loop *)((char *)box - offsetof(struct kb_loop, box));
    uv_async_send(&l->wake);
}

static void run_messages(uv_async_t *wake)
{
    struct kb_loop *l = wake->data;
    struct kb_message *m = kb_mailbox_take(&l->box);
    while (m) {
        struct kb_message *next = m->next;
        m->run(m);
        m = next;
    }
}

static void run_deferred(struct kb_loop *l)
{
    while (l->deferred) {
        struct kb_deferred *d = l->deferred;
        l->deferred = d->next;
        d->run(d);
    }
}

/* Deferred work asked for by timers runs before the wait, by connections after it. */
static void before_poll(uv_prepare_t *h)
{
    struct kb_loop *l = h->data;
    kb_loop_begin_turn(l);
    run_deferred(l);
}

static void after_poll(uv_check_t *h)
{
    struct kb_loop *l = h->data;
    run_deferred(l);
}

/* The thread's own CPU time: libuv's idle time would cost one more system call a turn. */
static uint64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void kb_loop_worked(struct kb_loop *l, enum kb_work work, uint64_t us)
{
    if (work == KB_WORK_SETUP)
        l->setup_us += us;
    if (us < SLOW_US)
        return;
    kb_metric_add(l->slow[work], 1);
    uint64_t now = kb_clock_us();
    if (us < SLOW_LOG_US || now - l->slow_logged_us < SLOW_LOG_EVERY_US)
        return;
    l->slow_logged_us = now;
    kb_log(KB_LOG_WARNING, "loop.slow", KB_UINT("loop", l->index), KB_STR("work", work_names[work]),
           KB_UINT("us", us));
}

void kb_loop_measure(struct kb_loop *l)
{
    uint64_t now = kb_clock_us(), cpu = cpu_us();
    if (l->window_start_us && now > l->window_start_us) {
        uint64_t window = now - l->window_start_us, busy = cpu - l->cpu_us;
        kb_metric_set(l->busy, (int64_t)((busy < window ? busy : window) * 1000 / window));
    }
    l->window_start_us = now;
    l->cpu_us = cpu;
}

struct kb_loop *kb_loop_create(unsigned index)
{
    struct kb_loop *l = kb_zalloc(sizeof *l);
    l->index = index;
    char label[16];
    snprintf(label, sizeof label, "%u", index);
    l->busy = kb_metric(&busy_ratio, label, NULL, NULL, NULL);
    for (int i = 0; i < KB_WORK_KINDS; i++)
        l->slow[i] = kb_metric(&slow_events, label, work_names[i], NULL, NULL);
    l->scratch = kb_realloc(NULL, KB_BLOCK_SIZE);
    kb_mailbox_init(&l->box, wake_loop);
    if (uv_loop_init(&l->uv) != 0 || uv_async_init(&l->uv, &l->wake, run_messages) != 0)
        abort();
    l->wake.data = l;
    uv_prepare_init(&l->uv, &l->before_poll);
    l->before_poll.data = l;
    uv_prepare_start(&l->before_poll, before_poll);
    uv_check_init(&l->uv, &l->after_poll);
    l->after_poll.data = l;
    uv_check_start(&l->after_poll, after_poll);
    return l;
}

static void *loop_main(void *arg)
{
    struct kb_loop *l = arg;
    kb_thread_be_prompt();
    uv_run(&l->uv, UV_RUN_DEFAULT);
    return NULL;
}

void kb_loop_start(struct kb_loop *l)
{
    if (pthread_create(&l->thread, NULL, loop_main, l) != 0)
        abort();
    char name[16];
    snprintf(name, sizeof name, "loop-%u", l->index);
    pthread_setname_np(l->thread, name);
}

void kb_loop_post(struct kb_loop *l, struct kb_message *m)
{
    kb_mailbox_post(&l->box, m);
}

struct stop {
    struct kb_message message;
    struct kb_loop *loop;
};

static void stop_loop(struct kb_message *m)
{
    struct kb_loop *l = ((struct stop *)m)->loop;
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_close((uv_handle_t *)&l->after_poll, NULL);
    uv_close((uv_handle_t *)&l->before_poll, NULL);
}

void kb_loop_destroy(struct kb_loop *l)
{
    if (!l)
        return;
    struct stop stop = {.message.run = stop_loop, .loop = l};
    kb_loop_post(l, &stop.message);
    if (l->thread)
        pthread_join(l->thread, NULL);
    else
        uv_run(&l->uv, UV_RUN_DEFAULT);
    run_deferred(l);
    if (uv_loop_close(&l->uv) != 0)
        abort(); /* somebody left a handle open: a leak that must not go unseen */
    kb_mailbox_finish(&l->box);
    kb_block_pool_finish(&l->blocks);
    free(l->scratch);
    free(l);
}

void kb_loop_defer(struct kb_loop *l, struct kb_deferred *d, void (*run)(struct kb_deferred *d))
{
    d->run = run;
    d->next = l->deferred;
    l->deferred = d;
}

void kb_loop_assert(const struct kb_loop *l)
{
    if (l->thread && !pthread_equal(l->thread, pthread_self()))
        abort();
}

static void timer_fired(uv_timer_t *uv)
{
    struct kb_timer *t = uv->data;
    t->fire(t->arg);
}

static void free_handle(uv_handle_t *h)
{
    free(h);
}

void kb_timer_start(struct kb_loop *l, struct kb_timer *t, uint64_t ms, uint64_t repeat_ms,
                    void (*fire)(void *arg), void *arg)
{
    if (!t->uv) {
        t->uv = kb_zalloc(sizeof *t->uv);
        uv_timer_init(&l->uv, t->uv);
    }
    t->uv->data = t;
    t->fire = fire;
    t->arg = arg;
    uv_update_time(&l->uv);
    uv_timer_start(t->uv, timer_fired, ms, repeat_ms);
}

void kb_timer_finish(struct kb_timer *t)
{
    if (t->uv)
        uv_close((uv_handle_t *)t->uv, free_handle);
    t->uv = NULL;
}
