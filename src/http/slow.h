/* Work that waits for somebody else (Keystone, an OpenID provider, a hypervisor): done on threads
 * of its own while the request rests, so that no HTTP thread and nobody else's request waits. */
#ifndef KB_HTTP_SLOW_H
#define KB_HTTP_SLOW_H

#include "http/request.h"

#include <pthread.h>
#include <stdatomic.h>

#define KB_SLOW_THREADS 4
#define KB_SLOW_MAX 64 /* requests that rest at the same time */

struct kb_slow {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct kb_request *first, *last; /* by r->next_slow */
    unsigned resting;
    atomic_uint few;  /* of kb_request_defer_few, under way */
    atomic_bool stop; /* also ends fetches early */
    pthread_t threads[KB_SLOW_THREADS];
};

void kb_slow_start(struct kb_slow *s);
/* Ends what is under way and waits for it; every request has its answer then. */
void kb_slow_stop(struct kb_slow *s);
void kb_slow_finish(struct kb_slow *s); /* when the servers have ended too */

/* HTTP threads, as the last thing a handler does: work, which answers, will be called on another
 * thread. What it needs must be in the request. False: too many rest, and 503 is the answer. */
bool kb_request_defer(struct kb_request *r, void (*work)(struct kb_request *r));
/* The same for what waits for machines that may be dead: only two of all of these at a time, so
 * that logins have threads left. False: it was answered with 429 CODE (about what: "diagnoses"), or
 * as above. The work ends with kb_request_done_few. */
#define KB_SLOW_FEW 2u
bool kb_request_defer_few(struct kb_request *r, const char *code, const char *what,
                          void (*work)(struct kb_request *r));
void kb_request_done_few(struct kb_request *r);
/* The server's: lets the request rest until its work is done. False: it was answered instead. */
bool kb_slow_hand_over(struct kb_slow *s, struct kb_request *r);

#endif
