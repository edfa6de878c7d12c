/* A display's gate: holds back the reading of its hypervisor while the client's link is full, and
 * keeps small what the hypervisor can send ahead meanwhile. What full is, is pace.h's. Private to
 * proxy; the loop's thread.
 *
 * Only displays have one: what waits in front of it is replaced by what is newer, and a person
 * waits for it. What waits of a disk or a file is the same whenever it goes. And only those of
 * clients that are not next door: there it would cost 6 % of the speed, and no hand feels it. */
#ifndef KB_PROXY_GATE_H
#define KB_PROXY_GATE_H

#include <stdbool.h>
#include <stddef.h>

struct kb_channel;
struct kb_gate;

/* Before dialling: whether the hypervisor's leg shall be small from its first byte (see
 * kb_tcp_begin_small). Not for a client next door, whose link is hardly a slow one and for whom
 * loopback's long segments are a quarter of the speed. */
bool kb_gate_begins_small(const struct kb_channel *ch);

/* For a channel that begins to relay; NULL: it needs none. */
struct kb_gate *kb_gate_create(struct kb_channel *ch);
void kb_gate_destroy(struct kb_gate *g); /* takes NULL */
/* The channel has another hypervisor's leg. */
void kb_gate_moved(struct kb_channel *ch);

/* How much of `most` bytes may be read from the hypervisor now. 0: nothing; kb_channel_resume comes
 * when that changes. A little more than asked for is no harm. */
size_t kb_gate_room(struct kb_channel *ch, size_t most);

#endif
