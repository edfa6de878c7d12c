/* The most bytes a second that a session sends to its client, all channels together. Hypervisors
 * are read no faster: what does not fit waits there, so nothing is kept here. Display and what
 * moves files go by the ceiling first; what a person hears and feels has a reserve before it waits
 * too. Private to proxy; the loop's thread. */
#ifndef KB_PROXY_CEILING_H
#define KB_PROXY_CEILING_H

#include "net/loop.h"
#include "policy/bucket.h"

struct kb_channel;
struct kb_session;

struct kb_ceiling {
    struct kb_bucket enforced, all; /* by the rules' two limits */
    struct kb_timer timer;          /* running while a channel waits */
};

/* Whether the channel's hypervisor may be read now. If not, the channel waits: it is told by
 * kb_channel_resume. */
bool kb_ceiling_may_read(struct kb_channel *ch);
/* So much was read from it. */
void kb_ceiling_spend(struct kb_channel *ch, size_t bytes);
/* The rules are new: who waits, waits by them. */
void kb_ceiling_renew(struct kb_session *s);
void kb_ceiling_finish(struct kb_ceiling *c);

#endif
