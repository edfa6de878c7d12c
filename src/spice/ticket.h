/* The SPICE ticket: a password in RSA-1024 OAEP(SHA-1), over OpenSSL. */
#ifndef KB_SPICE_TICKET_H
#define KB_SPICE_TICKET_H

#include "base/buf.h"
#include "base/auto.h"
#include "spice/wire.h"

/* Both leave OpenSSL's error queue as it was, so that they may run between TLS calls. */

struct kb_ticket_key; /* counted; immutable, so any thread may use one at the same time as others */

/* Generates a key: some 10 ms, so never on a loop. NULL if OpenSSL cannot. */
struct kb_ticket_key *kb_ticket_key_create(void);
struct kb_ticket_key *kb_ticket_key_ref(struct kb_ticket_key *k);
void kb_ticket_key_unref(struct kb_ticket_key *k); /* takes NULL */
/* KB_LINK_PUBKEY_SIZE bytes, DER. */
const uint8_t *kb_ticket_key_public(const struct kb_ticket_key *k);

/* Opens a client's ticket into password, ended by NUL (what follows the first NUL is not looked at;
 * a client that sent none is forgiven). Up to 60 characters, as spice-gtk lets its user type them.
 * False, with password "", if it does not decrypt or is longer. The caller wipes. */
KB_MUST_CHECK bool kb_ticket_open(struct kb_ticket_key *k, const uint8_t ticket[KB_TICKET_SIZE],
                                  char password[KB_PASSWORD_MAX + 1]);
/* Seals a password for a hypervisor: appends mechanism AUTH_SPICE (u32 1) and the ticket, of the
 * password and its NUL, to out. "" is a password too: servers without ticketing want one all the
 * same. False, with nothing appended, if the key is no RSA-1024 key with the exponent 65537 or
 * the password is longer than the 59 characters that a server can hold. */
KB_MUST_CHECK bool kb_ticket_seal(struct kb_buf *out, const uint8_t pubkey[KB_LINK_PUBKEY_SIZE],
                                  const char *password);

#endif
