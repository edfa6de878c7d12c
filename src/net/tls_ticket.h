/* The keys of session tickets (RFC 5077, RFC 8446 4.6.1) for all server contexts of the process, so
 * that a reload does not cost clients their sessions. Any thread. */
#ifndef KB_NET_TLS_TICKET_H
#define KB_NET_TLS_TICKET_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

/* A key seals tickets for so long, and opens them for as long again. */
#define KB_TICKET_KEY_LIFE_US (6 * 3600 * 1000000ull)

/* Lets the context seal and open tickets with the process's keys. */
void kb_tls_ticket_use(SSL_CTX *ctx);
/* Makes the next key the sealing one where it is time; called by whoever seals. now: kb_clock_us's.
 * For tests too, which have no hours to wait. False: no random numbers; the old key stays. */
bool kb_tls_ticket_rotate(uint64_t now_us);
/* At the end of the program: wipes the keys. */
void kb_tls_ticket_forget(void);

#endif
