/* The inventory's maps, over uthash. Knows nothing of drivers, the store or time. Sources thread.
 */
#include "source/inventory.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct kb_console *kb_console_create(const char *uuid, const char *name)
{
    struct kb_console *c = kb_zalloc(sizeof *c);
    c->uuid = kb_strdup(uuid);
    c->name = kb_strdup(name);
    return c;
}

void kb_console_destroy(struct kb_console *c)
{
    if (!c)
        return;
    free(c->uuid);
    free(c->name);
    free(c->hypervisor);
    free(c->hypervisor_ip);
    free(c->unix_socket);
    free(c->host_subject);
    free(c->owner);
    kb_target_unref(c->target);
    free(c);
}

struct kb_console *kb_consoles_find(struct kb_console *map, const char *uuid)
{
    struct kb_console *c;
    HASH_FIND_STR(map, uuid, c);
    return c;
}

void kb_consoles_add(struct kb_console **map, struct kb_console *c)
{
    struct kb_console *old = kb_consoles_find(*map, c->uuid);
    if (old) {
        HASH_DEL(*map, old);
        kb_console_destroy(old);
    }
    HASH_ADD_KEYPTR(hh, *map, c->uuid, strlen(c->uuid), c);
}

void kb_consoles_destroy(struct kb_console **map)
{
    struct kb_console *c, *next;
    HASH_ITER (hh, *map, c, next) {
        HASH_DEL(*map, c);
        kb_console_destroy(c);
    }
    *map = NULL;
}

struct kb_source *kb_inventory_find(struct kb_source *inventory, const char *name)
{
    struct kb_source *source;
    HASH_FIND_STR(inventory, name, source);
    return source;
}

struct kb_source *kb_inventory_need(struct kb_source **inventory, const char *name)
{
    struct kb_source *source = kb_inventory_find(*inventory, name);
    if (source)
        return source;
    source = kb_zalloc(sizeof *source);
    source->name = kb_strdup(name);
    HASH_ADD_KEYPTR(hh, *inventory, source->name, strlen(source->name), source);
    return source;
}

void kb_inventory_remove(struct kb_source **inventory, struct kb_source *source)
{
    HASH_DEL(*inventory, source);
    kb_consoles_destroy(&source->consoles);
    kb_source_config_finish(&source->config);
    free(source->error);
    free(source->name);
    free(source->type);
    free(source);
}

void kb_inventory_destroy(struct kb_source **inventory)
{
    struct kb_source *source, *next;
    HASH_ITER (hh, *inventory, source, next)
        kb_inventory_remove(inventory, source);
}
