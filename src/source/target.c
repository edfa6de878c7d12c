/* The counted target, how it is made from a console's record, and the clean-up of what the
 * configuration handed over. Any thread. */
#include "source/driver.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static enum kb_tls_mode tls_of(const struct kb_source_config *config, const struct kb_console *c)
{
    if (c->unix_socket || c->transport == KB_TRANSPORT_SOURCE)
        return KB_TLS_PLAIN;
    if (config->tls != KB_TLS_UNSET)
        return config->tls;
    return c->secure_port ? KB_TLS_REQUIRE : KB_TLS_PLAIN;
}

struct kb_target *kb_target_of(const struct kb_source_config *config, const struct kb_console *c)
{
    struct kb_target *t = kb_zalloc(sizeof *t);
    t->refs = 1;
    t->source = kb_strdup(config->name);
    t->uuid = kb_strdup(c->uuid);
    t->name = kb_strdup(c->name);
    t->protocol = c->protocol;
    t->transport = c->transport;
    t->unix_socket = kb_strdup(c->unix_socket);
    if (!t->unix_socket) {
        t->host = kb_address_map(config, c->hypervisor_ip ? c->hypervisor_ip : c->hypervisor);
        if (c->hypervisor && t->host && strcmp(c->hypervisor, t->host) != 0)
            t->tls_name = kb_strdup(c->hypervisor);
    }
    t->port = c->insecure_port;
    t->tls_port = c->secure_port;
    t->tls = tls_of(config, c);
    t->ca_pem = kb_strdup(config->ca_cert);
    t->host_subject = kb_strdup(c->host_subject);
    return t;
}

struct kb_target *kb_target_at(const struct kb_target *from, const char *host, const char *tls_name,
                               const char *host_subject, uint16_t port, uint16_t tls_port)
{
    struct kb_target *t = kb_zalloc(sizeof *t);
    t->refs = 1;
    t->source = kb_strdup(from->source);
    t->uuid = kb_strdup(from->uuid);
    t->name = kb_strdup(from->name);
    t->protocol = from->protocol;
    t->transport = from->transport;
    t->host = kb_strdup(host);
    t->tls_name = kb_strdup(tls_name);
    t->port = port;
    t->tls_port = tls_port;
    t->tls = from->tls;
    t->ca_pem = kb_strdup(from->ca_pem);
    t->host_subject = kb_strdup(host_subject);
    kb_secret_set(&t->ticket, kb_secret_text(&from->ticket));
    return t;
}

struct kb_target *kb_target_ref(struct kb_target *t)
{
    __atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
    return t;
}

void kb_target_unref(struct kb_target *t)
{
    /* Release what this thread read of it before the last one frees it. */
    if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    free(t->source);
    free(t->uuid);
    free(t->name);
    free(t->host);
    free(t->tls_name);
    free(t->unix_socket);
    free(t->proxy_host);
    free(t->ca_pem);
    free(t->host_subject);
    free(t->path);
    kb_secret_finish(&t->header);
    kb_secret_finish(&t->ticket);
    free(t);
}

struct kb_console *kb_console_of(const struct kb_source_config *config,
                                 const struct kb_static_console *c)
{
    struct kb_console *console = kb_console_create(c->uuid, c->name ? c->name : c->uuid);
    console->hypervisor = kb_strdup(c->hypervisor);
    console->hypervisor_ip = kb_strdup(c->hypervisor_ip);
    console->unix_socket = kb_strdup(c->unix_socket);
    console->host_subject = kb_strdup(c->host_subject);
    console->owner = kb_strdup(c->owner);
    console->insecure_port = c->insecure_port;
    console->secure_port = c->secure_port;
    console->transport = console->unix_socket ? KB_TRANSPORT_UNIX : KB_TRANSPORT_TCP;
    console->target = kb_target_of(config, console);
    kb_secret_set(&console->target->ticket, c->ticket.text);
    return console;
}

void kb_static_console_finish(struct kb_static_console *c)
{
    free(c->uuid);
    free(c->name);
    free(c->hypervisor);
    free(c->hypervisor_ip);
    free(c->unix_socket);
    free(c->host_subject);
    free(c->owner);
    free(c->policy);
    kb_secret_finish(&c->ticket);
    *c = (struct kb_static_console){0};
}

void kb_static_consoles_finish(struct kb_static_console *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        kb_static_console_finish(&list[i]);
    free(list);
}

void kb_source_config_finish(struct kb_source_config *c)
{
    kb_static_consoles_finish(c->consoles, c->console_count);
    for (size_t i = 0; i < c->setting_count; i++) {
        free(c->settings[i].text);
        kb_secret_finish(&c->settings[i].secret);
    }
    free(c->settings);
    for (size_t i = 0; i < c->address_count; i++) {
        free(c->address_map[i].from);
        free(c->address_map[i].to);
    }
    free(c->address_map);
    free(c->name);
    free(c->type);
    free(c->ca_cert);
    free(c->error);
    *c = (struct kb_source_config){0};
}
