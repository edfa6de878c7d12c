/* Counts what rules did. Pure; the loop that owns the channel. */
#include "policy/verdicts.h"

const char *kb_rule_name(enum kb_rule r)
{
    static const char *const names[] = {
#define X(symbol, name) name,
        KB_RULES(X)
#undef X
    };
    return (unsigned)r < KB_RULE_COUNT ? names[r] : "unknown";
}

const char *kb_rule_action_name(enum kb_rule_action a)
{
    return a == KB_RULE_BLOCKED ? "blocked" : "observed";
}

bool kb_verdicts_add(struct kb_verdicts *v, enum kb_rule r, enum kb_rule_action a,
                     enum kb_direction d)
{
    bool first = kb_verdicts_total(v, r, a) == 0;
    uint32_t *n = &v->counts[r][a][d];
    if (*n < UINT32_MAX)
        ++*n;
    return first;
}

uint64_t kb_verdicts_total(const struct kb_verdicts *v, enum kb_rule r, enum kb_rule_action a)
{
    return (uint64_t)v->counts[r][a][KB_FROM_CLIENT] + v->counts[r][a][KB_FROM_SERVER];
}
