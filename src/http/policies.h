/* Which policies hold for a grant: those of its user and its maker, by roles and groups, and the
 * one that it names. HTTP threads. */
#ifndef KB_HTTP_POLICIES_H
#define KB_HTTP_POLICIES_H

#include "http/request.h"
#include "policy/book.h"

/* The names that a grant for user is to carry, divided by spaces. Of another user than the asker
 * kerbside knows the name alone, not the groups. False: answered (422: more than a session may
 * have). */
bool kb_request_grant_policies(struct kb_request *r, const char *user, const char *wished,
                               const struct kb_console_row *console,
                               char names[KB_POLICY_NAMES_MAX]);
/* The policies of a principal on a console, by its roles and by its groups, divided by spaces; to
 * be freed. */
char *kb_request_role_policies(const struct kb_request *r, const struct kb_principal *p,
                               const struct kb_console_row *console);
char *kb_request_group_policies(const struct kb_request *r, const struct kb_principal *p);
/* The rules that a session of the grant would have now; those of no policy if one is gone. */
struct kb_rules *kb_request_rules(struct kb_request *r, const struct kb_grant_row *grant,
                                  const char *console_name);

#endif
