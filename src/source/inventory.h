/* The inventory: the consoles of all sources, by source and uuid. Plain data without a lock; it
 * belongs to the sources thread. A driver fills a map of its own. */
#ifndef KB_SOURCE_INVENTORY_H
#define KB_SOURCE_INVENTORY_H

#include "source/source.h"

#include <stdbool.h>
#include <uthash.h>

/* What a source says of one console. Texts but uuid and name may be NULL. */
struct kb_console {
    UT_hash_handle hh; /* in its source's map, by uuid */
    char *uuid, *name;
    char *project; /* the project, tenant or namespace that it lies in */
    char *owner;   /* whom it belongs to, where the source knows */
    char *state;   /* in the cloud's own word: running, paused */
    char *hypervisor, *hypervisor_ip, *unix_socket, *host_subject;
    uint16_t insecure_port, secure_port;
    enum kb_protocol protocol;
    enum kb_transport transport;
    char *extra;              /* the driver's own, to find it again; never shown nor stored */
    struct kb_target *target; /* how to reach it, where that is known ahead; else NULL */
};

/* A console of its own memory, not in any map yet; the texts are copied. */
struct kb_console *kb_console_create(const char *uuid, const char *name);
struct kb_console *kb_console_copy(const struct kb_console *c);
/* Whether a page and the store would say the same of both. */
bool kb_console_equal(const struct kb_console *a, const struct kb_console *b);
void kb_console_destroy(struct kb_console *c); /* takes NULL */
/* Adds c; one with the same uuid is replaced and destroyed. */
void kb_consoles_add(struct kb_console **map, struct kb_console *c);
struct kb_console *kb_consoles_find(struct kb_console *map, const char *uuid);
/* Whether both maps have equal consoles. */
bool kb_consoles_equal(struct kb_console *a, struct kb_console *b);
void kb_consoles_destroy(struct kb_console **map);

#endif
