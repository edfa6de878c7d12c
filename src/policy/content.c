/* What the content filters share. Pure; the loop's thread. */
#include "policy/content.h"

void kb_content_finish(struct kb_content *c)
{
    for (int d = 0; d < KB_DIRECTIONS; d++)
        kb_buf_finish(&c->to[d]);
}

static void report(struct kb_content *c, enum kb_rule rule, enum kb_rule_action action,
                   enum kb_direction d, const char *detail)
{
    if (c->on_rule)
        c->on_rule(c->owner, rule, action, d, detail);
}

bool kb_content_blocks(struct kb_content *c, const struct kb_rules *rules, enum kb_direction d,
                       enum kb_rule enforced, enum kb_rule all, const char *detail)
{
    if (enforced != KB_RULE_NONE) {
        report(c, enforced, KB_RULE_BLOCKED, d, detail);
        return true;
    }
    if (rules->observing && all != KB_RULE_NONE)
        report(c, all, KB_RULE_OBSERVED, d, detail);
    return false;
}

bool kb_content_malformed(struct kb_content *c, const struct kb_rules *rules, enum kb_direction d,
                          enum kb_rule rule, const char *detail)
{
    report(c, rule, rules->grammar_observed ? KB_RULE_OBSERVED : KB_RULE_BLOCKED, d, detail);
    return !rules->grammar_observed;
}

void kb_content_fact(struct kb_content *c, const struct kb_fact *fact)
{
    if (c->on_fact)
        c->on_fact(c->owner, fact);
}

void kb_content_send(struct kb_content *c, enum kb_direction d, uint16_t type, struct kb_span body,
                     struct kb_span more)
{
    struct kb_buf *to = &c->to[d];
    uint8_t header[KB_MINI_HEADER_SIZE];
    kb_put_u16(header, type);
    kb_put_u32(header + 2, (uint32_t)(body.len + more.len));
    kb_buf_reserve(to, sizeof header + body.len + more.len);
    kb_buf_add(to, header, sizeof header);
    if (body.len)
        kb_buf_add(to, body.data, body.len);
    if (more.len)
        kb_buf_add(to, more.data, more.len);
}
