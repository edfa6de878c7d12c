/* A bucket of tokens, a byte each: how a rate of bytes is kept. It fills at the rate, up to a
 * quarter of a second's worth; what is spent may take it below zero, and then the rest of that debt
 * must be waited for. Pure. */
#ifndef KB_POLICY_BUCKET_H
#define KB_POLICY_BUCKET_H

#include <stdint.h>

struct kb_bucket {
    int64_t level;  /* bytes */
    uint64_t at_us; /* when it was right; 0: never, so it is full */
};

/* What is in it now. rate is bytes a second, above 0; it may change between calls. */
int64_t kb_bucket_level(struct kb_bucket *b, uint64_t rate, uint64_t now_us);
void kb_bucket_spend(struct kb_bucket *b, uint64_t bytes);
/* How long until the level is above the floor, at least 1; 0 if it is. */
uint64_t kb_bucket_wait_us(const struct kb_bucket *b, uint64_t rate, int64_t floor);

#endif
