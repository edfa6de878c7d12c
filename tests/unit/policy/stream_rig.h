/* Around a filter of a byte stream: feeds it bytes by cuts, and takes the payload of the DATA
 * messages that it sends. Shared by unit tests and fuzz targets, each with its own MUST. */
#ifndef KB_TEST_STREAM_RIG_H
#define KB_TEST_STREAM_RIG_H

#include "policy/content.h"

#include <spice/enums.h>

struct stream_rig {
    struct kb_content c;
    const struct kb_rules *rules;
    struct kb_buf got[KB_DIRECTIONS]; /* payload of what went on, by direction */
    bool ended;
    unsigned rules_hit[KB_RULE_COUNT][KB_RULE_ACTIONS];
    unsigned facts[KB_FACT_USB_UNPLUGGED + 1];
};

static inline void stream_on_rule(void *owner, enum kb_rule rule, enum kb_rule_action action,
                                  enum kb_direction d, const char *detail)
{
    struct stream_rig *r = owner;
    (void)d;
    (void)detail;
    r->rules_hit[rule][action]++;
}

static inline void stream_on_fact(void *owner, const struct kb_fact *fact)
{
    ((struct stream_rig *)owner)->facts[fact->kind]++;
}

static inline void stream_open(struct stream_rig *r, const struct kb_rules *rules)
{
    *r = (struct stream_rig){.rules = rules};
    r->c = (struct kb_content){.on_rule = stream_on_rule, .on_fact = stream_on_fact, .owner = r};
}

static inline void stream_take(struct stream_rig *r)
{
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        struct kb_buf *out = &r->c.to[d];
        for (size_t at = 0; at < out->len;) {
            MUST(out->len - at >= KB_MINI_HEADER_SIZE);
            uint32_t size = kb_get_u32(out->data + at + 2);
            MUST(kb_get_u16(out->data + at) == SPICE_MSG_SPICEVMC_DATA);
            MUST(size > 0 && out->len - at - KB_MINI_HEADER_SIZE >= size);
            kb_buf_add(&r->got[d], out->data + at + KB_MINI_HEADER_SIZE, size);
            at += KB_MINI_HEADER_SIZE + size;
        }
        out->len = 0;
    }
}

static inline void stream_close(struct stream_rig *r)
{
    kb_content_finish(&r->c);
    for (int d = 0; d < KB_DIRECTIONS; d++)
        kb_buf_finish(&r->got[d]);
}

#endif
