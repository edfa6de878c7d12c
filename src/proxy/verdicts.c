/* What rules did to a channel, as metrics and audit events: one when a rule first acts, one with
 * the total when the channel closes, if there was more. The loop's thread. */
#include "base/mem.h"
#include "proxy/channel.h"
#include "proxy/metrics.h"
#include "proxy/session_state.h"

#include <inttypes.h>
#include <stdlib.h>

static void audit(const struct kb_channel *ch, enum kb_rule rule, enum kb_rule_action action,
                  const char *detail)
{
    struct kb_audit_event e = {0};
    kb_copy_str(e.event, sizeof e.event,
                action == KB_RULE_BLOCKED ? "policy.blocked" : "policy.observed");
    kb_channel_describe(ch, &e);
    kb_copy_str(e.reason, sizeof e.reason, kb_rule_name(rule));
    kb_copy_str(e.detail, sizeof e.detail, detail);
    kb_store_audit(ch->shard->proxy->store, &e);
}

void kb_channel_verdict(struct kb_channel *ch, enum kb_rule rule, enum kb_rule_action action,
                        enum kb_direction d, const char *detail)
{
    if (!ch->verdicts)
        ch->verdicts = kb_zalloc(sizeof *ch->verdicts);
    kb_count_verdict(ch->type, d, kb_rule_name(rule), kb_rule_action_name(action));
    if (kb_verdicts_add(ch->verdicts, rule, action, d))
        audit(ch, rule, action, detail ? detail : kb_direction_name(d));
}

void kb_channel_sum_verdicts(struct kb_channel *ch)
{
    if (!ch->verdicts)
        return;
    for (int r = 0; r < KB_RULE_COUNT; r++) {
        for (int a = 0; a < KB_RULE_ACTIONS; a++) {
            const uint32_t *n = ch->verdicts->counts[r][a];
            if (kb_verdicts_total(ch->verdicts, (enum kb_rule)r, (enum kb_rule_action)a) < 2)
                continue;
            char text[96];
            snprintf(text, sizeof text,
                     "in all %" PRIu32 " from the client, %" PRIu32 " from the server",
                     n[KB_FROM_CLIENT], n[KB_FROM_SERVER]);
            audit(ch, (enum kb_rule)r, (enum kb_rule_action)a, text);
        }
    }
    free(ch->verdicts);
    ch->verdicts = NULL;
}
