/* Giving memory back to the system after a storm. Main thread.
 *
 * glibc keeps what was freed for as long as something small lives behind it, in an arena for every
 * few threads: after a thousand handshakes or a hundred long lists the process would stay as large
 * as it ever was. */
#ifndef KB_DAEMON_MEMORY_H
#define KB_DAEMON_MEMORY_H

#include <stddef.h>

struct kb_memory {
    size_t then;  /* bytes free in the arenas at the last call */
    size_t given; /* of them so many were given back, and not taken again since */
};

/* Called once a second or so: gives back what is free, if it has become more and does not go on
 * becoming so. */
void kb_memory_tick(struct kb_memory *m);

#endif
