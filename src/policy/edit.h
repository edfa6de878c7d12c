/* What becomes of the messages that a policy may have to look at (kb_grammar_row.watched): each
 * passes as it is, is replaced or swallowed, or ends its channel. Bytes in, bytes out; the relay
 * only moves them. Pure; the loop's thread.
 *
 * A stream stays valid whatever is done to it:
 * - The client numbers the server's messages by itself, and messages of display channels wait for
 *   one another by these numbers, so on display and cursor a message from the server is replaced by
 *   exactly one; nothing is dropped and nothing put in between. Their acknowledgements (SET_ACK)
 *   are right for the same reason.
 * - Pointer motions that are swallowed are acknowledged in the server's place, one MOTION_ACK for
 *   SPICE_INPUT_MOTION_ACK_BUNCH of them, or spice-gtk, which has at most two bunches under way,
 *   would never send another.
 * - Agent tokens: agent.h. */
#ifndef KB_POLICY_EDIT_H
#define KB_POLICY_EDIT_H

#include "policy/content.h"
#include "spice/stream.h"

/* What the channels of a session must know of one another. Zeroed is right. */
struct kb_edit_session {
    uint32_t displays; /* display channels in the last list that went to the client; 0: none yet */
};

struct kb_edit; /* of one channel, both directions */

/* NULL for a channel type that has no watched messages. session is borrowed. */
struct kb_edit *kb_edit_create(unsigned channel_type, unsigned channel_id,
                               struct kb_edit_session *session);
/* What was under way becomes facts in content. Takes NULL. */
void kb_edit_destroy(struct kb_edit *e, struct kb_content *content);

enum kb_edit_step {
    KB_EDIT_FORWARD, /* the piece goes on as it is */
    KB_EDIT_TAKEN,   /* it does not: what goes on in its place is in content->to[d] */
    KB_EDIT_END,     /* the channel is to end: POLICY_BLOCKED; why has been reported */
};

/* A watched piece; all pieces of a message, in order. What is in content->to of the other direction
 * is for that direction, between two of its messages. Rules may be others each time. */
enum kb_edit_step kb_edit_piece(struct kb_edit *e, struct kb_content *content,
                                const struct kb_rules *rules, enum kb_direction d,
                                const struct kb_piece *piece);

/* The rule that forbids a channel, KB_RULE_NONE if none does: for links, and for CHANNELS_LIST,
 * from which such channels vanish. */
enum kb_rule kb_edit_channel_rule(const struct kb_limits *l, unsigned channel_type,
                                  unsigned channel_id);

#endif
