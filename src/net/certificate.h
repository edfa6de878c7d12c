/* The self-made CA and server certificate (ECDSA P-256), for installations without a PKI. */
#ifndef KB_NET_CERTIFICATE_H
#define KB_NET_CERTIFICATE_H

#include "base/auto.h"

#include <stdbool.h>

#include <openssl/x509.h>

/* Paths, to be freed with kb_certificate_files_finish. */
struct kb_certificate_files {
    char *ca, *certificate, *key;
};
void kb_certificate_files_finish(struct kb_certificate_files *f);

/* Makes what is missing in dir: ca.pem, ca-key.pem, server.pem, server-key.pem. The server's
 * certificate is for host (a name or an address) and is made anew when host changed or it ends
 * within 30 days; the CA stays. False and *error (to be freed) on failure. */
KB_MUST_CHECK bool kb_certificate_ensure(const char *dir, const char *host,
                                         struct kb_certificate_files *files, char **error);

/* The first certificate of a PEM file, or NULL. */
X509 *kb_certificate_load(const char *path);

#endif
