/* A source's map of consoles, over uthash. Knows nothing of drivers, the store or time. Any thread,
 * one at a time. */
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

struct kb_console *kb_console_copy(const struct kb_console *from)
{
    struct kb_console *c = kb_console_create(from->uuid, from->name);
    c->project = kb_strdup(from->project);
    c->owner = kb_strdup(from->owner);
    c->state = kb_strdup(from->state);
    c->hypervisor = kb_strdup(from->hypervisor);
    c->hypervisor_ip = kb_strdup(from->hypervisor_ip);
    c->unix_socket = kb_strdup(from->unix_socket);
    c->host_subject = kb_strdup(from->host_subject);
    c->insecure_port = from->insecure_port;
    c->secure_port = from->secure_port;
    c->protocol = from->protocol;
    c->transport = from->transport;
    c->extra = kb_strdup(from->extra);
    c->target = from->target ? kb_target_ref(from->target) : NULL;
    return c;
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool kb_console_equal(const struct kb_console *a, const struct kb_console *b)
{
    return same(a->uuid, b->uuid) && same(a->name, b->name) && same(a->project, b->project) &&
           same(a->owner, b->owner) && same(a->state, b->state) &&
           same(a->hypervisor, b->hypervisor) && same(a->hypervisor_ip, b->hypervisor_ip) &&
           same(a->unix_socket, b->unix_socket) && same(a->host_subject, b->host_subject) &&
           a->insecure_port == b->insecure_port && a->secure_port == b->secure_port &&
           a->protocol == b->protocol && a->transport == b->transport;
}

void kb_console_destroy(struct kb_console *c)
{
    if (!c)
        return;
    free(c->uuid);
    free(c->name);
    free(c->project);
    free(c->owner);
    free(c->state);
    free(c->hypervisor);
    free(c->hypervisor_ip);
    free(c->unix_socket);
    free(c->host_subject);
    free(c->extra);
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

bool kb_consoles_equal(struct kb_console *a, struct kb_console *b)
{
    if (HASH_COUNT(a) != HASH_COUNT(b))
        return false;
    for (struct kb_console *c = a; c; c = c->hh.next) {
        const struct kb_console *other = kb_consoles_find(b, c->uuid);
        if (!other || !kb_console_equal(c, other))
            return false;
    }
    return true;
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
