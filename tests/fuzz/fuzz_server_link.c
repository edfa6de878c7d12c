/* The server leg's link machine. Input: one byte that starts the cuts, then what the server sends.
 */
#include "fuzz.h"

#include "spice/link.h"

struct outcome {
    enum kb_link_step step;
    struct kb_server_link machine;
    size_t used;
    bool got;
};

static bool is_reason_of_server(enum kb_reason r)
{
    switch (r) {
    case KB_REASON_SERVER_NEEDS_TLS:
    case KB_REASON_SERVER_NEEDS_PLAIN:
    case KB_REASON_SERVER_TICKET:
    case KB_REASON_SERVER_CONNECTION_ID:
    case KB_REASON_SERVER_NO_CHANNEL:
    case KB_REASON_SERVER_VERSION:
    case KB_REASON_SERVER_LINK_REFUSED:
    case KB_REASON_SERVER_LINK_MALFORMED:
    case KB_REASON_SERVER_CAPABILITIES:
        return true;
    default:
        return false;
    }
}

static struct outcome run(struct kb_span bytes, uint32_t start)
{
    struct outcome o = {.step = KB_LINK_MORE};
    struct cuts cuts = {start};
    kb_server_link_init(&o.machine);
    while (o.used < bytes.len && o.step != KB_LINK_FAILED && o.step != KB_LINK_DONE) {
        size_t want = kb_server_link_want(&o.machine);
        MUST(want > 0 && want <= KB_LINK_BODY_MAX);
        size_t left = bytes.len - o.used;
        size_t n = next_cut(&cuts, want < left ? want : left);
        o.step = kb_server_link_feed(&o.machine, kb_span(bytes.data + o.used, n));
        o.used += n;
        if (o.step == KB_LINK_GOT) {
            const struct kb_caps *caps = &o.machine.caps;
            MUST(!o.got);
            o.got = true;
            MUST(kb_get_u32(bytes.data + 16) == 0);
            MUST(memcmp(o.machine.pubkey, bytes.data + 20, KB_LINK_PUBKEY_SIZE) == 0);
            MUST(caps->common_words == kb_get_u32(bytes.data + 182) && caps->common_words <= 16);
            MUST(caps->channel_words == kb_get_u32(bytes.data + 186) && caps->channel_words <= 16);
            MUST(caps->common_words > 0 && (caps->common[0] & 0x0b) == 0x0b);
            MUST(kb_server_link_want(&o.machine) == 4);
        }
    }
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct kb_span bytes = kb_span(data + 1, size - 1);
    struct outcome a = run(bytes, 0), b = run(bytes, data[0]);

    MUST(a.got == b.got);
    MUST(a.machine.reason == b.machine.reason);
    if (a.got) {
        MUST(memcmp(a.machine.pubkey, b.machine.pubkey, sizeof a.machine.pubkey) == 0);
        MUST(memcmp(&a.machine.caps, &b.machine.caps, sizeof a.machine.caps) == 0);
    }
    if (a.step == KB_LINK_FAILED) {
        MUST(b.step == KB_LINK_FAILED);
        MUST(is_reason_of_server(a.machine.reason));
        MUST(kb_server_link_want(&a.machine) == 0);
        MUST(kb_server_link_feed(&a.machine, kb_span(NULL, 0)) == KB_LINK_FAILED);
        return 0;
    }
    MUST(a.used == b.used && a.machine.reason == KB_REASON_NONE);
    if (a.step == KB_LINK_DONE) {
        MUST(b.step == KB_LINK_DONE && a.got && kb_server_link_want(&a.machine) == 0);
        MUST(kb_get_u32(bytes.data + a.used - 4) == 0);
    } else {
        MUST(kb_server_link_want(&a.machine) == kb_server_link_want(&b.machine));
        MUST(kb_server_link_want(&a.machine) > 0);
    }
    return 0;
}
