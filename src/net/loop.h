/* A data loop: one thread, one libuv loop, one mailbox, one pool of blocks. Everything that belongs
 * to a loop is touched by its thread only; others post messages. libuv is used for readiness,
 * timers and waking up, nothing else, and no other file but conn.c and listener.c knows it. */
#ifndef KB_NET_LOOP_H
#define KB_NET_LOOP_H

#include "base/mailbox.h"
#include "net/block.h"

#include <stdint.h>
#include <uv.h>

struct kb_series;

/* Run once, at the end of the loop turn in which it was asked for. Embedded in what is to end. */
struct kb_deferred {
    struct kb_deferred *next;
    void (*run)(struct kb_deferred *d);
};

/* What a connection's event was spent on. */
enum kb_work { KB_WORK_RELAY, KB_WORK_SETUP, KB_WORK_KINDS };

struct kb_loop {
    unsigned index;
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    struct kb_mailbox box;
    pthread_t thread;
    struct kb_block_pool blocks;
    uint8_t *scratch; /* KB_BLOCK_SIZE bytes of nobody, valid within one call */
    struct kb_deferred *deferred;
    uint64_t window_start_us, cpu_us; /* for the busy ratio */
    struct kb_series *busy;
    uint64_t setup_us; /* spent on set-up in this turn */
    uint64_t bulk_us;  /* the same on connections that move much */
    unsigned round;    /* in which each of those has one go; never 0 */
    bool starved;      /* somebody has not had theirs */
    struct kb_series *slow[KB_WORK_KINDS];
    uint64_t slow_logged_us;
};

struct kb_loop *kb_loop_create(unsigned index);
void kb_loop_start(struct kb_loop *l);
/* Any thread. */
void kb_loop_post(struct kb_loop *l, struct kb_message *m);
/* Any thread: the loop ends when its last handle is closed; whoever owns handles on it closes them
 * first, by message. Joins the thread and frees the loop. */
void kb_loop_destroy(struct kb_loop *l);

/* The loop's own thread from here on. */
void kb_loop_defer(struct kb_loop *l, struct kb_deferred *d, void (*run)(struct kb_deferred *d));
/* Aborts when called on another thread: for the heads of functions that live on a loop. */
void kb_loop_assert(const struct kb_loop *l);
/* In one turn set-up (TLS handshakes, RSA tickets) may take so long; one event more may begin
 * before it is spent. A storm of new connections then costs a live channel that much, not all. */
#define KB_LOOP_SETUP_US 500
static inline void kb_loop_begin_turn(struct kb_loop *l)
{
    l->setup_us = l->bulk_us = 0;
    if (!l->starved && ++l->round == 0)
        l->round = 1;
    l->starved = false;
}
static inline bool kb_loop_is_spent(const struct kb_loop *l)
{
    return l->setup_us >= KB_LOOP_SETUP_US;
}
/* The same for connections that move much at a time: any number of floods costs a message that
 * comes alone so long, and one go of a flood more. All have one go before one has a second; gone:
 * the round of the connection's last. True: this is its go. */
#define KB_LOOP_BULK_US 300
static inline bool kb_loop_bulk_may(struct kb_loop *l, unsigned *gone)
{
    if (*gone == l->round)
        return false;
    if (l->bulk_us >= KB_LOOP_BULK_US) {
        l->starved = true;
        return false;
    }
    *gone = l->round;
    return true;
}
/* An event took so long. Counts those that nothing on a loop should take, and logs the worst. */
void kb_loop_worked(struct kb_loop *l, enum kb_work work, uint64_t us);
/* Once a second: takes stock of how busy the loop was. */
void kb_loop_measure(struct kb_loop *l);

/* A timer. Zeroed is valid and stopped. Its owner may go away after kb_timer_finish. */
struct kb_timer {
    uv_timer_t *uv;
    void (*fire)(void *arg);
    void *arg;
};

/* (Re)starts it: fire(arg) after ms, and then every repeat_ms unless 0. */
void kb_timer_start(struct kb_loop *l, struct kb_timer *t, uint64_t ms, uint64_t repeat_ms,
                    void (*fire)(void *arg), void *arg);
void kb_timer_finish(struct kb_timer *t);

#endif
