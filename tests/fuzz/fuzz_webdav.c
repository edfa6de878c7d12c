/* The webdav filter. Records: bit 0 the direction, bit 1: the bytes as they come, else they are
 * framed, for the connection of bits 2 and 3. Two ways of cutting must give each connection the
 * same, and where the folder is read-only no byte of what writes reaches it: what does is read once
 * more, by itself. */
#include "records.h"

#include "policy/webdav.h"
#include "policy/webdav_http.h"

#include "../unit/policy/stream_rig.h"

static void feed(struct stream_rig *r, struct kb_webdav *w, enum kb_direction d,
                 struct kb_span bytes, struct cuts *cuts)
{
    while (bytes.len && !r->ended) {
        size_t n = next_cut(cuts, bytes.len);
        r->ended = !kb_webdav_feed(w, &r->c, r->rules, d, SPICE_MSG_SPICEVMC_DATA,
                                   kb_span_take_most(&bytes, n));
        stream_take(r);
    }
}

static void converse(struct stream_rig *r, const struct kb_rules *rules, struct kb_span in,
                     uint32_t start)
{
    struct cuts cuts = {start};
    struct record record;
    struct kb_webdav *w = kb_webdav_create();
    stream_open(r, rules);
    while (next_record(&in, &record) && !r->ended) {
        enum kb_direction d = record.kind & 1 ? KB_FROM_SERVER : KB_FROM_CLIENT;
        if (!(record.kind & 2)) {
            uint8_t header[10] = {(uint8_t)(record.kind >> 2 & 3)};
            kb_put_u16(header + 8, (uint16_t)record.bytes.len);
            feed(r, w, d, kb_span(header, sizeof header), &cuts);
        }
        feed(r, w, d, record.bytes, &cuts);
    }
    kb_webdav_destroy(w);
}

/* One connection's bytes. */
static void demux(const struct kb_buf *frames, uint64_t id, struct kb_buf *to)
{
    struct kb_span rest = kb_buf_span(frames);
    while (rest.len) {
        MUST(rest.len >= 10);
        size_t size = kb_get_u16(rest.data + 8);
        uint64_t at = kb_get_u32(rest.data) | (uint64_t)kb_get_u32(rest.data + 4) << 32;
        MUST(rest.len >= 10 + size);
        if (at == id)
            kb_buf_add(to, rest.data + (size ? 10 : 0), size ? size : 10);
        kb_span_take_most(&rest, 10 + size);
    }
}

/* Every frame to a folder that is read-only is one or more whole requests that read. */
static void check_frames(const struct kb_buf *frames)
{
    struct kb_span rest = kb_buf_span(frames);
    while (rest.len) {
        struct kb_http h;
        size_t size = kb_get_u16(rest.data + 8);
        struct kb_span bytes = kb_span(rest.data + 10, size), taken;
        kb_http_init(&h, false);
        while (bytes.len) {
            MUST(kb_http_next(&h, &bytes, &taken) == KB_HTTP_READ);
            MUST(!strcmp(h.method, "GET") || !strcmp(h.method, "HEAD") ||
                 !strcmp(h.method, "OPTIONS") || !strcmp(h.method, "PROPFIND"));
            MUST(kb_http_next(&h, &bytes, &taken) == KB_HTTP_DONE);
        }
        kb_http_finish(&h);
        kb_span_take_most(&rest, 10 + size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct kb_rules *rules = rules_of(data[0]);
    struct kb_span in = kb_span(data + 2, size - 2);
    struct stream_rig one, two;
    converse(&one, rules, in, 0);
    converse(&two, rules, in, data[1] | 256u);
    MUST(!one.ended && !two.ended);
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        for (uint64_t id = 0; id < 4; id++) {
            struct kb_buf a = {0}, b = {0};
            demux(&one.got[d], id, &a);
            demux(&two.got[d], id, &b);
            MUST(a.len == b.len && (!a.len || !memcmp(a.data, b.data, a.len)));
            kb_buf_finish(&a);
            kb_buf_finish(&b);
        }
    }
    if (rules->enforced.folders != KB_FOLDERS_ON) {
        check_frames(&one.got[KB_FROM_SERVER]);
        MUST(rules->enforced.folders == KB_FOLDERS_READ_ONLY ||
             one.got[KB_FROM_SERVER].len % 10 == 0);
    }
    stream_close(&one);
    stream_close(&two);
    kb_rules_unref(rules);
    return 0;
}
