/* Who may open what: roles with a scope, given to users, groups and API keys by rules, and the one
 * function that decides. Pure; any thread; nothing here blocks.
 *
 * Lists are texts, one entry a line ("lab\ncloud"); NULL and "" are the empty list.
 *
 * Names of principals: a local user is "alice"; one of Keystone "keystone:alice" (of another domain
 * "keystone:DOMAIN/alice"); one of OIDC "oidc:alice"; an API key "apikey:nova". A local name holds
 * no colon, so none can pass for another. */
#ifndef KB_IDENTITY_ACCESS_H
#define KB_IDENTITY_ACCESS_H

#include "identity/identity.h"

/* Where a role holds. */
struct kb_scope {
    char *sources;  /* names; empty: every source */
    char *consoles; /* patterns of names; empty: every console. The word "owner" is the consoles
                       that belong to the principal */
};
void kb_scope_finish(struct kb_scope *s);

/* One entry of identity.roles: a role for everybody whom it names. */
struct kb_role_rule {
    enum kb_role role;
    char *users, *groups, *keys; /* names; all empty names nobody */
    struct kb_scope scope;
    char *policy; /* the name of one for whom it names, where it holds; or NULL */
};
void kb_role_rule_finish(struct kb_role_rule *r);

/* One entry of identity.groups: a policy for a group's members, whatever their role. */
struct kb_group_policy {
    char *groups, *policy;
};
void kb_group_policy_finish(struct kb_group_policy *g);

/* What a console looks like to a rule. */
struct kb_access_console {
    const char *source, *uuid;
    const char *name;  /* NULL: unknown; then only what holds for every console holds for it */
    const char *owner; /* NULL: its source does not say */
};

/* A role that a principal has, and where; scope NULL: everywhere. */
struct kb_assignment {
    enum kb_role role;
    const struct kb_scope *scope;
};

/* Who is asking. The texts and scopes are the caller's and must outlive it. */
struct kb_principal {
    const char *name;
    const char
        *alias; /* another name that sources and rules may use, such as Keystone's id; NULL */
    const char *groups; /* list */
    struct kb_assignment *assignments;
    size_t count;
};
/* Adds a role; KB_ROLE_NONE adds nothing. */
void kb_principal_assign(struct kb_principal *p, enum kb_role role, const struct kb_scope *scope);
/* Adds the roles of all rules that name the principal. */
void kb_principal_apply(struct kb_principal *p, const struct kb_role_rule *rules, size_t count);
void kb_principal_finish(struct kb_principal *p);
/* The names of the policies of the rules that name the principal and hold for the console; a name
 * is an entry of the list, which is to be freed. What the principal may do is no matter. */
char *kb_principal_role_policies(const struct kb_principal *p, const struct kb_role_rule *rules,
                                 size_t count, const struct kb_access_console *console);
/* The same by its groups alone. */
char *kb_principal_group_policies(const struct kb_principal *p, const struct kb_group_policy *list,
                                  size_t count);
/* The highest of its roles wherever it holds, for messages; KB_ROLE_NONE without any. */
enum kb_role kb_principal_role(const struct kb_principal *p);

/* The decision. console NULL: whether there may be one for which the answer is yes; but what
 * concerns all of kerbside (KB_MAY_MANAGE_USERS) takes a role that holds everywhere. */
bool kb_access_may(const struct kb_principal *p, enum kb_action a,
                   const struct kb_access_console *console);
/* Whether the action is allowed on every console there is. */
bool kb_access_everywhere(const struct kb_principal *p, enum kb_action a);
/* The same for a source as a whole. */
bool kb_access_source(const struct kb_principal *p, enum kb_action a, const char *source);
/* Whether the principal may hear that something exists which it may not touch (403, not 404):
 * admins, operators and auditors, wherever their role holds. */
bool kb_access_may_know(const struct kb_principal *p);

/* Whether text is an entry of the list. */
bool kb_access_listed(const char *list, const char *text);

#endif
