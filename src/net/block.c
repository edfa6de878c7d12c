/* The pool of blocks. The loop's thread. */
#include "net/block.h"

#include "base/mem.h"

#include <stdlib.h>

/* Kept for reuse at most: what the busy channels of a loop hold at one moment. The rest goes back,
 * so that a burst does not become the size of the process for ever. */
#define KEEP 32

struct kb_block *kb_block_get(struct kb_block_pool *p)
{
    struct kb_block *b = p->free;
    if (b) {
        p->free = b->next;
        p->free_count--;
    } else {
        b = kb_realloc(NULL, sizeof *b);
    }
    b->next = NULL;
    b->start = b->end = 0;
    return b;
}

void kb_block_put(struct kb_block_pool *p, struct kb_block *b)
{
    if (!b)
        return;
    if (p->free_count >= KEEP) {
        free(b);
        return;
    }
    b->next = p->free;
    p->free = b;
    p->free_count++;
}

void kb_block_pool_finish(struct kb_block_pool *p)
{
    while (p->free) {
        struct kb_block *b = p->free;
        p->free = b->next;
        free(b);
    }
    p->free_count = 0;
}
