/* A desktop that has moved to where its session's channels cannot follow: the client is sent back
 * to us. Private to proxy; the loop's thread.
 *
 * The old hypervisor says SWITCH_HOST once the desktop runs elsewhere. The client gets one of ours,
 * which names kerbside as its .vv did, so it leaves all its channels and links main anew, with the
 * same token. Until then the session waits, without main at times and for KB_SWITCH_MAX_US at most.
 * Where the desktop is now, the source is asked; where it does not know yet, what the hypervisor
 * said counts, as far as the source vouches for it (kb_source_move). */
#ifndef KB_PROXY_SWITCH_H
#define KB_PROXY_SWITCH_H

#include "proxy/channel.h"
#include "source/source.h"
#include "spice/migration.h"

#define KB_SWITCH_MAX_US 10000000u

/* Sends the client away and back. NONE, or MIGRATED: it cannot be told where to. */
enum kb_reason kb_switch_begin(struct kb_session *s, const struct kb_migration_place *place);
/* The session that waits for a main link with this token, from the address of the main that it had;
 * NULL: none. */
struct kb_session *kb_switch_find(struct kb_shard *shard, const struct kb_hash *token_hash,
                                  const char *client_address);
/* That link is here: ch is the session's main from now on, and the channels of before end. Its
 * target is to be found anew. */
void kb_switch_arrive(struct kb_session *s, struct kb_channel *ch);
/* Whether a target is the place that the session left: the source does not know of the move yet. */
bool kb_switch_is_left(const struct kb_session *s, const struct kb_target *t);
/* Main is linked: says in the audit where the session is now. */
void kb_switch_done(struct kb_session *s);
/* Once a second. May end the session. */
void kb_switch_tick(struct kb_session *s, uint64_t now_us);

/* All but done of a question about the place; from is referenced. */
void kb_switch_fill(struct kb_source_move *ask, const struct kb_session *s,
                    const struct kb_migration_place *place, struct kb_target *from);
/* Audits session.migrated, from there to the session's target; how: "seamless" or "switch". */
void kb_switch_tell(struct kb_session *s, const struct kb_target *from, const char *how);

#endif
