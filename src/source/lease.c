/* Leases by name, over uthash. Says what of an announcement cannot be; knows nothing of HTTP, roles
 * or the store. One thread at a time. */
#include "source/lease.h"

#include "base/log.h"
#include "base/mem.h"
#include "source/record.h"

#include <arpa/inet.h>
#include <string.h>

#define HOST_MAX 253

struct lease {
    UT_hash_handle hh; /* by machine.uuid */
    char *holder, *agent;
    uint64_t until_us;
    struct kb_static_console machine;
};

struct kb_leases {
    struct lease *map;
};

struct kb_leases *kb_leases_create(void)
{
    return kb_zalloc(sizeof(struct kb_leases));
}

void kb_source_lease_finish(struct kb_source_lease *l)
{
    kb_static_console_finish(&l->machine);
}

static void drop(struct kb_leases *l, struct lease *one)
{
    HASH_DEL(l->map, one);
    kb_static_console_finish(&one->machine);
    free(one->holder);
    free(one->agent);
    free(one);
}

void kb_leases_destroy(struct kb_leases *l)
{
    struct lease *one, *next;
    HASH_ITER (hh, l->map, one, next)
        drop(l, one);
    free(l);
}

void kb_leases_take(struct kb_leases *l, struct kb_leases *from)
{
    struct lease *held = l->map;
    l->map = from->map;
    from->map = held;
}

static struct lease *find(struct kb_leases *l, const char *name)
{
    struct lease *one;
    HASH_FIND_STR(l->map, name, one);
    return one;
}

/* --- what a machine says of itself ------------------------------------------------------------ */

