/* The store's two threads and what they share with the interface. Private to store.c and lane.c. */
#ifndef KB_STORE_LANE_H
#define KB_STORE_LANE_H

#include "store/backend.h"
#include "store/repeats.h"

#include "base/metrics.h"

#include <stdatomic.h>

/* Audit events that wait for the store at most, at some 2 KiB each. */
#define KB_AUDIT_LIMIT 10000

/* One thread with its own connection. */
struct kb_lane {
    struct kb_worker worker;
    struct kb_store *store;
    struct kb_backend *db; /* NULL: lost, to be opened again */
    char *error;           /* why it could not be opened */
    bool reader, failing;
    uint64_t opened_us, tried_us; /* last: the connection; what is kept */
};

struct kb_store {
    char *where, *state_dir, *node;
    const struct kb_backend_type *type;
    struct kb_lane writer, reader;
    /* Calls of ours that could not be written yet, oldest first; the writing thread's. */
    struct kb_store_call *kept, **kept_end;
    _Atomic(int64_t) keep_audit, keep_sessions;
    int64_t swept;
    bool sweep_again;
    atomic_uint waiting;   /* audit events posted or kept */
    atomic_ullong dropped; /* audit events, not yet reported */
    _Atomic(int64_t (*)(void)) clock;
    struct kb_repeats repeats;
    struct kb_series *seconds[KB_STORE_VERBS], *dropped_total;
};

/* Appends what was counted and is due, or all of it. Any thread. */
void kb_store_append_repeats(struct kb_store *s, bool all);

/* Starts the thread over a connection that is taken over. */
void kb_lane_start(struct kb_lane *l, struct kb_store *s, struct kb_backend *db, bool reader);
/* Runs what was posted before, then ends the thread. */
void kb_lane_stop(struct kb_lane *l);
/* After both threads were stopped: a last try to write what is kept, then closes both. */
void kb_lanes_finish(struct kb_store *s);

#endif
