/* What dialling a hypervisor must know of a target. Private to proxy. */
#ifndef KB_PROXY_REACH_H
#define KB_PROXY_REACH_H

#include "base/buf.h"
#include "net/dialer.h"
#include "source/source.h"

#include <openssl/x509.h>
#include <stdbool.h>

/* Whether the first connection is TLS. */
bool kb_reach_begins_with_tls(const struct kb_target *t);
/* A plain link that failed for this reason may be tried again with TLS: only where the source
 * prefers TLS and names a port for it. */
bool kb_reach_may_redirect(const struct kb_target *t, enum kb_reason reason);
/* Begins to connect by the target's transport, with TLS to come or without; not for SOURCE. NULL
 * with *reason (and *detail, static or NULL) when there is no way at all. */
struct kb_dial *kb_reach_dial(const struct kb_target *t, bool tls, struct kb_loop *l,
                              struct kb_worker *resolver, uint64_t each_ms,
                              void (*done)(void *arg, const struct kb_dial_result *r), void *arg,
                              enum kb_reason *reason, const char **detail);
/* The name that the TLS handshake asks for, or NULL: an address, or what only a proxy knows. */
const char *kb_reach_sni(const struct kb_target *t);
bool kb_reach_is_address(const char *host);
/* Appends the place as people read it: "hv1:5901", by TLS port where TLS is first, or a path. */
void kb_reach_describe(const struct kb_target *t, struct kb_buf *out);
/* Whether a certificate, whose chain is proved, is the target's: NONE, SERVER_TLS_FAILED (x NULL),
 * SERVER_SUBJECT or SERVER_NAME; detail (not terminated) says what was expected. */
enum kb_reason kb_reach_check(const struct kb_target *t, X509 *x, struct kb_buf *detail);

#endif
