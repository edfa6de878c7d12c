/* The RSA keys that clients encrypt their tickets with, made ahead by a helper thread: generating
 * one takes 10 ms, a loop never does. A key serves a bounded number of links and seconds. */
#ifndef KB_PROXY_KEYRING_H
#define KB_PROXY_KEYRING_H

#include "base/mailbox.h"
#include "net/loop.h"
#include "spice/ticket.h"

struct kb_key_request;

struct kb_keyring {
    struct kb_loop *loop;
    struct kb_worker *maker;
    struct kb_ticket_key *key;
    uint64_t since_us; /* when key came */
    unsigned uses;
    struct kb_key_request *request; /* under way */
};

/* first: shared at start by all rings; a reference is taken. */
void kb_keyring_init(struct kb_keyring *r, struct kb_loop *l, struct kb_worker *maker,
                     struct kb_ticket_key *first);
/* The key for the next link; a reference for the caller. Never waits: while a new key is being made
 * the old one goes on. */
struct kb_ticket_key *kb_keyring_take(struct kb_keyring *r, uint64_t now_us);
void kb_keyring_finish(struct kb_keyring *r);

#endif
