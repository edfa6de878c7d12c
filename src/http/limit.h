/* Counts what many keys (addresses, names) do in bounded memory, and says when one has done too
 * much. A limit counts either failures, in windows of time, or requests, at a pace. Any thread. */
#ifndef KB_HTTP_LIMIT_H
#define KB_HTTP_LIMIT_H

#include <pthread.h>
#include <stdint.h>

#define KB_LIMIT_ROWS 1024
#define KB_LIMIT_WAYS 4

struct kb_limit_entry {
    uint64_t key;  /* 0: free */
    int64_t since; /* ms; of a pace: us, the time at which its whole allowance is back */
    unsigned count;
};

struct kb_limit {
    pthread_mutex_t lock; /* leaf */
    unsigned most;        /* in one window; 0: no limit */
    int64_t window;       /* ms */
    uint8_t salt[16];     /* nobody outside can choose keys that share a row */
    struct kb_limit_entry rows[KB_LIMIT_ROWS][KB_LIMIT_WAYS];
};

void kb_limit_init(struct kb_limit *l, unsigned most, int64_t window);
void kb_limit_finish(struct kb_limit *l);
/* A change forgets what was counted: by the new numbers it would mean something else. */
void kb_limit_set(struct kb_limit *l, unsigned most, int64_t window);

/* --- failures --------------------------------------------------------------------------------- */

/* Counts one try before it is made, so that tries at the same time count too. 0, or the
 * milliseconds until the key may try again. kind keeps addresses and names apart; now is any steady
 * clock in ms. */
int64_t kb_limit_take(struct kb_limit *l, const char *kind, const char *text, int64_t now);
/* The try was no failure. */
void kb_limit_give_back(struct kb_limit *l, const char *kind, const char *text);

/* --- a pace ----------------------------------------------------------------------------------- */

/* Counts one request. most of them may come at once, and as many again come back evenly in each
 * window (a token bucket, by the generic cell rate algorithm: one time a key). 0, or the
 * milliseconds, at least 1, until the key may ask again; who is refused is not charged. now: us. */
int64_t kb_limit_pace(struct kb_limit *l, const char *kind, const char *text, int64_t now);

#endif
