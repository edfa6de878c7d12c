/* A channel as a client has it: connects, shakes hands, links with a ticket, step by step as bytes
 * come, so that many can be on their way at the same time. */
#ifndef KB_BENCH_CHANNEL_H
#define KB_BENCH_CHANNEL_H

#include "cycle.h"
#include "peer.h"

struct linking;

struct channel {
    struct peer peer;
    struct linking *linking; /* NULL: open, or not begun */
    uint32_t session;        /* connection id; of a main channel once it is open */
    uint64_t began_ns;
    /* What the runs keep of it once it is open. */
    uint32_t cycle_number;
    size_t at; /* in the cycle, or in the echoed message */
    uint64_t bytes;
    bool more; /* TLS may hold bytes that make no socket readable */
    uint8_t part[ECHO_SIZE];
};

/* No channel of SPICE: a TLS handshake and nothing in it. */
#define CHANNEL_BARE 0

/* Says the first word; the answer is for channel_step. session: 0 for main. The password stays the
 * caller's. */
void channel_begin(struct channel *ch, const struct door *d, const char *password, unsigned type,
                   unsigned id, uint32_t session);
/* Carries it on as far as bytes have come. True, once: it is open, with the INIT of main or of a
 * port taken. A refusal ends the program. */
bool channel_step(struct channel *ch);
/* The same, waiting. */
void channel_wait(struct channel *ch);
/* For the next begin. */
void channel_close(struct channel *ch);

#endif
