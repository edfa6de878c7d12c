/* What every way of logging in shares: the limit of failures, the audit, and the login itself. */
#ifndef KB_HTTP_LOGIN_H
#define KB_HTTP_LOGIN_H

#include "http/request.h"
#include "identity/provider.h"

#define KB_LOGIN_FAILED "the user name or the password is wrong"

/* Counts a try for the client's address and, unless NULL, for the name, until kb_login_was_good.
 * False: too many have failed; answered with 429. */
bool kb_login_may_try(struct kb_request *r, const char *name);
void kb_login_was_good(struct kb_request *r, const char *name);

/* Audits login.failed; detail says why, and is not for the client. */
void kb_login_failed(struct kb_request *r, const char *name, const char *detail);

/* Makes the login and audits login.ok. provider NULL: a local user. On true the request's token is
 * in token (wipe it) and its life in *life, ms; false: answered. */
bool kb_login_make(struct kb_request *r, const char *provider, const struct kb_provider_user *user,
                   char token[KB_TOKEN_SIZE], int64_t *life);
/* The Set-Cookie of the page's login. */
void kb_login_set_cookie(struct kb_request *r, const char *token, int64_t life);
/* kb_login_make and the answer of POST /login. */
void kb_login_reply(struct kb_request *r, const char *provider, const struct kb_provider_user *user,
                    bool as_cookie);

/* Whether the configuration gives a provider's user any role at all. */
bool kb_login_has_role(struct kb_request *r, const char *provider,
                       const struct kb_provider_user *user);

/* False: the provider did not let the user in; logged, audited, and *status, *code and *text say
 * what to tell the client. name: as the client gave it, "" if it did not. */
bool kb_login_check(struct kb_request *r, enum kb_provider_result result, const char *provider,
                    const char *name, const char *why, unsigned *status, const char **code,
                    const char **text);

#endif
