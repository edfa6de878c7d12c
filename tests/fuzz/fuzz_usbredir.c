/* The usbredir filter. Records: bit 0 the direction, the bytes as they come. Two ways of cutting
 * must give the same; what passes of a whole channel that allows everything is what came. */
#include "records.h"

#include "policy/usbredir.h"

#include "../unit/policy/stream_rig.h"

static void converse(struct stream_rig *r, const struct kb_rules *rules, struct kb_span in,
                     uint32_t start)
{
    struct cuts cuts = {start};
    struct record record;
    struct kb_usbredir *u = kb_usbredir_create();
    stream_open(r, rules);
    while (next_record(&in, &record) && !r->ended) {
        enum kb_direction d = record.kind & 1 ? KB_FROM_SERVER : KB_FROM_CLIENT;
        while (record.bytes.len && !r->ended) {
            size_t n = next_cut(&cuts, record.bytes.len);
            r->ended = !kb_usbredir_feed(u, &r->c, rules, d, SPICE_MSG_SPICEVMC_DATA,
                                         kb_span_take_most(&record.bytes, n));
            stream_take(r);
        }
    }
    kb_usbredir_finish(u, &r->c);
    kb_usbredir_destroy(u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct kb_rules *rules = rules_of(data[0]);
    struct kb_usb_filter filter;
    const struct kb_usb_filter *filters[] = {&filter};
    MUST(!kb_usb_filter_parse("8,-1,-1,-1,0|3,0x46d,-1,-1,0|-1,-1,-1,-1,1", &filter));
    rules->enforced.usb_filters = (struct kb_usb_filters){filters, data[0] & 4 ? 1 : 0};
    struct kb_span in = kb_span(data + 2, size - 2);
    struct stream_rig one, two;
    converse(&one, rules, in, 0);
    converse(&two, rules, in, data[1] | 256u);
    MUST(one.ended == two.ended);
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        MUST(one.got[d].len == two.got[d].len);
        MUST(!one.got[d].len || !memcmp(one.got[d].data, two.got[d].data, one.got[d].len));
        MUST(two.facts[KB_FACT_USB_PLUGGED] == two.facts[KB_FACT_USB_UNPLUGGED]);
    }
    stream_close(&one);
    stream_close(&two);
    rules->enforced.usb_filters.count = 0;
    rules->enforced.usb_filters.filters = NULL;
    kb_usb_filter_finish(&filter);
    kb_rules_unref(rules);
    return 0;
}
