/* How much may be under way to a client before its hypervisor is read on: the arithmetic, without
 * sockets or clock. Private to proxy.
 *
 * Whatever a hypervisor has sent of a display waits its turn in every buffer on the way, and a
 * key's echo behind it. What it has not sent yet it still replaces by what is newer (spice-server
 * drops obscured drawings from its pipe). So no more is taken from it than keeps the client's link
 * busy: a little over the link's rate times its round-trip time.
 *
 * Both are measured from what TCP tells now and then. The rate is the best of the last rounds in
 * which the limit was reached all the time; a round is a round-trip time. Rounds of less are only
 * believed when they are better. With a limit above the true product the rate grows by that much a
 * round, if the link can do more. The round-trip time is the least smoothed one of the last half
 * minute; since the limit itself makes a queue, it is lowered for a moment at times, so that the
 * queue is empty and the path's own time shows. */
#ifndef KB_PROXY_PACE_H
#define KB_PROXY_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KB_PACE_ROUNDS 8
/* A client's round-trip time: less is a local network, or this machine. */
#define KB_PACE_NEXT_DOOR_US 2000

/* What TCP says at one moment of the client's leg. */
struct kb_pace_facts {
    uint64_t now_us;
    uint64_t acked;   /* bytes acknowledged so far */
    uint64_t unacked; /* bytes sent or queued, and not acknowledged */
    uint32_t rtt_us;  /* smoothed */
    uint32_t least_rtt_us;
};

struct kb_pace {
    uint64_t limit; /* no more than so many bytes may be unacknowledged */
    uint64_t rate;  /* bytes a second; 0: not known yet */
    uint64_t rates[KB_PACE_ROUNDS];
    unsigned round;
    uint64_t round_us, round_acked; /* where the round under way began */
    bool round_full;                /* with the limit reached */
    bool filled;                    /* the rate has stopped growing: it is the link's */
    unsigned flat;                  /* rounds without growth */
    uint64_t grown;                 /* the rate that must be outgrown */
    unsigned narrow;                /* rounds that the hypervisor's leg seems to have held up */
    unsigned widened;               /* its window is doubled so often for that */
    uint32_t rtt_us[2];             /* the least of this period and of the last */
    uint32_t least_rtt_us;
    uint64_t period_us, drain_end_us;
};

void kb_pace_init(struct kb_pace *p, const struct kb_pace_facts *f);
/* Takes in what TCP says; limit and rate are new after it. */
void kb_pace_update(struct kb_pace *p, const struct kb_pace_facts *f);
/* How long until so much is acknowledged that reading on is worth it; 0: it is now. */
uint64_t kb_pace_wait_us(const struct kb_pace *p, uint64_t unacked);
/* How much the hypervisor may send ahead over a leg of that round-trip time; 0: as much as its
 * kernel and ours think best, the client's link being too fast for it to be felt (128 Mbit/s). */
size_t kb_pace_window(const struct kb_pace *p, uint32_t server_rtt_us);

#endif
