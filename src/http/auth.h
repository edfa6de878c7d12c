/* Who is asking: a login token, an API key, the page's cookie, or the admin socket. */
#ifndef KB_HTTP_AUTH_H
#define KB_HTTP_AUTH_H

#include "http/request.h"

/* The prefix makes browsers insist on Secure, on the path / and on this very host. */
#define KB_LOGIN_COOKIE "__Host-kerbside-login"

/* Fills in r->asker. False: answered, with 401, 403 (a state change with the cookie, without its
 * X-CSRF-Token) or 503. */
bool kb_auth_request(struct kb_request *r);
void kb_auth_finish(struct kb_asker *a); /* frees and wipes */

/* Whether what is refused now is to be audited: once a minute for each what and who. The
 * attempts between are for the log, or the audit would be what an attacker fills. */
bool kb_auth_audits_refusal(struct kb_request *r, const char *what, const char *who);

struct kb_identity;
/* Pure: gives a principal the roles that the configuration has for it; i may be NULL. provider is
 * "local", "keystone", "oidc", or "" for a key. Groups are those of the login. */
void kb_auth_assign(const struct kb_identity *i, const char *provider, struct kb_principal *p);

/* Pure: the token of "Bearer TOKEN". */
bool kb_auth_bearer(const char *authorization, struct kb_span *token);
/* Pure: the value of the first cookie of that name. */
bool kb_auth_cookie(const char *cookies, const char *name, struct kb_span *value);
/* The X-CSRF-Token that belongs to a login token: only who can read the answer of the login or of
 * /me can know it, and it opens nothing by itself. */
void kb_auth_csrf(struct kb_span login_token, char csrf[2 * KB_HASH_SIZE + 1]);

#endif
