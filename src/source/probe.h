/* Whether anybody listens where consoles are: a connection to each, made and closed at once. It
 * says nothing of what is behind the port, and costs the other side next to nothing. */
#ifndef KB_SOURCE_PROBE_H
#define KB_SOURCE_PROBE_H

#include "source/source.h"

#include <stdatomic.h>

struct kb_probe {
    const struct kb_target *target;
    bool up; /* out */
};

/* Tries all of them, many at a time, each for timeout_ms at most; names are resolved one after the
 * other. Blocks. False: *stop became true, and what was not tried is not up. */
bool kb_probe_all(struct kb_probe *probes, size_t count, int64_t timeout_ms,
                  const atomic_bool *stop);

#endif
