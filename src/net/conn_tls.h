/* The TLS half of a connection. Private to net. */
#ifndef KB_NET_CONN_TLS_H
#define KB_NET_CONN_TLS_H

#include "net/conn.h"

void kb_conn_tls_init(struct kb_conn *c, SSL_CTX *ctx);
/* OK: done. AGAIN: more to come. END, ERROR: detail says what. Puts its records into the queue. */
enum kb_io kb_conn_tls_handshake(struct kb_conn *c);
enum kb_io kb_conn_tls_read(struct kb_conn *c, void *to, size_t n, size_t *got);
bool kb_conn_tls_write(struct kb_conn *c, struct kb_span bytes);
void kb_conn_tls_finish(struct kb_conn *c);
void kb_conn_tls_goodbye(struct kb_conn *c); /* close_notify into the queue */

/* conn.c: the end of the queue of unsent bytes. */
void kb_conn_put(struct kb_conn *c, struct kb_span bytes);

#endif
