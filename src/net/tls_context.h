/* TLS contexts: one for the listeners, one per trust for hypervisors. Counted by OpenSSL; any
 * thread. */
#ifndef KB_NET_TLS_CONTEXT_H
#define KB_NET_TLS_CONTEXT_H

#include "base/auto.h"

#include <openssl/ssl.h>
#include <stdbool.h>

/* Certificate chain and key from PEM files. NULL and *error (to be freed) on failure. */
SSL_CTX *kb_tls_server_create(const char *certificate, const char *key, char **error);
/* A further pair, with a key of another kind (ECDSA beside RSA): each client gets the one that it
 * can verify, ECDSA where it can both. False and *error on failure; the context is of no use then.
 */
KB_MUST_CHECK bool kb_tls_server_add(SSL_CTX *ctx, const char *certificate, const char *key,
                                     char **error);
/* Verifies the peer's chain against ca_pem, or the system's roots when NULL; names are checked by
 * the caller. Contexts are kept by CA, for the life of the process: the caller owns a reference. */
SSL_CTX *kb_tls_client_get(const char *ca_pem, char **error);
/* At the end of the program: forgets the kept contexts. */
void kb_tls_client_forget(void);

#endif
