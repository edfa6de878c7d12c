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
