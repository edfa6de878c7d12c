/* The static source: consoles and tickets that the configuration itself lists. Every target is
 * known when the list is, so opening a console is a look-up. Nothing checks whether the hypervisor
 * lives; the dial will tell. Sources thread. */
#include "source/driver.h"

#include "base/mem.h"

#include <stdlib.h>

static char *take(char **text)
{
    char *t = *text;
    *text = NULL;
    return t;
}

/* Moves texts and ticket over, so that there is never a second copy of a ticket to wipe. */
static struct kb_console *make_console(const struct kb_source_config *config,
                                       struct kb_static_console *c)
{
    struct kb_console *console = kb_console_create(c->uuid, c->name ? c->name : c->uuid);
    console->hypervisor = take(&c->hypervisor);
    console->hypervisor_ip = take(&c->hypervisor_ip);
    console->unix_socket = take(&c->unix_socket);
    console->host_subject = take(&c->host_subject);
    console->owner = take(&c->owner);
    console->insecure_port = c->insecure_port;
    console->secure_port = c->secure_port;
    console->transport = console->unix_socket ? KB_TRANSPORT_UNIX : KB_TRANSPORT_TCP;
    console->target = kb_target_of(config, console);
    console->target->ticket = c->ticket;
    c->ticket = (struct kb_secret){0};
    return console;
}

/* What the configuration said is in the inventory after the first time; only a reload reads it
 * anew. */
static enum kb_listed static_list(struct kb_source_call *call, struct kb_console **map)
{
    struct kb_source_config *config = call->config;
    bool *taken = call->state;
    if (*taken)
        return KB_LISTED_UNCHANGED;
    for (size_t i = 0; i < config->console_count; i++)
        kb_consoles_add(map, make_console(config, &config->consoles[i]));
    *taken = true;
    return KB_LISTED;
}

static void *static_start(const struct kb_source_config *config)
{
    (void)config;
    return kb_zalloc(sizeof(bool)); /* whether the consoles were taken */
}

const struct kb_source_driver kb_source_driver_static = {
    .type = "static",
    .takes_consoles = true,
    .instant = true,
    .start = static_start,
    .finish = free,
    .list = static_list,
};
