/* Estimates of a client's link, and the limits that follow. Pure; any thread. See pace.h. */
#include "proxy/pace.h"

/* Acknowledgements come in bunches: below this a rate is guesswork. */
#define ROUND_MIN_US 10000
/* Before anything is known: what a link with 10 Mbit/s carries in 100 ms. */
#define LIMIT_FIRST (128u << 10)
/* Two messages of a screen's corner. Below that small links would go from full to empty. */
#define LIMIT_MIN (32u << 10)
/* Timers count milliseconds, peers acknowledge and hypervisors wake up a little late. */
#define SLACK_US 4000
/* While the rate still grows: as BBR does (2.89), rounded up. */
#define GAIN_GROWING 3
#define FLAT_ROUNDS 3
#define PERIOD_US 15000000
#define DRAIN_ROUNDS 3

/* A sender begins with ten segments under way (RFC 6928) and has room for twice as many; a window
 * that is smaller than that lets neither grow. */
#define WINDOW_MIN (4u << 10)
#define NARROW_ROUNDS 8
#define WIDENED_MAX 3
/* More than Fast Ethernet carries. What waits then is hardly felt, a sender's largest buffer (4 MiB
 * by default) being a quarter of a second, and small reads would cost more than they give. */
#define RATE_FAST 16000000
#define LIMIT_FAST (1u << 20)

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t product(uint64_t rate, uint64_t us)
{
    uint64_t bytes;
    if (__builtin_mul_overflow(rate, us, &bytes))
        bytes = UINT64_MAX;
    return bytes / 1000000;
}

/* The path's own round-trip time. It is not the least of all, which says nothing of what a mobile
 * link adds to most packets; nor far from it, since queues of our own are in the others. */
static uint64_t path_us(const struct kb_pace *p)
{
    uint64_t us = least(p->rtt_us[0], p->rtt_us[1]), floor = p->least_rtt_us;
    return most(floor, least(us, floor + floor / 2 + 10000));
}

static void set_limit(struct kb_pace *p, uint64_t now_us)
{
    uint64_t path = path_us(p), us;
    if (now_us < p->drain_end_us)
        us = path - path / 8;
    else if (!p->filled)
        us = GAIN_GROWING * path + SLACK_US;
    else
        us = path + path / 4 + SLACK_US;
    uint64_t floor = p->rate >= RATE_FAST ? LIMIT_FAST : LIMIT_MIN;
    p->limit = p->rate ? most(product(p->rate, us), floor) : LIMIT_FIRST;
}

static void note_rtt(struct kb_pace *p, const struct kb_pace_facts *f)
{
    p->least_rtt_us = f->least_rtt_us;
    if (f->now_us - p->period_us < PERIOD_US) {
        p->rtt_us[0] = (uint32_t)least(p->rtt_us[0], f->rtt_us);
        return;
    }
    p->rtt_us[1] = p->rtt_us[0];
    p->rtt_us[0] = f->rtt_us;
    p->period_us = f->now_us;
    if (p->filled)
        p->drain_end_us = f->now_us + DRAIN_ROUNDS * path_us(p);
}

static void note_rate(struct kb_pace *p, uint64_t rate, bool full)
{
    if (full) {
        p->round = (p->round + 1) % KB_PACE_ROUNDS;
        p->rates[p->round] = rate;
    } else {
        p->rates[p->round] = most(p->rates[p->round], rate);
    }
    p->rate = 0;
    for (unsigned i = 0; i < KB_PACE_ROUNDS; i++)
        p->rate = most(p->rate, p->rates[i]);
    if (p->filled)
        return;
    if (p->rate > p->grown + p->grown / 4) {
        p->grown = p->rate;
        p->flat = 0;
    } else if (full && ++p->flat == FLAT_ROUNDS) {
        p->filled = true;
    }
}

/* Bytes flow at about the link's rate, as far as that is known, and yet it is half empty: then they
 * are late on their way to us. A busy machine wakes its hypervisors late, and the window was made
 * for one that does not. */
static void note_emptiness(struct kb_pace *p, uint64_t rate, uint64_t unacked)
{
    if (2 * unacked >= p->limit || 2 * rate < p->rate) {
        p->narrow = 0;
    } else if (++p->narrow == NARROW_ROUNDS && p->widened < WIDENED_MAX) {
        p->narrow = 0;
        p->widened++;
    }
}

void kb_pace_init(struct kb_pace *p, const struct kb_pace_facts *f)
{
    *p = (struct kb_pace){
        .round_us = f->now_us,
        .round_acked = f->acked,
        .rtt_us = {f->rtt_us, f->rtt_us},
        .least_rtt_us = f->least_rtt_us,
        .period_us = f->now_us,
    };
    set_limit(p, f->now_us);
}

void kb_pace_update(struct kb_pace *p, const struct kb_pace_facts *f)
{
    note_rtt(p, f);
    uint64_t span = most(f->rtt_us, ROUND_MIN_US), took = f->now_us - p->round_us;
    bool full = f->unacked >= p->limit;
    /* A round in which the limit was reached at both ends, and which is not longer than a look or
     * two more, had no pause in between. */
    bool lasting = p->round_full && took < 2 * span;
    bool over = took >= span && (full || !lasting);
    if (over) {
        uint64_t rate = (f->acked - p->round_acked) * 1000000 / took;
        note_rate(p, rate, full && lasting);
        note_emptiness(p, rate, f->unacked);
    }
    if (over || (full && !p->round_full)) { /* one that begins full may be one that lasts */
        p->round_us = f->now_us;
        p->round_acked = f->acked;
        p->round_full = full;
    }
    set_limit(p, f->now_us);
}

uint64_t kb_pace_wait_us(const struct kb_pace *p, uint64_t unacked)
{
    if (unacked < p->limit)
        return 0;
    uint64_t resume = p->limit - p->limit / 16; /* not for every segment that is acknowledged */
    return p->rate ? (unacked - resume) * 1000000 / p->rate : 1000;
}

size_t kb_pace_window(const struct kb_pace *p, uint32_t server_rtt_us)
{
    if (!p->rate)
        return WINDOW_MIN;
    if (p->rate >= RATE_FAST)
        return 0;
    uint64_t bytes = product(p->rate, 2 * (uint64_t)server_rtt_us + SLACK_US);
    return (size_t)most(bytes, WINDOW_MIN) << p->widened;
}
