/* The edits of every channel, under any rules, which may change. Input: channel type, id, rules,
 * then records: a byte (bit 0: from the server; bit 1: other rules, by the next byte), u16 length,
 * that many bytes. What comes out are whole messages on either side, and on display and cursor
 * exactly as many as came in. */
#include "conversation.h"

static const char *const entries[] = {"org.*", "!*monitor*"};
static const struct kb_names names = {entries, 2};
static const struct kb_names *const lists[] = {&names};

static void rule(struct kb_rules *r, uint8_t bits)
{
    struct kb_limits l;
    kb_limits_init(&l);
    l.view_only = bits & 1;
    l.cursor = !(bits & 2);
    l.screens = bits >> 2 & 3;
    l.clipboard_in = l.files_in = l.resize = l.usb = !(bits & 16);
    l.folders = bits & 16 ? KB_FOLDERS_READ_ONLY : KB_FOLDERS_ON;
    if (bits & 32) {
        l.ports.lists = (const struct kb_names **)(uintptr_t)lists;
        l.ports.count = 1;
    }
    kb_limits_init(&r->enforced);
    r->all = l;
    r->observing = bits & 64;
    if (!r->observing)
        r->enforced = l;
    r->grammar_observed = bits & 128;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    unsigned channel = 1 + data[0] % (KB_CHANNEL_END - 1);
    struct kb_rules *rules = kb_rules_create();
    rule(rules, data[2]);
    struct conversation c;
    conversation_begin(&c, channel, data[1], rules);
    struct kb_span in = kb_span(data + 3, size - 3);
    while (in.len >= 4 && !c.over) {
        uint8_t kind = in.data[0];
        if (kind & 2)
            rule(rules, in.data[1]);
        kb_span_take_most(&in, kind & 2 ? 2 : 1);
        size_t len = kb_get_u16(in.data);
        kb_span_take_most(&in, 2);
        conversation_say(&c, kind & 1 ? KB_FROM_SERVER : KB_FROM_CLIENT,
                         kb_span_take_most(&in, len));
    }
    uint64_t to_client = conversation_heard(&c, KB_FROM_SERVER);
    conversation_heard(&c, KB_FROM_CLIENT);
    bool numbered = channel == KB_CHANNEL_DISPLAY || channel == KB_CHANNEL_CURSOR;
    MUST(!numbered || to_client == c.in[KB_FROM_SERVER] || c.over);
    /* The lists are not the rules' own. */
    rules->enforced.ports = rules->all.ports = (struct kb_names_lists){0};
    conversation_end(&c);
    return 0;
}
