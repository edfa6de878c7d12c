/* Refusals that are the same again and again: the first is an audit event at once, those that
 * follow within ten seconds are counted, and then one event says how many they were. So who tries
 * tokens in a loop fills neither the audit nor the log. The same means: the event, its reason, the
 * address (of IPv6: the /64) and, where they are known, grant, session, source and console; the
 * rest of the counted event is the last one's. Bounded memory; what finds no place in it is an
 * event as ever.
 * Private to the store; any thread. */
#ifndef KB_STORE_REPEATS_H
#define KB_STORE_REPEATS_H

#include "store/store.h"

#define KB_REPEATS_MS 10000
#define KB_REPEATS_ROWS 256
#define KB_REPEATS_WAYS 4

struct kb_repeat {
    uint64_t key;  /* 0: free */
    int64_t until; /* wall clock ms: the ten seconds end */
    unsigned count;
    struct kb_audit_event *last; /* NULL: count is 0 */
};

struct kb_repeats {
    pthread_mutex_t lock; /* leaf */
    bool open;            /* there may be something to take, now or later */
    struct kb_repeat rows[KB_REPEATS_ROWS][KB_REPEATS_WAYS];
};

void kb_repeats_init(struct kb_repeats *r);
void kb_repeats_finish(struct kb_repeats *r);

/* True: the event was counted and is neither to be written nor logged. now: wall clock ms. */
bool kb_repeats_hold(struct kb_repeats *r, const struct kb_audit_event *e, int64_t now);
/* Whether ten seconds are running for something; told by the last take. */
bool kb_repeats_open(struct kb_repeats *r);
/* Takes a counted event whose time is over, or any; NULL: there is none. It has no time yet, its
 * detail says for people what its count says for programs. To be freed. */
struct kb_audit_event *kb_repeats_take(struct kb_repeats *r, int64_t now, bool any);

#endif
