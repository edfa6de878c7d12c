/* Each channel's grammar, with its state, both directions. Input: channel type, then records: a
 * byte (bit 0: from the server), u8 length, that many bytes; or with bit 1: u16 type and u16 size
 * of a message whose body is zeros. What passed must be in the grammar when it is looked up
 * plainly. */
#include "conversation.h"

static void say_record(struct conversation *c, struct kb_span *in)
{
    static uint8_t zeros[KB_MINI_HEADER_SIZE + 65536];
    uint8_t kind = in->data[0];
    enum kb_direction d = kind & 1 ? KB_FROM_SERVER : KB_FROM_CLIENT;
    if (kind & 2 && in->len >= 5) {
        memcpy(zeros, in->data + 1, 2);
        kb_put_u32(zeros + 2, kb_get_u16(in->data + 3));
        conversation_say(c, d, kb_span(zeros, KB_MINI_HEADER_SIZE + kb_get_u16(in->data + 3)));
        kb_span_take_most(in, 5);
        return;
    }
    size_t len = in->data[1];
    kb_span_take_most(in, 2);
    conversation_say(c, d, kb_span_take_most(in, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    unsigned channel = 1 + data[0] % (KB_CHANNEL_END - 1);
    struct conversation c;
    conversation_begin(&c, channel, 0, kb_rules_create());
    kb_edit_destroy(c.edit, &c.content);
    c.edit = NULL;
    struct kb_span in = kb_span(data + 1, size - 1);
    while (in.len >= 2 && !c.over)
        say_record(&c, &in);
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        uint64_t n = 0;
        for (size_t at = 0; at < c.out[d].len; n++) {
            const uint8_t *p = c.out[d].data + at;
            const struct kb_grammar_row *row =
                kb_grammar_find(channel, (enum kb_direction)d, kb_get_u16(p));
            uint32_t body = kb_get_u32(p + 2);
            MUST(row && body >= row->min && body <= row->max);
            MUST(!(row->needs & KB_GRAMMAR_NEVER));
            at += KB_MINI_HEADER_SIZE + (size_t)body;
        }
        MUST(n == c.in[d]);
    }
    /* INIT is what nothing else comes before. */
    MUST(!(c.grammar.state & KB_GRAMMAR_NEVER));
    conversation_end(&c);
    return 0;
}
