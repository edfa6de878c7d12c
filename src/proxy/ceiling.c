/* Holds back the reading of hypervisors when a session's bandwidth is used up. The loop's thread.
 */
#include "proxy/ceiling.h"

#include "base/clock.h"
#include "proxy/session_state.h"

#include <utlist.h>

/* A read or two of a display must not silence the others at a low rate. */
#define RESERVE_BYTES ((int64_t)2 * KB_BLOCK_SIZE)

static uint64_t rate_of(const struct kb_session *s)
{
    return s->rules->enforced.bandwidth;
}

/* How far into debt the session may be for the channel to go on. */
static int64_t floor_of(const struct kb_channel *ch)
{
    switch (ch->type) {
    case KB_CHANNEL_DISPLAY:
    case KB_CHANNEL_USBREDIR:
    case KB_CHANNEL_PORT:
    case KB_CHANNEL_WEBDAV:
        return 0;
    default:
        return -RESERVE_BYTES - (int64_t)(rate_of(ch->session) / 4);
    }
}

static bool fits(struct kb_channel *ch, uint64_t now_us)
{
    uint64_t rate = rate_of(ch->session);
    return !rate || kb_bucket_level(&ch->session->ceiling.enforced, rate, now_us) > floor_of(ch);
}

static void on_timer(void *arg);

/* For the channel that may go on first. */
static void wait_for_tokens(struct kb_session *s)
{
    uint64_t rate = rate_of(s), least_us = UINT64_MAX;
    struct kb_channel *ch;
    DL_FOREACH2(s->channels, ch, session_next)
    {
        uint64_t us = rate ? kb_bucket_wait_us(&s->ceiling.enforced, rate, floor_of(ch)) : 0;
        if (ch->held_us && us < least_us)
            least_us = us;
    }
    if (least_us == UINT64_MAX)
        kb_timer_finish(&s->ceiling.timer);
    else
        kb_timer_start(s->shard->loop, &s->ceiling.timer, (least_us + 999) / 1000, 0, on_timer, s);
}

/* One channel a turn, the one that waits for longest, since its reading may end it or the session.
 */
static void on_timer(void *arg)
{
    struct kb_session *s = arg;
    uint64_t now_us = kb_clock_us();
    struct kb_channel *ch, *next = NULL;
    DL_FOREACH2(s->channels, ch, session_next)
    {
        if (ch->held_us && fits(ch, now_us) && (!next || ch->held_us < next->held_us))
            next = ch;
    }
    if (next)
        next->held_us = 0;
    wait_for_tokens(s);
    if (next)
        kb_channel_resume(next);
}

bool kb_ceiling_may_read(struct kb_channel *ch)
{
    struct kb_session *s = ch->session;
    uint64_t now_us = rate_of(s) ? kb_clock_us() : 0;
    if (!ch->held_us && fits(ch, now_us))
        return true;
    if (!ch->held_us) {
        ch->held_us = now_us;
        kb_channel_verdict(ch, KB_RULE_BANDWIDTH, KB_RULE_BLOCKED, KB_FROM_SERVER,
                           "the channel waits for the session's bandwidth");
        wait_for_tokens(s);
    }
    return false;
}

void kb_ceiling_spend(struct kb_channel *ch, size_t bytes)
{
    struct kb_session *s = ch->session;
    if (rate_of(s))
        kb_bucket_spend(&s->ceiling.enforced, bytes);
    uint64_t only_seen = s->rules->observing ? s->rules->all.bandwidth : 0;
    if (!only_seen || only_seen == rate_of(s))
        return;
    if (kb_bucket_level(&s->ceiling.all, only_seen, kb_clock_us()) < 0)
        kb_channel_verdict(ch, KB_RULE_BANDWIDTH, KB_RULE_OBSERVED, KB_FROM_SERVER, NULL);
    else
        kb_bucket_spend(&s->ceiling.all, bytes);
}

void kb_ceiling_renew(struct kb_session *s)
{
    wait_for_tokens(s);
}

void kb_ceiling_finish(struct kb_ceiling *c)
{
    kb_timer_finish(&c->timer);
}