/* An address in sixteen bytes, so that both ways to write one are the same. */
static bool parse_address(const char *text, uint8_t raw[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291, 2.5.5.2 */
    memcpy(raw, mapped, sizeof mapped);
    return inet_pton(AF_INET, text, raw + 12) == 1 || inet_pton(AF_INET6, text, raw) == 1;
}

static bool same_address(const char *a, const char *b)
{
    uint8_t one[16], other[16];
    return parse_address(a, one) && parse_address(b, other) && memcmp(one, other, 16) == 0;
}

/* RFC 1123 names and addresses without brackets; what does not resolve the dial will tell. */
static bool is_host(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-._:%";
    size_t len = strlen(text);
    return len && len <= HOST_MAX && strspn(text, letters) == len;
}

static const char *find_problem(const struct kb_source_lease *ask, bool own)
{
    const struct kb_static_console *m = &ask->machine;
    const char *why = kb_record_check_uuid(m->uuid);
    if (why)
        return why;
    if (!m->insecure_port && !m->secure_port)
        return "it has neither insecure_port nor secure_port";
    if (m->hypervisor && !is_host(m->hypervisor))
        return "its hypervisor is no host name";
    if (m->hypervisor_ip && !is_host(m->hypervisor_ip))
        return "its hypervisor_ip is no address and no host name";
    if (own && m->hypervisor_ip && !same_address(m->hypervisor_ip, ask->from))
        return "its hypervisor_ip is not the address that it asks from, and the source takes no "
               "other";
    return NULL;
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_machine(const struct kb_static_console *a, const struct kb_static_console *b)
{
    return same(a->name, b->name) && same(a->hypervisor, b->hypervisor) &&
           same(a->hypervisor_ip, b->hypervisor_ip) && same(a->host_subject, b->host_subject) &&
           same(a->owner, b->owner) && a->insecure_port == b->insecure_port &&
           a->secure_port == b->secure_port && same(a->ticket.text, b->ticket.text);
}

static struct kb_static_console copy_machine(const struct kb_source_lease *ask)
{
    const struct kb_static_console *m = &ask->machine;
    struct kb_static_console c = {
        .uuid = kb_strdup(m->uuid),
        .name = kb_strdup(m->name),
        .hypervisor = kb_strdup(m->hypervisor),
        .hypervisor_ip = kb_strdup(m->hypervisor_ip ? m->hypervisor_ip : ask->from),
        .host_subject = kb_strdup(m->host_subject),
        .owner = kb_strdup(m->owner),
        .insecure_port = m->insecure_port,
        .secure_port = m->secure_port,
    };
    kb_secret_set(&c.ticket, m->ticket.text);
    return c;
}

/* --- leases ----------------------------------------------------------------------------------- */

/* Two agents of one name would hand its users from one desktop to the other and back. */
static bool is_held(const struct lease *one, const struct kb_source_lease *ask)
{
    return (ask->holder && strcmp(one->holder, ask->holder) != 0) ||
           strcmp(one->agent, ask->agent) != 0;
}

static bool refuse(struct kb_source_lease *ask, enum kb_lease_answer answer, const char *why)
{
    ask->answer = answer;
    kb_copy_str(ask->why, sizeof ask->why, why);
    return false;
}

static struct lease *add(struct kb_leases *l, const struct kb_source_lease *ask)
{
    struct lease *one = kb_zalloc(sizeof *one);
    one->holder = kb_strdup(ask->holder);
    one->agent = kb_strdup(ask->agent);
    one->machine = copy_machine(ask);
    HASH_ADD_KEYPTR(hh, l->map, one->machine.uuid, strlen(one->machine.uuid), one);
    return one;
}

bool kb_leases_put(struct kb_leases *l, struct kb_source_lease *ask, bool own, int64_t longest,
                   uint64_t now_us)
{
    const char *problem = find_problem(ask, own);
    if (problem)
        return refuse(ask, KB_LEASE_REFUSED, problem);
    struct lease *one = find(l, ask->machine.uuid);
    if (one && one->until_us <= now_us) {
        drop(l, one);
        one = NULL;
    }
    if (one && is_held(one, ask))
        return refuse(ask, KB_LEASE_TAKEN, "another agent holds this name");
    if (!one && HASH_COUNT(l->map) >= KB_LEASES_MAX)
        return refuse(ask, KB_LEASE_FULL, "the source has as many machines as it takes");
    bool changed = true;
    ask->answer = one ? KB_LEASE_RENEWED : KB_LEASE_NEW;
    if (one) {
        struct kb_static_console next = copy_machine(ask);
        changed = !same_machine(&one->machine, &next);
        /* The key of the map is the uuid's memory, which therefore stays. */
        char *uuid = next.uuid;
        next.uuid = one->machine.uuid;
        one->machine.uuid = uuid;
        kb_static_console_finish(&one->machine);
        one->machine = next;
    } else {
        one = add(l, ask);
    }
    ask->granted = ask->ms < KB_LEASE_MIN_MS ? KB_LEASE_MIN_MS : ask->ms;
    if (ask->granted > longest)
        ask->granted = longest;
    one->until_us = now_us + (uint64_t)ask->granted * 1000;
    return changed;
}

bool kb_leases_end(struct kb_leases *l, struct kb_source_lease *ask)
{
    struct lease *one = find(l, ask->machine.uuid);
    if (!one)
        return refuse(ask, KB_LEASE_NOT_THERE, "no such machine has a lease");
    if ((ask->holder && strcmp(one->holder, ask->holder) != 0) ||
        (*ask->agent && strcmp(one->agent, ask->agent) != 0))
        return refuse(ask, KB_LEASE_TAKEN, "another agent holds this name");
    drop(l, one);
    ask->answer = KB_LEASE_ENDED;
    return true;
}

uint64_t kb_leases_list(struct kb_leases *l, const struct kb_source_config *config, uint64_t now_us,
                        struct kb_console **map)
{
    uint64_t first = 0;
    struct lease *one, *next;
    HASH_ITER (hh, l->map, one, next) {
        if (one->until_us <= now_us) {
            kb_log(KB_LOG_INFO, "lease.expired", KB_STR("source", config->name),
                   KB_STR("console", one->machine.uuid), KB_STR("actor", one->holder));
            drop(l, one);
            continue;
        }
        kb_consoles_add(map, kb_console_of(config, &one->machine));
        if (!first || one->until_us < first)
            first = one->until_us;
    }
    return first;
}
