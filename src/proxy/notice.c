/* Tells a session's person what is about to happen, through NOTIFY on main. It only ever goes
 * between two messages: when one is under way, a warning waits for the next tick, and an end
 * goes without words, since nothing holds an end up. The loop's thread. */
#include "proxy/notice.h"

#include "base/clock.h"
#include "base/duration.h"
#include "base/mem.h"
#include "spice/notify.h"

/* What is held back of a message has not begun for the client; only `left` counts. */
static bool is_between_messages(const struct kb_session *s)
{
    return s->main && s->main->state == KB_STATE_RELAY && s->linked &&
           s->main->server.stream.left == 0;
}

static bool say(struct kb_session *s, enum kb_severity severity, const char *text)
{
    if (!is_between_messages(s))
        return false;
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    kb_notify_write(&out, kb_clock_us() * 1000, severity, text);
    kb_conn_queue(s->main->client.conn, kb_buf_span(&out));
    return true;
}

void kb_notice_end(struct kb_session *s, enum kb_reason reason, const char *detail)
{
    switch (reason) {
    case KB_REASON_TERMINATED:
    case KB_REASON_MAX_SESSION:
    case KB_REASON_IDLE:
    case KB_REASON_HOURS:
    case KB_REASON_DRAINED:
    case KB_REASON_MIGRATED:
        break;
    default:
        return;
    }
    bool more = detail && *detail;
    kb_auto_free char *text =
        kb_printf("%s%s%s", kb_reason_text(reason), more ? ": " : "", more ? detail : "");
    say(s, KB_SEVERITY_ERROR, text);
}

/* True once the warning is out. */
static bool warn(struct kb_session *s, const char *rule, int64_t limit_ms, int64_t left_ms)
{
    char limit[KB_DURATION_TEXT_SIZE] = "", left[KB_DURATION_TEXT_SIZE];
    if (limit_ms)
        kb_duration_format(limit_ms, limit);
    kb_duration_format((left_ms + 999) / 1000 * 1000, left);
    kb_auto_free char *text =
        kb_printf("%s%s%s; this one ends in %s", rule, *limit ? " " : "", limit, left);
    if (!say(s, KB_SEVERITY_WARN, text))
        return false;
    /* A broken connection shows itself to the relay. */
    (void)!kb_conn_flush(s->main->client.conn);
    return true;
}

static bool is_near(int64_t limit_ms, int64_t left_ms)
{
    return limit_ms > KB_NOTICE_BEFORE_MS && left_ms > 0 && left_ms <= KB_NOTICE_BEFORE_MS;
}

void kb_notice_tick(struct kb_session *s, uint64_t now_us)
{
    int64_t limit = s->max_session, left = limit - (int64_t)(now_us - s->began_us) / 1000;
    if (!s->warned_max && is_near(limit, left))
        s->warned_max = warn(s, "a session lasts at most", limit, left);
    limit = s->idle_timeout;
    left = limit - (int64_t)(now_us - s->input_us) / 1000;
    if (s->warned_input != s->input_us && is_near(limit, left) &&
        warn(s, "a session that nobody touches ends after", limit, left))
        s->warned_input = s->input_us;
    if (!kb_limits_open(&s->rules->enforced, kb_clock_wall_ms(), &left) ||
        left > KB_NOTICE_BEFORE_MS)
        s->warned_hours = false;
    else if (!s->warned_hours)
        s->warned_hours = warn(s, "the hours of sessions end", 0, left);
}
