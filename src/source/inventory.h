/* The inventory: the consoles of all sources, by source and uuid. Plain data without a lock; it
 * belongs to the sources thread. */
#ifndef KB_SOURCE_INVENTORY_H
#define KB_SOURCE_INVENTORY_H

#include "source/source.h"

#include <stdbool.h>
#include <uthash.h>

struct kb_source_driver;

struct kb_console {
    UT_hash_handle hh; /* in its source's map, by uuid */
    char *uuid, *name;
    char *hypervisor, *hypervisor_ip, *unix_socket,
        *host_subject; /* as the source says; may be NULL */
    char *owner;       /* whom it belongs to, where the source knows; or NULL */
    uint16_t insecure_port, secure_port;
    struct kb_target *target; /* how to reach it, where that is known ahead; else NULL */
};

enum kb_source_state { KB_SOURCE_NEW, KB_SOURCE_OK, KB_SOURCE_FAILED };

struct kb_source {
    UT_hash_handle hh;                     /* in the inventory, by name */
    char *name, *type;                     /* as last configured */
    const struct kb_source_driver *driver; /* NULL until a configuration without error came */
    struct kb_source_config config;        /* that one; the driver's to read and to take from */
    struct kb_console *consoles;           /* the map; the last good list */
    enum kb_source_state state;
    char *error;            /* of a failed one */
    int64_t last_good;      /* wall clock ms; 0: never */
    int64_t stale_since;    /* 0: fresh */
    uint64_t refresh_began; /* monotonic us */
    int64_t refreshed_at;   /* wall clock ms, when the last one ended, well or not; 0: never */
    int64_t refresh_took;   /* us */
    bool misconfigured;     /* as last configured it cannot be loaded */
    bool wanted;            /* by the configuration that is being loaded */
};

/* A console of its own memory, not in any map yet; the texts are copied. */
struct kb_console *kb_console_create(const char *uuid, const char *name);
void kb_console_destroy(struct kb_console *c); /* takes NULL */
/* Adds c; one with the same uuid is replaced and destroyed. */
void kb_consoles_add(struct kb_console **map, struct kb_console *c);
struct kb_console *kb_consoles_find(struct kb_console *map, const char *uuid);
void kb_consoles_destroy(struct kb_console **map);

struct kb_source *kb_inventory_find(struct kb_source *inventory, const char *name);
/* Finds or makes. */
struct kb_source *kb_inventory_need(struct kb_source **inventory, const char *name);
void kb_inventory_remove(struct kb_source **inventory, struct kb_source *source);
void kb_inventory_destroy(struct kb_source **inventory);

#endif
