/* Cuts one direction of a channel into messages and holds each to the grammar. Not here: what a
 * message means (the policy) and who holds the bytes (the relay). Pure; runs on the loop that owns
 * the channel, once or more a message, so it touches the header's six bytes and nothing else. */
#include "spice/stream.h"

#include <spice/enums.h>

enum { AT_TYPE = 0, AT_SIZE = 2, AT_SESSION_ID = KB_MINI_HEADER_SIZE };

void kb_stream_init(struct kb_stream *s, struct kb_grammar_walk *grammar, enum kb_direction d)
{
    *s = (struct kb_stream){.grammar = grammar, .direction = (uint8_t)d};
}

/* Nothing of this length is to be relayed, whatever the mode. */
static bool is_too_long(const struct kb_stream *s, const struct kb_grammar_row *row, uint32_t size)
{
    return size > kb_grammar[s->grammar->channel_type][s->direction].longest &&
           (!row || size > row->max);
}

/* The next bytes of a message that has begun. */
static void go_on(struct kb_stream *s, struct kb_span bytes, struct kb_piece *piece)
{
    size_t take = bytes.len < s->left ? bytes.len : s->left;
    s->left -= (uint32_t)take;
    *piece = (struct kb_piece){.bytes = kb_span(bytes.data, take),
                               .type = s->type,
                               .size = s->size,
                               .last = s->left == 0,
                               .watched = s->watched};
}

enum kb_stream_step kb_stream_next(struct kb_stream *s, struct kb_span bytes,
                                   struct kb_piece *piece, enum kb_reason *why)
{
    if (s->left) {
        if (!bytes.len)
            return KB_STREAM_MORE;
        go_on(s, bytes, piece);
        return KB_STREAM_PIECE;
    }

    if (bytes.len < KB_MINI_HEADER_SIZE)
        return KB_STREAM_MORE;
    struct kb_grammar_walk *g = s->grammar;
    enum kb_direction d = (enum kb_direction)s->direction;
    uint16_t type = kb_get_u16(bytes.data + AT_TYPE);
    uint32_t size = kb_get_u32(bytes.data + AT_SIZE);
    const struct kb_grammar_row *row = kb_grammar_find(g->channel_type, d, type);
    enum kb_reason breach = kb_grammar_judge(g, row, size);
    if (breach != KB_REASON_NONE && (!g->observed || is_too_long(s, row, size))) {
        *why = is_too_long(s, row, size) ? KB_REASON_MESSAGE_TOO_LONG : breach;
        return KB_STREAM_BAD;
    }
    if (!row)
        row = &kb_grammar_unknown;
    size_t body = bytes.len - KB_MINI_HEADER_SIZE;
    if (body < size) {
        if (size <= (row->list ? KB_STREAM_HELD_MAX : KB_STREAM_WHOLE_MAX))
            return KB_STREAM_MORE;
    } else {
        body = size;
    }
    if (row->list && breach == KB_REASON_NONE &&
        !kb_grammar_list_adds_up(kb_span(bytes.data + KB_MINI_HEADER_SIZE, body)))
        breach = KB_REASON_MESSAGE_MALFORMED;
    enum kb_reason flood = kb_grammar_take(g, row, d);
    if (breach == KB_REASON_NONE)
        breach = flood;
    if (breach != KB_REASON_NONE && !g->observed) {
        *why = breach;
        return KB_STREAM_BAD;
    }
    s->type = type;
    s->size = size;
    s->left = size - (uint32_t)body;
    s->watched = row->watched;
    s->messages++;
    *piece = (struct kb_piece){.bytes = kb_span(bytes.data, KB_MINI_HEADER_SIZE + body),
                               .type = type,
                               .size = size,
                               .first = true,
                               .last = s->left == 0,
                               .watched = row->watched,
                               .breach = breach};
    return KB_STREAM_PIECE;
}

bool kb_main_init_session(const struct kb_piece *p, uint32_t *session_id)
{
    if (!p->first || p->type != SPICE_MSG_MAIN_INIT || p->bytes.len < AT_SESSION_ID + 4)
        return false;
    *session_id = kb_get_u32(p->bytes.data + AT_SESSION_ID);
    return true;
}

bool kb_inputs_is_input(const struct kb_piece *p)
{
    return p->first && p->type >= SPICE_MSGC_INPUTS_KEY_DOWN;
}
