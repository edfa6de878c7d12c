/* Where a console may go: a hypervisor names its new place, and the source's own list says whether
 * that is one of its hypervisors, and how such a one is proved. So a hypervisor that lies gets no
 * further than the place of no console on a host of its own cloud. Sources thread. */
#include "source/thread.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool same_host(const char *a, const char *b)
{
    return a && b && strcasecmp(a, b) == 0;
}

static char *host_of(const struct kb_source_config *config, const struct kb_console *c)
{
    return kb_address_map(config, c->hypervisor_ip ? c->hypervisor_ip : c->hypervisor);
}

/* Whether the source has the console on the host, by any of its names. here: the host by the
 * source's address_map. */
static bool is_on(const struct kb_source_config *config, const struct kb_console *c,
                  const char *host, const char *here)
{
    if (c->transport != KB_TRANSPORT_TCP)
        return false;
    kb_auto_free char *its = host_of(config, c);
    return same_host(c->hypervisor, host) || same_host(c->hypervisor_ip, host) ||
           same_host(its, here);
}

static bool same_port(uint16_t a, uint16_t b)
{
    return a && a == b;
}

/* A console of the source that is on the host, the moving one rather than another; NULL: there is
 * none, or the place is another's. */
static const struct kb_console *find_neighbour(const struct kb_source *source,
                                               const struct kb_source_move *m)
{
    const struct kb_source_config *config = &source->cloud->config;
    kb_auto_free char *here = kb_address_map(config, m->host);
    const struct kb_console *found = NULL;
    for (const struct kb_console *c = source->consoles; c; c = c->hh.next) {
        if (!is_on(config, c, m->host, here))
            continue;
        bool itself = strcmp(c->uuid, m->uuid) == 0;
        if (!itself &&
            (same_port(c->insecure_port, m->port) || same_port(c->secure_port, m->tls_port)))
            return NULL;
        if (!found || itself)
            found = c;
    }
    return found;
}

static enum kb_reason judge(struct kb_sources *s, const struct kb_source_move *m,
                            struct kb_target **target)
{
    const struct kb_source *source = kb_inventory_find(s->inventory, m->source);
    if (!source || !source->cloud || !kb_consoles_find(source->consoles, m->uuid))
        return KB_REASON_CONSOLE_GONE;
    if (m->from->transport != KB_TRANSPORT_TCP || (!m->port && !m->tls_port))
        return KB_REASON_MIGRATION_REFUSED;
    const struct kb_console *c = find_neighbour(source, m);
    if (!c)
        return KB_REASON_MIGRATION_REFUSED;
    kb_auto_free char *host = host_of(&source->cloud->config, c);
    const char *name = same_host(c->hypervisor, host) ? NULL : c->hypervisor;
    *target = kb_target_at(m->from, host, name, c->host_subject, m->port, m->tls_port);
    return KB_REASON_NONE;
}

static void run_answer(struct kb_message *message)
{
    struct kb_source_move *m = (struct kb_source_move *)message;
    m->done(m);
}

static void run_move(struct kb_message *message)
{
    struct kb_source_move *m = (struct kb_source_move *)message;
    m->target = NULL;
    m->reason = judge(m->sources, m, &m->target);
    m->message.run = run_answer;
    kb_mailbox_post(m->reply_to, &m->message);
}

void kb_source_move(struct kb_sources *s, struct kb_source_move *m)
{
    m->sources = s;
    m->message.run = run_move;
    kb_mailbox_post(&s->worker.box, &m->message);
}
