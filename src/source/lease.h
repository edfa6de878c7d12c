/* The leases of one source's machines: who holds each, until when, and what the machine is. Plain
 * data; the caller says what time it is. */
#ifndef KB_SOURCE_LEASE_H
#define KB_SOURCE_LEASE_H

#include "source/driver.h"

struct kb_leases;

struct kb_leases *kb_leases_create(void);
void kb_leases_destroy(struct kb_leases *l); /* wipes tickets */
/* Moves all of from's over. */
void kb_leases_take(struct kb_leases *l, struct kb_leases *from);

/* NEW, RENEWED, TAKEN, REFUSED or FULL, in ask->answer. own: a machine may only name the address
 * that it asks from; longest: ms. True: what is listed has changed. */
bool kb_leases_put(struct kb_leases *l, struct kb_source_lease *ask, bool own, int64_t longest,
                   uint64_t now_us);
/* ENDED, TAKEN or NOT_THERE, likewise. */
bool kb_leases_end(struct kb_leases *l, struct kb_source_lease *ask);
/* Forgets those that ran out, said in the log; lists the others into the map. The time of the next
 * one to run out, 0 for none. */
uint64_t kb_leases_list(struct kb_leases *l, const struct kb_source_config *config, uint64_t now_us,
                        struct kb_console **map);

#endif
