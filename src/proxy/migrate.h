/* A desktop that moves to another hypervisor while somebody works on it. Private to proxy; the
 * loop's thread.
 *
 * To hypervisors kerbside is the client that migrates; the real client never hears of it and keeps
 * its connections. Towards the new hypervisor the channels are linked a second time, beside those
 * that carry on:
 *
 *   main's MIGRATE_BEGIN_SEAMLESS -> ASKING (may it go there? the source decides)
 *     -> LINKING (main, DST_DO_SEAMLESS and its ACK, then the others) -> MIGRATE_CONNECTED_SEAMLESS
 *     -> READY (the machine's memory travels) -> each channel's MIGRATE -> MOVING:
 *        FLUSH_MARK to the old one, its MIGRATE_DATA to the new one, the server leg swapped
 *     -> all have moved: the old connections are closed, the session's target is the new one
 *
 * The stream goes on where it ended, so all that is known of it (grammar, edits, what peers agreed)
 * stays as it is. Whatever goes wrong before READY is answered with MIGRATE_CONNECT_ERROR: then the
 * old hypervisor says SWITCH_HOST when the desktop has moved, and switch.h takes over. So it does
 * with one that knows no seamless migration (MIGRATE_BEGIN). */
#ifndef KB_PROXY_MIGRATE_H
#define KB_PROXY_MIGRATE_H

#include "proxy/channel.h"

/* The first piece, or a further one, of a message of kb_migration_is: it never goes on. NONE, or
 * why the channel ends (MIGRATED: the session). */
enum kb_reason kb_migrate_take(struct kb_channel *ch, enum kb_direction d,
                               const struct kb_piece *p);
/* Whether the client's next message is for the new hypervisor and has to wait. */
bool kb_migrate_holds_client(const struct kb_channel *ch);
/* Does what is due between two messages. True: the server leg is another, and what it was about to
 * read has been read; the channel may have ended. */
bool kb_migrate_step(struct kb_channel *ch);
/* A channel that opened while its session migrates. */
void kb_migrate_add(struct kb_channel *ch);
/* A channel ends; main ends the migration. */
void kb_migrate_remove(struct kb_channel *ch);
/* Gives up a migration, if there is one, without a word. */
void kb_migrate_drop(struct kb_session *s);
/* Once a second. May end the session. */
void kb_migrate_tick(struct kb_session *s, uint64_t now_us);

/* "session.migrated", "session.migration_failed"; reason may be NONE. */
void kb_migrate_audit(struct kb_session *s, const char *event, enum kb_reason reason,
                      const char *detail);

#endif
