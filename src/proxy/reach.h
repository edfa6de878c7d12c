/* What dialling a hypervisor must know of a target. Private to proxy. */
#ifndef KB_PROXY_REACH_H
#define KB_PROXY_REACH_H

#include "base/buf.h"
#include "source/source.h"

#include <openssl/x509.h>
#include <stdbool.h>

/* Whether the first connection is TLS. */
bool kb_reach_begins_with_tls(const struct kb_target *t);
/* A plain link that failed for this reason may be tried again with TLS: only where the source
 * prefers TLS and names a port for it. */
bool kb_reach_may_redirect(const struct kb_target *t, enum kb_reason reason);
bool kb_reach_is_address(const char *host);
/* Whether a certificate, whose chain is proved, is the target's: NONE, SERVER_TLS_FAILED (x NULL),
 * SERVER_SUBJECT or SERVER_NAME; detail (not terminated) says what was expected. */
enum kb_reason kb_reach_check(const struct kb_target *t, X509 *x, struct kb_buf *detail);

#endif
