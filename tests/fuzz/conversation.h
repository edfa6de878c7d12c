/* A channel as the relay has it, for the targets that hold a conversation on one: both directions'
 * streams over one grammar, the edits, and what comes out on either side. */
#ifndef KB_FUZZ_CONVERSATION_H
#define KB_FUZZ_CONVERSATION_H

#include "fuzz.h"

#include "policy/edit.h"

struct conversation {
    struct kb_grammar_walk grammar;
    struct kb_stream streams[KB_DIRECTIONS];
    struct kb_buf held[KB_DIRECTIONS]; /* said, and not a whole message yet */
    struct kb_buf out[KB_DIRECTIONS];  /* as the other end gets it */
    bool raw[KB_DIRECTIONS];           /* a message is going on in pieces */
    struct kb_edit_session session;
    struct kb_edit *edit;
    struct kb_content content;
    struct kb_rules *rules;
    uint64_t in[KB_DIRECTIONS]; /* messages that came */
    bool over;
};

static inline void conversation_begin(struct conversation *c, unsigned channel, unsigned id,
                                      struct kb_rules *rules)
{
    *c = (struct conversation){.rules = rules};
    kb_grammar_init(&c->grammar, channel, rules->grammar_observed);
    for (int d = 0; d < KB_DIRECTIONS; d++)
        kb_stream_init(&c->streams[d], &c->grammar, (enum kb_direction)d);
    c->edit = kb_edit_create(channel, id, &c->session);
}

/* What the edits put in waits for the message under way. */
static inline void conversation_settle(struct conversation *c)
{
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        struct kb_buf *to = &c->content.to[d];
        if (c->streams[d].left || !to->len)
            continue;
        kb_buf_add(&c->out[d], to->data, to->len);
        to->len = 0;
    }
}

static inline void conversation_piece(struct conversation *c, enum kb_direction d,
                                      const struct kb_piece *p)
{
    struct kb_buf *to = &c->content.to[d];
    if (p->first) {
        c->in[d]++;
        MUST(!c->raw[d]);
        kb_buf_add(&c->out[d], to->data, to->len);
        to->len = 0;
    }
    enum kb_edit_step step = KB_EDIT_FORWARD;
    if (p->watched && c->edit)
        step = kb_edit_piece(c->edit, &c->content, c->rules, d, p);
    if (step == KB_EDIT_FORWARD) {
        /* It is not replaced as well; what comes behind its beginning waits for its end. */
        MUST(!p->first || to->len == 0);
        kb_buf_add(&c->out[d], p->bytes.data, p->bytes.len);
        c->raw[d] = !p->last;
    } else if (step == KB_EDIT_TAKEN) {
        MUST(!c->raw[d]);
        kb_buf_add(&c->out[d], to->data, to->len);
        to->len = 0;
    } else {
        c->over = true;
    }
}

static inline void conversation_say(struct conversation *c, enum kb_direction d,
                                    struct kb_span bytes)
{
    struct kb_buf *held = &c->held[d];
    kb_buf_add(held, bytes.data, bytes.len);
    size_t used = 0;
    while (!c->over) {
        struct kb_piece p;
        enum kb_reason why = KB_REASON_NONE;
        struct kb_span rest = kb_span(held->data + used, held->len - used);
        enum kb_stream_step step = kb_stream_next(&c->streams[d], rest, &p, &why);
        if (step == KB_STREAM_MORE) {
            MUST(rest.len < KB_MINI_HEADER_SIZE + KB_STREAM_HELD_MAX);
            break;
        }
        if (step == KB_STREAM_BAD) {
            MUST(why != KB_REASON_NONE);
            MUST(why == KB_REASON_MESSAGE_TOO_LONG || !c->grammar.observed);
            c->over = true;
            break;
        }
        MUST(p.bytes.data == rest.data && p.bytes.len > 0 && p.bytes.len <= rest.len);
        MUST(p.breach == KB_REASON_NONE || c->grammar.observed);
        used += p.bytes.len;
        conversation_piece(c, d, &p);
    }
    memmove(held->data, held->data + used, held->len - used);
    held->len -= used;
    if (!c->over)
        conversation_settle(c);
}

/* Whole messages, but for the last where one is under way; how many. */
static inline uint64_t conversation_heard(const struct conversation *c, enum kb_direction d)
{
    const struct kb_buf *b = &c->out[d];
    uint64_t n = 0;
    for (size_t at = 0; at < b->len; n++) {
        MUST(b->len - at >= KB_MINI_HEADER_SIZE);
        size_t size = kb_get_u32(b->data + at + 2), left = b->len - at - KB_MINI_HEADER_SIZE;
        MUST(size <= left || c->raw[d]);
        at += KB_MINI_HEADER_SIZE + (size < left ? size : left);
    }
    return n;
}

static inline void conversation_end(struct conversation *c)
{
    kb_edit_destroy(c->edit, &c->content);
    kb_content_finish(&c->content);
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        kb_buf_finish(&c->held[d]);
        kb_buf_finish(&c->out[d]);
    }
    kb_rules_unref(c->rules);
}

#endif
