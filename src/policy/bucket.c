/* Fills and empties buckets of tokens. Pure; the loop that owns the session. */
#include "policy/bucket.h"

#define SECOND_US 1000000

__extension__ typedef unsigned __int128 wide;

int64_t kb_bucket_level(struct kb_bucket *b, uint64_t rate, uint64_t now_us)
{
    int64_t full = (int64_t)(rate / 4 + 1);
    /* Rates are below 10^15 (KB_SIZE_MAX), so the product needs more than 64 bits. */
    wide more = (wide)rate * (now_us - b->at_us) / SECOND_US;
    if (!b->at_us || b->level >= full || more >= (wide)(full - b->level)) {
        b->level = full;
        b->at_us = now_us;
    } else if (more) {
        b->level += (int64_t)more;
        b->at_us += (uint64_t)(more * SECOND_US / rate); /* what is no whole byte yet stays */
    }
    return b->level;
}

void kb_bucket_spend(struct kb_bucket *b, uint64_t bytes)
{
    b->level -= (int64_t)bytes;
}

uint64_t kb_bucket_wait_us(const struct kb_bucket *b, uint64_t rate, int64_t floor)
{
    if (b->level > floor)
        return 0;
    wide missing = (wide)(uint64_t)(floor - b->level + 1) * SECOND_US;
    uint64_t wait_us = (uint64_t)((missing + rate - 1) / rate);
    return wait_us ? wait_us : 1;
}
