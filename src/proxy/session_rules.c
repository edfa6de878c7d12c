/* A session's rules: from the policies that hold for it, at its start and after every reload; and
 * its limits of time, which are rules too. The loop's thread. */
#include "base/clock.h"
#include "base/duration.h"
#include "proxy/session_state.h"

static int64_t shorter(int64_t a, int64_t b)
{
    return !a || (b && b < a) ? b : a;
}

bool kb_session_take_rules(struct kb_session *s, char unknown[KB_POLICY_NAME_SIZE])
{
    const struct kb_policy_subject subject = {
        .by_grant = s->row.policy,
        .source = s->row.source,
        .uuid = s->row.uuid,
        .console = s->row.console_name,
    };
    struct kb_policy_book *book = kb_proxy_policies(s->shard->proxy);
    struct kb_rules *rules = kb_policy_book_resolve(book, &subject, unknown);
    kb_policy_book_unref(book);
    if (!rules)
        return false;
    kb_rules_unref(s->rules);
    s->rules = rules;
    s->max_session = shorter(s->row.max_session, rules->enforced.max_session);
    s->idle_timeout = shorter(s->row.idle_timeout, rules->enforced.idle_timeout);
    return true;
}

/* Channels that the new rules turn off. Main is never among them. */
static unsigned close_forbidden(struct kb_session *s)
{
    unsigned closed = 0;
    for (struct kb_channel *ch = s->channels, *next; ch; ch = next) {
        next = ch->session_next;
        if (kb_edit_channel_rule(&s->rules->enforced, ch->type, ch->id) == KB_RULE_NONE)
            continue;
        kb_channel_close(ch, KB_REASON_CHANNEL_FORBIDDEN, "after a reload of the policies");
        closed++;
    }
    return closed;
}

/* Channel types that are allowed now and were not: the client was told of channels at its start. */
static bool allows_more(const struct kb_limits *before, const struct kb_limits *now)
{
    for (unsigned t = KB_CHANNEL_MAIN; t < KB_CHANNEL_END; t++)
        if (!kb_limits_allow_channel(before, t) && kb_limits_allow_channel(now, t))
            return true;
    return false;
}

void kb_session_renew_rules(struct kb_session *s)
{
    struct kb_rules *before = kb_rules_ref(s->rules);
    char unknown[KB_POLICY_NAME_SIZE];
    if (!kb_session_take_rules(s, unknown)) {
        kb_log(KB_LOG_WARNING, "policy.kept", KB_STR("session_id", s->row.id),
               KB_STR("policy", unknown),
               KB_STR("detail", "the configuration no longer has the policy, or too many hold; the "
                                "session keeps the rules that it has"));
    } else {
        unsigned closed = close_forbidden(s);
        kb_ceiling_renew(s);
        bool more = allows_more(&before->enforced, &s->rules->enforced);
        kb_log(KB_LOG_INFO, "policy.renewed", KB_STR("session_id", s->row.id),
               KB_STR("policy", s->rules->names), KB_UINT("channels_closed", closed),
               KB_STR("detail", more ? "channels that are allowed now open when the client "
                                       "connects again"
                                     : ""));
    }
    kb_rules_unref(before);
}

/* --- time ------------------------------------------------------------------------------------- */

static enum kb_reason over(const struct kb_limits *l, int64_t max_session, int64_t idle_timeout,
                           const struct kb_session *s, uint64_t now_us, int64_t wall_ms)
{
    int64_t left;
    if (max_session && now_us - s->began_us > (uint64_t)max_session * 1000)
        return KB_REASON_MAX_SESSION;
    if (idle_timeout && now_us - s->input_us > (uint64_t)idle_timeout * 1000)
        return KB_REASON_IDLE;
    return kb_limits_open(l, wall_ms, &left) ? KB_REASON_NONE : KB_REASON_HOURS;
}

enum kb_reason kb_session_time_over(struct kb_session *s, uint64_t now_us)
{
    const struct kb_rules *r = s->rules;
    int64_t wall_ms = kb_clock_wall_ms();
    enum kb_reason reason = over(&r->enforced, s->max_session, s->idle_timeout, s, now_us, wall_ms);
    if (reason != KB_REASON_NONE || !r->observing || !s->main)
        return reason;
    enum kb_reason only_seen =
        over(&r->all, r->all.max_session, r->all.idle_timeout, s, now_us, wall_ms);
    if (only_seen == KB_REASON_NONE)
        return reason;
    enum kb_rule rule = only_seen == KB_REASON_HOURS         ? KB_RULE_HOURS
                        : only_seen == KB_REASON_MAX_SESSION ? KB_RULE_MAX_SESSION
                                                             : KB_RULE_IDLE_TIMEOUT;
    unsigned bit = 1u << (rule - KB_RULE_HOURS);
    if (!(s->observed_over & bit))
        kb_channel_verdict(s->main, rule, KB_RULE_OBSERVED, KB_FROM_CLIENT,
                           kb_reason_text(only_seen));
    s->observed_over |= bit;
    return reason;
}
