/* One verdict a message. Pure.
 *
 * Today every message is allowed; the relay asks all the same, at the place where rules will
 * answer. */
#ifndef KB_POLICY_POLICY_H
#define KB_POLICY_POLICY_H

#include "policy/rules.h"
#include "spice/stream.h"

enum kb_verdict { KB_ALLOW, KB_BLOCK };

/* Asked for every piece that begins a message; a whole one carries its body. */
enum kb_verdict kb_policy_judge(const struct kb_rules *r, unsigned channel_type,
                                enum kb_direction d, const struct kb_piece *piece);

#endif
