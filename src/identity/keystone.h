/* Logging in with OpenStack's Keystone (API v3): a user's password, or a token that the user has.
 * It asks with the user's own token alone, so kerbside needs no account there. Blocks up to a
 * deadline; never on a loop or an HTTP thread.
 *
 * A group of the configured domain is known by its name, one of another domain as DOMAIN-ID/name:
 * who rules another domain cannot make a group there that passes for one of this. Users likewise.
 */
#ifndef KB_IDENTITY_KEYSTONE_H
#define KB_IDENTITY_KEYSTONE_H

#include "identity/provider.h"
#include "identity/settings.h"

/* domain: the name of the user's domain, NULL for the configured one. */
enum kb_provider_result kb_keystone_password(const struct kb_keystone_config *c, const char *name,
                                             const char *domain, const char *password,
                                             struct kb_provider_call *call,
                                             struct kb_provider_user *user);
/* user->expires_at is the token's. */
enum kb_provider_result kb_keystone_token(const struct kb_keystone_config *c, const char *token,
                                          struct kb_provider_call *call,
                                          struct kb_provider_user *user);
/* Pure: whether a user with these groups (one a line) may log in at all. */
bool kb_keystone_admits(const struct kb_keystone_config *c, const char *groups);
/* Pure: the role that the groups give by themselves: admin by the admin group; user, as upstream
 * Kerbside does, by the access group where the configuration has no roles. */
enum kb_role kb_keystone_role(const struct kb_keystone_config *c, const char *groups,
                              bool has_rules);

#endif
