/* Blocks: the buffers of the relay, taken only while there are bytes in them. A pool belongs to one
 * loop; a block may be given back to another loop's pool than it came from. */
#ifndef KB_NET_BLOCK_H
#define KB_NET_BLOCK_H

#include "base/span.h"

/* Large, because a flood costs by the system call: 64 KiB took a tenth more CPU a byte. Much larger
 * would fall out of a core's own cache. */
#define KB_BLOCK_SIZE 131072

struct kb_block {
    struct kb_block *next;
    uint32_t start, end; /* the bytes in use: data[start, end) */
    uint8_t data[KB_BLOCK_SIZE];
};

struct kb_block_pool {
    struct kb_block *free;
    unsigned free_count;
};

struct kb_block *kb_block_get(struct kb_block_pool *p); /* empty; contents are not cleared */
void kb_block_put(struct kb_block_pool *p, struct kb_block *b); /* takes NULL */
void kb_block_pool_finish(struct kb_block_pool *p);

static inline struct kb_span kb_block_span(const struct kb_block *b)
{
    return kb_span(b->data + b->start, b->end - b->start);
}

static inline size_t kb_block_room(const struct kb_block *b)
{
    return KB_BLOCK_SIZE - b->end;
}

#endif
