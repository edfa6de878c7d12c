/* The agent filter, between a client and a server that keep the accounts of real ones (the unit
 * tests' rig). Records: bit 0 the direction; bit 1: bytes of a chunk as they are, else the type as
 * a byte and the body of a whole message, which is cut. Bits 2 to 7 as 63: another agent comes.
 *
 * Where all is whole messages, two ways of cutting must give the same. */
#include "records.h"

#include "../unit/policy/agent_rig.h"

static void another_agent(struct agent_rig *r)
{
    uint8_t tokens[4] = {RIG_TOKENS}, grant[4] = {0xff, 0xff, 0xff, 0xff};
    if (r->ended)
        return;
    r->server_tokens = RIG_TOKENS;
    r->used = 0;
    r->left[0] = r->left[1] = 0;
    rig_feed(r, KB_FROM_SERVER, SPICE_MSG_MAIN_AGENT_CONNECTED_TOKENS, kb_span(tokens, 4));
    rig_feed(r, KB_FROM_CLIENT, SPICE_MSGC_MAIN_AGENT_START, kb_span(grant, 4));
}

static void say_message(struct agent_rig *r, enum kb_direction d, struct kb_span in,
                        struct cuts *cuts)
{
    struct kb_buf m = {0};
    if (!in.len)
        return;
    kb_buf_add_u32(&m, VD_AGENT_PROTOCOL);
    kb_buf_add_u32(&m, in.data[0] % (VD_AGENT_END_MESSAGE + 1));
    kb_buf_add_u32(&m, 0);
    kb_buf_add_u32(&m, 0);
    kb_buf_add_u32(&m, (uint32_t)in.len - 1);
    if (in.len > 1)
        kb_buf_add(&m, in.data + 1, in.len - 1);
    struct kb_span rest = kb_buf_span(&m);
    while (rest.len && !r->ended) {
        size_t most = rest.len < KB_AGENT_CHUNK_MAX ? rest.len : KB_AGENT_CHUNK_MAX;
        rig_chunk(r, d, kb_span_take_most(&rest, next_cut(cuts, most)));
    }
    kb_buf_finish(&m);
}

/* True: only whole messages were said. */
static bool converse(struct agent_rig *r, const struct kb_rules *rules, struct kb_span in,
                     uint32_t start)
{
    struct cuts cuts = {start};
    struct record record;
    bool whole = true;
    rig_open(r, rules);
    while (next_record(&in, &record) && !r->ended) {
        enum kb_direction d = record.kind & 1 ? KB_FROM_SERVER : KB_FROM_CLIENT;
        if (record.kind >> 2 == 63) {
            another_agent(r);
        } else if (record.kind & 2) {
            whole = false;
            if (record.bytes.len)
                rig_chunk(r, d, record.bytes);
        } else {
            say_message(r, d, record.bytes, &cuts);
        }
    }
    return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct kb_rules *rules = rules_of(data[0]);
    struct kb_span in = kb_span(data + 2, size - 2);
    struct agent_rig one, two;
    bool whole = converse(&one, rules, in, 0);
    converse(&two, rules, in, data[1] | 256u);
    if (whole) {
        MUST(one.ended == two.ended);
        for (int d = 0; d < KB_DIRECTIONS; d++) {
            MUST(one.got[d].len == two.got[d].len);
            MUST(!one.got[d].len || !memcmp(one.got[d].data, two.got[d].data, one.got[d].len));
        }
    }
    rig_close(&one);
    rig_close(&two);
    kb_rules_unref(rules);
    return 0;
}
