/* The way to a hypervisor, until it is linked: connect, prove who answers, say the client's link
 * message, send the ticket. Private to proxy; the loop's thread.
 *
 *   begin (or take) -> connected -> done | failed
 *
 * A channel goes it once when it is set up (dial.c), and once more when its desktop moves
 * (migrate.c). */
#ifndef KB_PROXY_APPROACH_H
#define KB_PROXY_APPROACH_H

#include "net/dialer.h"
#include "spice/link.h"

struct kb_shard;
struct kb_target;

/* Zeroed is valid: nothing is under way. */
struct kb_approach {
    struct kb_shard *shard;
    struct kb_target *target;   /* counted by the owner */
    const struct kb_link *link; /* borrowed: what the client said */
    bool small;                 /* see kb_gate_begins_small */
    /* connected: may be NULL. done: conn is the owner's, and still read. failed: detail may lie in
     * the approach. After done or failed the owner finishes it, at once or later. */
    void (*connected)(void *owner);
    void (*done)(void *owner, struct kb_conn *conn);
    void (*failed)(void *owner, enum kb_reason reason, const char *detail);
    void *owner;
    /* its own */
    struct kb_dial *dial;
    struct kb_conn *conn;
    struct kb_timer deadline; /* of TLS and link */
    struct kb_server_link server_link;
    bool tls;        /* the connection is to be TLS */
    bool redirected; /* NEED_SECURED was followed once */
};

/* The members above `its own` are set. May call failed() before it returns. Not for a target whose
 * transport is SOURCE: its connection is taken. */
void kb_approach_begin(struct kb_approach *a);
/* Goes on from a connection that somebody else made; takes it over. */
void kb_approach_take(struct kb_approach *a, struct kb_conn *conn);
/* Gives up what is under way. */
void kb_approach_finish(struct kb_approach *a);

#endif
