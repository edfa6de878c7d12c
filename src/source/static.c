/* The static source: consoles and tickets that the configuration itself lists. Every target is
 * known when the list is, so opening a console is a look-up. Nothing checks whether the hypervisor
 * lives; the dial will tell. Sources thread. */
#include "source/driver.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static char *take(char **text)
{
    char *t = *text;
    *text = NULL;
    return t;
}

static enum kb_tls_mode tls_of(const struct kb_source_config *config,
                               const struct kb_static_console *c)
{
    if (c->unix_socket)
        return KB_TLS_PLAIN;
    if (config->tls != KB_TLS_UNSET)
        return config->tls;
    return c->secure_port ? KB_TLS_REQUIRE : KB_TLS_PLAIN;
}

/* Moves the ticket over, so that there is never a second copy to wipe. */
static struct kb_target *make_target(const struct kb_source_config *config,
                                     struct kb_static_console *c)
{
    struct kb_target *t = kb_zalloc(sizeof *t);
    t->refs = 1;
    t->source = kb_strdup(config->name);
    t->uuid = kb_strdup(c->uuid);
    t->name = kb_strdup(c->name ? c->name : c->uuid);
    t->unix_socket = kb_strdup(c->unix_socket);
    if (!t->unix_socket) {
        t->host = kb_strdup(c->hypervisor_ip ? c->hypervisor_ip : c->hypervisor);
        if (c->hypervisor && t->host && strcmp(c->hypervisor, t->host) != 0)
            t->tls_name = kb_strdup(c->hypervisor);
    }
    t->port = c->insecure_port;
    t->tls_port = c->secure_port;
    t->tls = tls_of(config, c);
    t->ca_pem = kb_strdup(config->ca_cert);
    t->host_subject = kb_strdup(c->host_subject);
    t->ticket = c->ticket;
    c->ticket = (struct kb_secret){0};
    return t;
}

static void static_list(struct kb_sources *s, struct kb_source *source)
{
    struct kb_source_config *config = &source->config;
    struct kb_console *map = NULL;
    for (size_t i = 0; i < config->console_count; i++) {
        struct kb_static_console *c = &config->consoles[i];
        struct kb_console *console = kb_console_create(c->uuid, c->name ? c->name : c->uuid);
        console->target = make_target(config, c);
        console->hypervisor = take(&c->hypervisor);
        console->hypervisor_ip = take(&c->hypervisor_ip);
        console->unix_socket = take(&c->unix_socket);
        console->host_subject = take(&c->host_subject);
        console->owner = take(&c->owner);
        console->insecure_port = c->insecure_port;
        console->secure_port = c->secure_port;
        kb_consoles_add(&map, console);
    }
    kb_source_listed(s, source, map);
}

/* What the configuration said is in the inventory; only a reload reads it anew. But the store
 * may have missed it. */
static void static_refresh(struct kb_sources *s, struct kb_source *source)
{
    kb_source_unchanged(s, source);
}

static void static_open(struct kb_sources *s, struct kb_source *source, struct kb_console *console,
                        struct kb_source_open *o)
{
    (void)s;
    (void)source;
    kb_source_opened(o, KB_REASON_NONE, kb_target_ref(console->target));
}

const struct kb_source_driver kb_source_driver_static = {
    .type = "static",
    .list = static_list,
    .refresh = static_refresh,
    .open = static_open,
};
