/* The client leg's link machine. Input: one byte that starts the cuts, then what the client sends.
 */
#include "fuzz.h"

#include "spice/link.h"

struct outcome {
    enum kb_link_step step;
    struct kb_client_link machine;
    size_t used;
    bool got;
};

static bool is_reason_of_link(enum kb_reason r)
{
    return r == KB_REASON_LINK_MAGIC || r == KB_REASON_LINK_VERSION ||
           r == KB_REASON_LINK_MALFORMED || r == KB_REASON_LINK_CHANNEL ||
           r == KB_REASON_LINK_CAPABILITIES || r == KB_REASON_LINK_MECHANISM;
}

static void check_link(const struct kb_link *link, struct kb_span bytes)
{
    const uint8_t *p = bytes.data;
    MUST(link->channel_type >= 1 && link->channel_type <= 11);
    MUST(link->connection_id == kb_get_u32(p + 16));
    MUST(link->channel_type == p[20] && link->channel_id == p[21]);
    MUST(link->caps.common_words == kb_get_u32(p + 22) && link->caps.common_words <= 16);
    MUST(link->caps.channel_words == kb_get_u32(p + 26) && link->caps.channel_words <= 16);
    MUST(link->caps.common_words > 0 && (link->caps.common[0] & 9) == 9);

    /* Our link message for this client can be read, and says the same but for the edits. */
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    struct kb_client_link again;
    struct kb_caps want;
    kb_server_link_hello(&out, link);
    kb_caps_for_server(link->channel_type, &link->caps, &want);
    kb_client_link_init(&again);
    MUST(kb_client_link_feed(&again, kb_span(out.data, 16)) == KB_LINK_MORE);
    MUST(kb_client_link_want(&again) == out.len - 16);
    MUST(kb_client_link_feed(&again, kb_span(out.data + 16, out.len - 16)) == KB_LINK_GOT);
    MUST(again.link.connection_id == link->connection_id);
    MUST(again.link.channel_type == link->channel_type);
    MUST(again.link.channel_id == link->channel_id);
    MUST(memcmp(&again.link.caps, &want, sizeof want) == 0);
    MUST((want.common[0] & 0x0f) == 0x0b);
}

static struct outcome run(struct kb_span bytes, uint32_t start)
{
    struct outcome o = {.step = KB_LINK_MORE};
    struct cuts cuts = {start};
    kb_client_link_init(&o.machine);
    while (o.used < bytes.len && o.step != KB_LINK_FAILED && o.step != KB_LINK_TICKET) {
        size_t want = kb_client_link_want(&o.machine);
        MUST(want > 0 && want <= KB_LINK_BODY_MAX);
        size_t left = bytes.len - o.used;
        size_t n = next_cut(&cuts, want < left ? want : left);
        o.step = kb_client_link_feed(&o.machine, kb_span(bytes.data + o.used, n));
        o.used += n;
        if (o.step == KB_LINK_GOT) {
            MUST(!o.got);
            o.got = true;
            check_link(&o.machine.link, bytes);
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

    /* No cut changes what comes out. */
    MUST(a.got == b.got);
    MUST(a.machine.reason == b.machine.reason);
    if (a.got)
        MUST(memcmp(&a.machine.link, &b.machine.link, sizeof a.machine.link) == 0);
    if (a.step == KB_LINK_FAILED) {
        MUST(b.step == KB_LINK_FAILED);
        MUST(is_reason_of_link(a.machine.reason) && kb_reason_link_error(a.machine.reason) != 0);
        MUST(kb_client_link_want(&a.machine) == 0);
        MUST(kb_client_link_feed(&a.machine, kb_span(NULL, 0)) == KB_LINK_FAILED);
        return 0;
    }
    MUST(a.used == b.used && a.machine.reason == KB_REASON_NONE);
    if (a.step == KB_LINK_TICKET) {
        MUST(b.step == KB_LINK_TICKET && a.got && kb_client_link_want(&a.machine) == 0);
        MUST(memcmp(a.machine.ticket, bytes.data + a.used - KB_TICKET_SIZE, KB_TICKET_SIZE) == 0);
        MUST(memcmp(a.machine.ticket, b.machine.ticket, KB_TICKET_SIZE) == 0);
    } else {
        MUST(kb_client_link_want(&a.machine) == kb_client_link_want(&b.machine));
        MUST(kb_client_link_want(&a.machine) > 0);
    }
    return 0;
}
