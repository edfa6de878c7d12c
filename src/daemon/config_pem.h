/* PEM, as far as a configuration can be checked for it. */
#ifndef KB_DAEMON_CONFIG_PEM_H
#define KB_DAEMON_CONFIG_PEM_H

#include "base/span.h"

/* NULL if text has certificates and all of them parse, else what is wrong, to be freed. expired:
 * one of them has. */
char *kb_pem_check_certificates(struct kb_span text, bool *expired);
/* The same of a private key without passphrase, and whether it belongs to the first certificate;
 * certificate.data NULL: any. */
char *kb_pem_check_key(struct kb_span key, struct kb_span certificate);
/* NULL, or why two texts of certificates cannot be one server's, to be freed: the first of each
 * must have keys of different kinds and the same subject. */
char *kb_pem_check_pair(struct kb_span one, struct kb_span other);

#endif
