/* What a session may carry: one verdict a message. Pure.
 *
 * Today everything is allowed; the relay asks all the same, at the place where rules will
 * answer. */
#ifndef KB_POLICY_POLICY_H
#define KB_POLICY_POLICY_H

#include "spice/stream.h"

struct kb_policy {
    char name[64];
};

enum kb_verdict { KB_ALLOW, KB_BLOCK };

/* The policy `default`. Lives for ever. */
const struct kb_policy *kb_policy_default(void);
bool kb_policy_allows_channel(const struct kb_policy *p, unsigned channel_type);
/* Asked for every piece that begins a message; a whole one carries its body. */
enum kb_verdict kb_policy_judge(const struct kb_policy *p, unsigned channel_type,
                                enum kb_direction d, const struct kb_piece *piece);

#endif
