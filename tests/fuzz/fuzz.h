/* What the fuzz targets share. Each target is a function of its input alone; what must hold is
 * asserted, so that a wrong answer is found as a crash is. */
#ifndef KB_FUZZ_H
#define KB_FUZZ_H

#include "base/auto.h"
#include "base/span.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* assert that no build leaves out, and that names what did not hold. */
#define MUST(what)                                                                                 \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Cuts: a row of lengths that is the same for the same start. A start of 0 does not cut at all. */
struct cuts {
    uint32_t state;
};

static inline size_t next_cut(struct cuts *c, size_t most)
{
    if (!c->state || most < 2)
        return most;
    c->state = c->state * 1664525 + 1013904223;
    uint32_t r = c->state >> 8;
    /* Mostly short, sometimes anything. */
    return 1 + (r & 7 ? (r >> 3) % (most < 9 ? most : 9) : (r >> 3) % most);
}

#endif
