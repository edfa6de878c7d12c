/* Messages are the only road between threads.
 *
 * A message is embedded at the head of a request struct that its sender allocates. Posting it gives
 * it away; the receiving thread calls run() and from then on owns it. A request with an answer goes
 * back the same way: the receiver fills it in and posts it to the mailbox that the sender named.
 * A mailbox keeps the order of its messages. */
#ifndef KB_BASE_MAILBOX_H
#define KB_BASE_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>

struct kb_message {
    struct kb_message *next;
    void (*run)(struct kb_message *m); /* on the receiving thread; owns m */
};

struct kb_mailbox {
    pthread_mutex_t lock; /* leaf: nothing else is taken while it is held */
    struct kb_message *first, *last;
    bool urgent;                          /* one of them may not wait */
    void (*wake)(struct kb_mailbox *box); /* any thread, cheap, may be called once too often */
};

void kb_mailbox_init(struct kb_mailbox *box, void (*wake)(struct kb_mailbox *box));
void kb_mailbox_finish(struct kb_mailbox *box);
/* Any thread. */
void kb_mailbox_post(struct kb_mailbox *box, struct kb_message *m);
/* The same for a message that nobody waits for: a worker may wait a little for more of them. */
void kb_mailbox_post_patient(struct kb_mailbox *box, struct kb_message *m);
/* The owning thread: takes all messages off, as a list. */
struct kb_message *kb_mailbox_take(struct kb_mailbox *box);

/* A thread that does nothing but run the messages of its mailbox, in order: the store, the sources,
 * the pool for slow sums. */
struct kb_worker {
    struct kb_mailbox box;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool awake, stopping, started;
    /* Optional, around each batch of messages taken at once (the store's transaction). */
    void (*batch)(struct kb_worker *w, struct kb_message *first);
    /* How long a batch of patient messages alone may wait for more; 0: not at all. */
    unsigned patience_ms;
    /* Optional: called when no message came for idle_ms, which the worker's own thread may change.
     */
    void (*idle)(struct kb_worker *w);
    unsigned idle_ms;
    void *owner;
};

void kb_worker_init(struct kb_worker *w);
void kb_worker_start(struct kb_worker *w, const char *name);
/* Runs what was posted before, then ends the thread. Nothing may be posted after. */
void kb_worker_stop(struct kb_worker *w);

/* A place where a thread that may block (HTTP, main) waits for others to count down. */
struct kb_latch {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned left;
};

void kb_latch_init(struct kb_latch *l, unsigned count);
void kb_latch_count_down(struct kb_latch *l);
void kb_latch_wait(struct kb_latch *l); /* then finishes the latch too */

#endif
