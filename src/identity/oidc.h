/* Logging in with an OpenID Connect provider: the code flow with PKCE (RFC 7636, S256). The
 * provider's discovery document and keys are kept for a while; a new key is looked up when a token
 * asks for it. Blocks up to a deadline; never on a loop or an HTTP thread. Any number of threads at
 * a time. */
#ifndef KB_IDENTITY_OIDC_H
#define KB_IDENTITY_OIDC_H

#include "base/secret.h"
#include "identity/provider.h"
#include "identity/settings.h"

/* config must outlive it. */
struct kb_oidc *kb_oidc_create(const struct kb_oidc_config *config);
void kb_oidc_destroy(struct kb_oidc *o); /* takes NULL */

/* What one login needs on its way there and back. All of it comes from one secret that the browser
 * keeps in a cookie, so that any node can finish what another began, and nobody else can. */
#define KB_OIDC_TEXT 44
struct kb_oidc_flow {
    char state[KB_OIDC_TEXT], nonce[KB_OIDC_TEXT], verifier[KB_OIDC_TEXT], challenge[KB_OIDC_TEXT];
};
/* Pure. */
void kb_oidc_flow_derive(const char *secret, struct kb_oidc_flow *f);

/* Where to send the browser; to be freed. */
enum kb_provider_result kb_oidc_begin(struct kb_oidc *o, const struct kb_oidc_flow *f,
                                      const char *redirect_uri, struct kb_provider_call *call,
                                      char **url);
/* Trades the code for an ID token and that for a user. */
enum kb_provider_result kb_oidc_complete(struct kb_oidc *o, const struct kb_oidc_flow *f,
                                         const char *redirect_uri, const char *code,
                                         struct kb_provider_call *call,
                                         struct kb_provider_user *user);

#endif
