/* What the configuration says about identities, and the counted whole of it that requests hold on
 * to while a reload brings the next. */
#ifndef KB_IDENTITY_SETTINGS_H
#define KB_IDENTITY_SETTINGS_H

#include "identity/access.h"

struct kb_keystone_config {
    char *url;                        /* NULL: no Keystone; with or without /v3 at its end */
    char *domain;                     /* the id of the domain that names without one belong to */
    char *access_group, *admin_group; /* NULL: none */
    char *ca;                         /* PEM; NULL: the system's trust */
    bool verify;
};

struct kb_oidc_config {
    char *issuer; /* NULL: no OIDC */
    char *client_id;
    struct kb_secret client_secret; /* none: a public client, with PKCE alone */
    char *groups_claim, *name_claim, *scopes;
    char *ca; /* PEM; NULL: the system's trust */
};

struct kb_identity_config {
    struct kb_role_rule *rules;
    size_t rule_count;
    struct kb_group_policy *group_policies;
    size_t group_policy_count;
    struct kb_keystone_config keystone;
    struct kb_oidc_config oidc;
};
void kb_identity_config_finish(struct kb_identity_config *c); /* wipes the secret */

struct kb_oidc;

/* Counted; all but the caches of oidc never changes. */
struct kb_identity {
    unsigned refs; /* by __atomic */
    struct kb_identity_config config;
    struct kb_oidc *oidc; /* NULL: off */
};
/* Takes the config's contents over. */
struct kb_identity *kb_identity_create(struct kb_identity_config *config);
struct kb_identity *kb_identity_ref(struct kb_identity *i);
void kb_identity_unref(struct kb_identity *i); /* takes NULL */

#endif
