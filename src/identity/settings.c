/* Life of the configuration of identities. Any thread. */
#include "identity/settings.h"

#include "base/mem.h"
#include "identity/oidc.h"

void kb_identity_config_finish(struct kb_identity_config *c)
{
    for (size_t i = 0; i < c->rule_count; i++)
        kb_role_rule_finish(&c->rules[i]);
    free(c->rules);
    for (size_t i = 0; i < c->group_policy_count; i++)
        kb_group_policy_finish(&c->group_policies[i]);
    free(c->group_policies);
    free(c->keystone.url);
    free(c->keystone.domain);
    free(c->keystone.access_group);
    free(c->keystone.admin_group);
    free(c->keystone.ca);
    free(c->oidc.issuer);
    free(c->oidc.client_id);
    kb_secret_finish(&c->oidc.client_secret);
    free(c->oidc.groups_claim);
    free(c->oidc.name_claim);
    free(c->oidc.scopes);
    free(c->oidc.ca);
    *c = (struct kb_identity_config){0};
}

struct kb_identity *kb_identity_create(struct kb_identity_config *config)
{
    struct kb_identity *i = kb_zalloc(sizeof *i);
    i->refs = 1;
    i->config = *config;
    *config = (struct kb_identity_config){0};
    if (i->config.oidc.issuer)
        i->oidc = kb_oidc_create(&i->config.oidc);
    return i;
}

struct kb_identity *kb_identity_ref(struct kb_identity *i)
{
    __atomic_add_fetch(&i->refs, 1, __ATOMIC_RELAXED);
    return i;
}

void kb_identity_unref(struct kb_identity *i)
{
    if (!i || __atomic_sub_fetch(&i->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    kb_oidc_destroy(i->oidc);
    kb_identity_config_finish(&i->config);
    free(i);
}
