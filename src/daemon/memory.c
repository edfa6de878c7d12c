/* See memory.h. Main thread; what it asks of glibc holds each arena's lock while it is looked
 * through. Relaying allocates nothing, so only what is being set up in that moment waits. */
#include "daemon/memory.h"

#include <malloc.h>

/* Less is not worth the walk. */
#define WORTH ((size_t)4 << 20)
/* A change in a second that is no movement. */
#define STILL ((size_t)256 << 10)

void kb_memory_tick(struct kb_memory *m)
{
    size_t free_bytes = mallinfo2().fordblks; /* those given back are still counted */
    size_t moved = free_bytes > m->then ? free_bytes - m->then : m->then - free_bytes;
    m->then = free_bytes;
    if (free_bytes < m->given)
        m->given = free_bytes;
    if (free_bytes - m->given < WORTH || moved > STILL)
        return;
    malloc_trim(0);
    m->then = m->given = mallinfo2().fordblks;
}
