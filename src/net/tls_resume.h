/* TLS sessions with hypervisors, kept so that the next channel to the same one need not prove
 * everything again: that saves the chain's signatures on our side and the key's on theirs. A
 * session belongs to its context (a CA) and to the address, port and name that it was made with;
 * the pinned subject is checked on every connection as ever, on the certificate that the session
 * remembers. Any thread. */
#ifndef KB_NET_TLS_RESUME_H
#define KB_NET_TLS_RESUME_H

#include "net/conn.h"

/* What one context keeps at most, and for how long after a full handshake, however often it is
 * resumed: so late is an expired certificate seen. */
#define KB_RESUME_MAX 1024
#define KB_RESUME_LIFE_S 600

/* Lets a client context keep sessions. */
void kb_tls_resume_init(SSL_CTX *ctx);
/* Offers the session that is kept for the connection's peer, if there is one. Before the handshake,
 * with the name set. */
void kb_tls_resume_offer(struct kb_conn *c);

#endif
