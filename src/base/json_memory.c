/* jansson's memory, for the whole process. Any thread. */
#include "base/json_memory.h"

#include "base/mem.h"
#include "base/secret.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>

/* The size stands before the block, so that all of it can be wiped. */
struct json_block {
    _Alignas(max_align_t) size_t size;
};

static void *take(size_t size)
{
    struct json_block *b = kb_zalloc(sizeof *b + size);
    b->size = size;
    return b + 1;
}

static void give_back(void *p)
{
    if (!p)
        return;
    struct json_block *b = (struct json_block *)p - 1;
    kb_wipe(b, sizeof *b + b->size);
    free(b);
}

static void start(void)
{
    json_set_alloc_funcs(take, give_back);
}

void kb_json_memory_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
}
