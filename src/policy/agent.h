/* The agent's conversation inside the main channel, read and governed: clipboard, file transfer,
 * resize, view only. Source: spice-protocol 0.14.3, vd_agent.h; what peers make of it: spice-gtk
 * 0.42 channel-main.c, spice-server 0.15.1 reds.cpp and agent-msg-filter.c, vdagentd.c.
 *
 * Agent messages come cut into chunks, one a SPICE message (AGENT_DATA), at most 2048 bytes. They
 * are put together as far as a decision needs, judged, and cut anew: a chunk that goes on is never
 * longer than 2048, begins with the header or goes on where the last ended, and never holds two
 * messages. So it does not matter how a peer cuts, and both sides read what was judged.
 *
 * Tokens. A client spends one for every chunk; the server gives them back, and ends a client that
 * spends what it does not have. Whatever is swallowed or joined here is paid back to the client at
 * once. Where the rules may make us answer the guest ourselves, KB_AGENT_RESERVE of the tokens that
 * the server gives are kept for that. As many, because it gives them back by fives (spice-server,
 * REDS_TOKENS_TO_SEND): of its ten at least six are here or with the client, so with five here
 * neither ever waits for the other to spend. Else none is kept: a client sends five chunks a round
 * trip instead of ten. */
#ifndef KB_POLICY_AGENT_H
#define KB_POLICY_AGENT_H

#include "policy/content.h"

#define KB_AGENT_RESERVE 5
#define KB_AGENT_CHUNK_MAX 2048 /* VD_AGENT_MAX_DATA_SIZE */

struct kb_agent;

struct kb_agent *kb_agent_create(void);
/* Transfers under way become facts, not complete. */
void kb_agent_finish(struct kb_agent *a, struct kb_content *c);
void kb_agent_destroy(struct kb_agent *a); /* takes NULL */

/* Which of main's messages are to be fed, from the first on; all others pass as they are. */
bool kb_agent_wants(enum kb_direction d, uint16_t type);
/* One whole message that it wants; what is to be sent is in c->to. False: the channel ends; why has
 * been reported. Rules may be others each time: what has been agreed between the peers by then
 * (their capabilities) stays, so a clipboard that was off comes back only with a new agent. */
bool kb_agent_feed(struct kb_agent *a, struct kb_content *c, const struct kb_rules *rules,
                   enum kb_direction d, uint16_t type, struct kb_span body);

/* For tests: the server's count of the client's tokens is theirs and ours together. */
uint64_t kb_agent_client_tokens(const struct kb_agent *a);
unsigned kb_agent_reserve(const struct kb_agent *a);

#endif
