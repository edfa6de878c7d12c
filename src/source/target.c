/* The counted target and the clean-up of what the configuration handed over. Any thread. */
#include "source/source.h"

#include "base/mem.h"

#include <stdlib.h>

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
    free(t->ca_pem);
    free(t->host_subject);
    kb_secret_finish(&t->ticket);
    free(t);
}

void kb_source_config_finish(struct kb_source_config *c)
{
    for (size_t i = 0; i < c->console_count; i++) {
        struct kb_static_console *k = &c->consoles[i];
        free(k->uuid);
        free(k->name);
        free(k->hypervisor);
        free(k->hypervisor_ip);
        free(k->unix_socket);
        free(k->host_subject);
        free(k->owner);
        free(k->policy);
        kb_secret_finish(&k->ticket);
    }
    free(c->consoles);
    free(c->name);
    free(c->type);
    free(c->ca_cert);
    free(c->error);
    *c = (struct kb_source_config){0};
}
