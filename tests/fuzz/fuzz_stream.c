/* The stream, with a grammar that only observes. Input: channel type, direction, the start of the
 * cuts, then one direction's bytes. Walked twice: all at once, and through a buffer as the relay's,
 * by cuts. Both must give the input back and find the messages that a plain reading of the headers
 * finds. What the grammar refuses is fuzz_grammar.c's. */
#include "fuzz.h"

#include "spice/stream.h"

struct found {
    uint64_t messages; /* begun, and not too long */
    size_t end;        /* of the last whole message or piece given */
    bool bad;
};

static uint32_t body_max(unsigned channel, enum kb_direction d, unsigned type)
{
    const struct kb_grammar_row *row = kb_grammar_find(channel, d, type);
    uint32_t longest = kb_grammar[channel][d].longest;
    return row && row->max > longest ? row->max : longest;
}

static uint32_t whole_max(enum kb_direction d, unsigned type)
{
    return d == KB_FROM_SERVER && type == 8 ? KB_STREAM_HELD_MAX : KB_STREAM_WHOLE_MAX;
}

/* How it should be, by the headers alone. Whole short messages only, long ones as far as they
 * reach. */
static struct found read_headers(struct kb_span in, unsigned channel, enum kb_direction d)
{
    struct found f = {0};
    while (in.len - f.end >= KB_MINI_HEADER_SIZE) {
        const uint8_t *p = in.data + f.end;
        uint64_t size = kb_get_u32(p + 2), here = in.len - f.end - KB_MINI_HEADER_SIZE;
        if (size > body_max(channel, d, kb_get_u16(p))) {
            f.bad = true;
            break;
        }
        if (here < size && size <= whole_max(d, kb_get_u16(p)))
            break;
        f.messages++;
        f.end += KB_MINI_HEADER_SIZE + (here < size ? here : size);
    }
    return f;
}

static void check_piece(const struct kb_piece *p, enum kb_direction d, const uint8_t *expect,
                        size_t at_hand, uint32_t left)
{
    MUST(p->bytes.len > 0 && p->bytes.len <= at_hand);
    MUST(memcmp(p->bytes.data, expect, p->bytes.len) == 0);
    MUST(p->last == (left == 0));
    if (p->first) {
        MUST(p->bytes.len >= KB_MINI_HEADER_SIZE);
        MUST(p->type == kb_get_u16(expect) && p->size == kb_get_u32(expect + 2));
    }
    if (p->size <= whole_max(d, p->type))
        MUST(p->first && p->last && p->bytes.len == KB_MINI_HEADER_SIZE + p->size);

    uint32_t id;
    if (kb_main_init_session(p, &id))
        MUST(p->first && p->type == 103 && id == kb_get_u32(expect + KB_MINI_HEADER_SIZE));
}

static struct found walk(struct kb_span in, unsigned channel, enum kb_direction d, uint32_t start)
{
    static uint8_t buffer[KB_MINI_HEADER_SIZE + KB_STREAM_HELD_MAX];
    struct found f = {0};
    struct cuts cuts = {start};
    struct kb_grammar_walk grammar;
    struct kb_stream s;
    size_t have = 0, read = 0;
    kb_grammar_init(&grammar, channel, true);
    kb_stream_init(&s, &grammar, d);
    for (;;) {
        const uint8_t *from = start ? buffer : in.data + f.end;
        if (start) {
            size_t room = sizeof buffer - have, left = in.len - read;
            size_t n = next_cut(&cuts, room < left ? room : left);
            memcpy(buffer + have, in.data + read, n);
            have += n;
            read += n;
        } else {
            have = in.len;
            read = in.len;
        }
        size_t used = 0;
        for (;;) {
            struct kb_piece p;
            enum kb_reason why = KB_REASON_NONE;
            struct kb_span bytes = kb_span(from + used, have - used);
            enum kb_stream_step step = kb_stream_next(&s, bytes, &p, &why);
            if (step == KB_STREAM_MORE)
                break;
            if (step == KB_STREAM_BAD) {
                MUST(why == KB_REASON_MESSAGE_TOO_LONG);
                f.bad = true;
                f.messages = s.messages;
                return f;
            }
            MUST(p.bytes.data == bytes.data);
            check_piece(&p, d, in.data + f.end, bytes.len, s.left);
            used += p.bytes.len;
            f.end += p.bytes.len;
        }
        if (start) {
            memmove(buffer, buffer + used, have - used);
            have -= used;
            /* A full buffer never gets stuck. */
            MUST(have < sizeof buffer);
        }
        if (read == in.len)
            break;
    }
    f.messages = s.messages;
    return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    unsigned channel = 1 + data[0] % (KB_CHANNEL_END - 1);
    enum kb_direction d = data[1] & 1 ? KB_FROM_SERVER : KB_FROM_CLIENT;
    struct kb_span in = kb_span(data + 3, size - 3);
    struct found want = read_headers(in, channel, d);
    for (int way = 0; way < 2; way++) {
        struct found got = walk(in, channel, d, way ? data[2] | 256u : 0);
        MUST(got.messages == want.messages && got.end == want.end && got.bad == want.bad);
    }
    return 0;
}
