/* The client leg's link machine: real bytes, every cut, every flip, every length at its limits. */
#include "base/auto.h"
#include "captured.h"
#include "spice/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { LINK_SIZE = 16 + 26, WHOLE_SIZE = LINK_SIZE + 4 + KB_TICKET_SIZE };

/* Feeds at most `chunk` bytes at a time, never more than the machine wants, until it fails, is
 * done, or nothing is left. */
static enum kb_link_step drive(struct kb_client_link *l, const uint8_t *p, size_t len, size_t chunk,
                               size_t *used)
{
    enum kb_link_step step = KB_LINK_MORE;
    size_t at = 0;
    while (at < len && step != KB_LINK_FAILED && step != KB_LINK_TICKET) {
        size_t n = kb_client_link_want(l);
        assert_true(n > 0);
        if (n > chunk)
            n = chunk;
        if (n > len - at)
            n = len - at;
        step = kb_client_link_feed(l, kb_span(p + at, n));
        at += n;
    }
    if (used)
        *used = at;
    return step;
}

static void check_main(const struct kb_client_link *l)
{
    assert_int_equal(l->link.connection_id, 0);
    assert_int_equal(l->link.channel_type, KB_CHANNEL_MAIN);
    assert_int_equal(l->link.channel_id, 0);
    assert_int_equal(l->link.caps.common_words, 1);
    assert_int_equal(l->link.caps.common[0], 0x0d);
    assert_int_equal(l->link.caps.channel_words, 1);
    assert_int_equal(l->link.caps.channel[0], 0x0f);
}

static void test_captured(void **state)
{
    (void)state;
    struct kb_client_link l;
    kb_client_link_init(&l);
    assert_int_equal(sizeof captured_client_main, WHOLE_SIZE);
    assert_int_equal(kb_client_link_want(&l), 16);
    assert_int_equal(kb_client_link_feed(&l, kb_span(captured_client_main, 16)), KB_LINK_MORE);
    assert_int_equal(kb_client_link_want(&l), 26);
    assert_int_equal(kb_client_link_feed(&l, kb_span(captured_client_main + 16, 26)), KB_LINK_GOT);
    check_main(&l);
    assert_int_equal(kb_client_link_want(&l), 132);
    assert_int_equal(kb_client_link_feed(&l, kb_span(captured_client_main + 42, 132)),
                     KB_LINK_TICKET);
    assert_memory_equal(l.ticket, captured_client_main + 46, KB_TICKET_SIZE);
    check_main(&l);
    assert_int_equal(kb_client_link_want(&l), 0);
    assert_int_equal(kb_client_link_feed(&l, kb_span(NULL, 0)), KB_LINK_TICKET);

    kb_client_link_init(&l);
    assert_int_equal(drive(&l, captured_client_display, sizeof captured_client_display, 4096, NULL),
                     KB_LINK_GOT);
    assert_int_equal(l.link.channel_type, KB_CHANNEL_DISPLAY);
    assert_int_equal(l.link.connection_id, 0x3905e133);
    assert_int_equal(l.link.caps.channel[0], 0x3bf);

    kb_client_link_init(&l);
    assert_int_equal(drive(&l, captured_client_inputs, sizeof captured_client_inputs, 4096, NULL),
                     KB_LINK_GOT);
    assert_int_equal(l.link.channel_type, KB_CHANNEL_INPUTS);
    assert_int_equal(l.link.caps.channel_words, 0);
}

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t chunk = 1; chunk <= WHOLE_SIZE; chunk++) {
        struct kb_client_link l;
        kb_client_link_init(&l);
        assert_int_equal(drive(&l, captured_client_main, WHOLE_SIZE, chunk, NULL), KB_LINK_TICKET);
        check_main(&l);
        assert_memory_equal(l.ticket, captured_client_main + 46, KB_TICKET_SIZE);
    }
    /* A message that ends anywhere but at a step's end leaves the machine waiting. */
    for (size_t len = 0; len < WHOLE_SIZE; len++) {
        struct kb_client_link l;
        size_t used;
        kb_client_link_init(&l);
        enum kb_link_step step = drive(&l, captured_client_main, len, 7, &used);
        assert_int_equal(step, len == LINK_SIZE ? KB_LINK_GOT : KB_LINK_MORE);
        assert_int_equal(used, len);
        assert_true(kb_client_link_want(&l) > 0);
        assert_int_equal(kb_client_link_feed(&l, kb_span(NULL, 0)), KB_LINK_MORE);
    }
}

/* The captured message with one bit flipped: how it ends, by the byte and bit. Rows are looked up
 * in order; a byte that no row names does not change how it ends. */
static const struct {
    size_t from, to; /* bytes */
    unsigned bits;   /* of these bytes */
    enum kb_reason reason;
} flips[] = {
    {0, 4, 0xff, KB_REASON_LINK_MAGIC},
    {4, 8, 0xff, KB_REASON_LINK_VERSION},
    /* minor: any. size is 26: 24 and 18 cut the words off; 10 is too short; 27, 30, 58, 90, 154
     * take bytes of the ticket in as the body's unknown end, so that others stand for the
     * mechanism; 282 and more wait for bytes that do not come; from bit 12 on it is above 4096 */
    {12, 13, 0x02 | 0x08 | 0x10, KB_REASON_LINK_MALFORMED},
    {12, 13, 0xff, KB_REASON_LINK_MECHANISM},
    {13, 14, 0xf0, KB_REASON_LINK_MALFORMED},
    {14, 16, 0xff, KB_REASON_LINK_MALFORMED},
    /* connection id: any. type 1: 0; 3, 5, 9 are channels; the rest is not */
    {20, 21, 0x01 | 0xf0, KB_REASON_LINK_CHANNEL},
    /* common words, 1: none left means no mini header */
    {22, 23, 0x01, KB_REASON_LINK_CAPABILITIES},
    {22, 26, 0xff, KB_REASON_LINK_MALFORMED},
    /* channel words, 1: 0 is fine */
    {26, 27, 0xfe, KB_REASON_LINK_MALFORMED},
    {27, 30, 0xff, KB_REASON_LINK_MALFORMED},
    {30, 34, 0xff, KB_REASON_LINK_MALFORMED},
    /* AUTH_SELECTION and MINI_HEADER */
    {34, 35, 0x01 | 0x08, KB_REASON_LINK_CAPABILITIES},
    {42, 46, 0xff, KB_REASON_LINK_MECHANISM},
};

static void test_every_flip(void **state)
{
    (void)state;
    for (size_t at = 0; at < WHOLE_SIZE; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t bytes[WHOLE_SIZE];
            enum kb_reason want = KB_REASON_NONE;
            for (size_t i = 0; i < sizeof flips / sizeof flips[0] && !want; i++)
                if (at >= flips[i].from && at < flips[i].to && flips[i].bits & 1u << bit)
                    want = flips[i].reason;
            memcpy(bytes, captured_client_main, WHOLE_SIZE);
            bytes[at] = (uint8_t)(bytes[at] ^ 1u << bit);

            for (size_t chunk = 1; chunk <= WHOLE_SIZE; chunk += WHOLE_SIZE - 1) {
                struct kb_client_link l;
                kb_client_link_init(&l);
                enum kb_link_step step = drive(&l, bytes, WHOLE_SIZE, chunk, NULL);
                assert_int_equal(l.reason, want);
                if (want)
                    assert_int_equal(step, KB_LINK_FAILED);
                else
                    assert_int_equal(step, at == 13 ? KB_LINK_MORE : KB_LINK_TICKET);
                if (!want && at >= 46)
                    assert_int_equal(l.ticket[at - 46], bytes[at]);
            }
        }
    }
}

static void test_fails_at_the_first_wrong_byte(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t fine; /* bytes of it that are still fine */
        enum kb_reason reason;
    } rows[] = {
        {"GET / HTTP/1.1\r\n", 0, KB_REASON_LINK_MAGIC},
        {"RGDQ", 1, KB_REASON_LINK_MAGIC},
        {"REDx", 3, KB_REASON_LINK_MAGIC},
        {"redq", 0, KB_REASON_LINK_MAGIC},
        {"\x16\x03\x01", 0, KB_REASON_LINK_MAGIC},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kb_client_link l;
        size_t used;
        kb_client_link_init(&l);
        assert_int_equal(drive(&l, (const uint8_t *)rows[i].bytes, strlen(rows[i].bytes), 1, &used),
                         KB_LINK_FAILED);
        assert_int_equal(used, rows[i].fine + 1);
        assert_int_equal(l.reason, rows[i].reason);
        assert_int_equal(kb_client_link_want(&l), 0);
        assert_int_equal(kb_client_link_feed(&l, kb_span(NULL, 0)), KB_LINK_FAILED);
        assert_int_equal(l.reason, rows[i].reason);
    }
    /* The mechanism is told before the ticket. */
    struct kb_client_link l;
    uint8_t sasl[LINK_SIZE + 4];
    memcpy(sasl, captured_client_main, LINK_SIZE);
    kb_put_u32(sasl + LINK_SIZE, 2);
    kb_client_link_init(&l);
    assert_int_equal(drive(&l, sasl, sizeof sasl, 4096, NULL), KB_LINK_FAILED);
    assert_int_equal(l.reason, KB_REASON_LINK_MECHANISM);
}

/* A link message as its parts say, with room for anything. */
struct parts {
    uint32_t major, minor, size, type, common, channel, offset;
};

static void make(uint8_t *p, const struct parts *m)
{
    memset(p, 0, 16 + 65536);
    memcpy(p, "REDQ", 4);
    kb_put_u32(p + 4, m->major);
    kb_put_u32(p + 8, m->minor);
    kb_put_u32(p + 12, m->size);
    p[20] = (uint8_t)m->type;
    kb_put_u32(p + 22, m->common);
    kb_put_u32(p + 26, m->channel);
    kb_put_u32(p + 30, m->offset);
    /* Inside the fixed part it would overwrite what the rows say. */
    if (m->offset >= KB_LINK_MESS_SIZE && m->offset < 60000)
        kb_put_u32(p + 16 + m->offset, 0x0d);
}

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        struct parts m;
        enum kb_reason reason; /* NONE: it is read */
    } rows[] = {
        /* version */
        {{2, 2, 22, 1, 1, 0, 18}, KB_REASON_NONE},
        {{2, 0, 22, 1, 1, 0, 18}, KB_REASON_NONE},
        {{2, ~0u, 22, 1, 1, 0, 18}, KB_REASON_NONE},
        {{1, 2, 22, 1, 1, 0, 18}, KB_REASON_LINK_VERSION},
        {{3, 2, 22, 1, 1, 0, 18}, KB_REASON_LINK_VERSION},
        {{0, 2, 22, 1, 1, 0, 18}, KB_REASON_LINK_VERSION},
        {{0x02000000, 2, 22, 1, 1, 0, 18}, KB_REASON_LINK_VERSION},
        {{3, 2, 0, 1, 1, 0, 18}, KB_REASON_LINK_VERSION}, /* before the size */
        /* size */
        {{2, 2, 0, 1, 1, 0, 18}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 17, 1, 0, 0, 18}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 18, 1, 0, 0, 18}, KB_REASON_LINK_CAPABILITIES},
        {{2, 2, 4096, 1, 1, 0, 18}, KB_REASON_NONE},
        {{2, 2, 4097, 1, 1, 0, 18}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 65536, 1, 1, 0, 18}, KB_REASON_LINK_MALFORMED},
        {{2, 2, ~0u, 1, 1, 0, 18}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 0x80000016, 1, 1, 0, 18}, KB_REASON_LINK_MALFORMED},
        /* channel type */
        {{2, 2, 22, 0, 1, 0, 18}, KB_REASON_LINK_CHANNEL},
        {{2, 2, 22, 11, 1, 0, 18}, KB_REASON_NONE},
        {{2, 2, 22, 12, 1, 0, 18}, KB_REASON_LINK_CHANNEL},
        {{2, 2, 22, 255, 1, 0, 18}, KB_REASON_LINK_CHANNEL},
        {{2, 2, 22, 99, 0, 0, 18}, KB_REASON_LINK_CHANNEL}, /* before the capabilities */
        /* counts */
        {{2, 2, 18, 1, 0, 0, 0}, KB_REASON_LINK_CAPABILITIES}, /* no words: the offset is nothing */
        {{2, 2, 18, 1, 0, 0, ~0u}, KB_REASON_LINK_CAPABILITIES},
        {{2, 2, 22, 1, 0, 1, 18}, KB_REASON_LINK_CAPABILITIES}, /* not common's word */
        {{2, 2, 4096, 1, 16, 16, 18}, KB_REASON_NONE},
        {{2, 2, 4096, 1, 17, 0, 18}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 4096, 1, 1, 17, 18}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 4096, 1, 1024, 1, 18}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 4096, 1, ~0u, 0, 18}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 4096, 1, ~0u, 1, 18}, KB_REASON_LINK_MALFORMED}, /* their sum is 0 */
        {{2, 2, 4096, 1, 1, ~0u, 18}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 4096, 1, 0x80000000, 0x80000000, 18}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 4096, 1, 0x40000001, 0, 18}, KB_REASON_LINK_MALFORMED}, /* times 4 is 4 */
        /* offset */
        {{2, 2, 30, 1, 1, 0, 17}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 30, 1, 1, 0, 0}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 30, 1, 1, 0, 19}, KB_REASON_NONE},
        {{2, 2, 30, 1, 1, 0, 26}, KB_REASON_NONE},
        {{2, 2, 30, 1, 1, 0, 27}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 30, 1, 1, 0, 30}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 30, 1, 1, 1, 22}, KB_REASON_NONE},
        {{2, 2, 30, 1, 1, 1, 23}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 4096, 1, 1, 1, 4088}, KB_REASON_NONE},
        {{2, 2, 4096, 1, 1, 1, 4089}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 4096, 1, 16, 16, 3968}, KB_REASON_NONE},
        {{2, 2, 4096, 1, 16, 16, 3969}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 30, 1, 1, 0, ~0u}, KB_REASON_LINK_MALFORMED},
        {{2, 2, 30, 1, 1, 0, ~0u - 3}, KB_REASON_LINK_MALFORMED}, /* plus 4 is 0 */
    };
    static uint8_t bytes[16 + 65536];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct parts *m = &rows[i].m;
        size_t len = 16 + (m->size <= 4096 ? m->size : 0);
        struct kb_client_link l;
        make(bytes, m);
        kb_client_link_init(&l);
        enum kb_link_step step = drive(&l, bytes, len, 4096, NULL);
        if (l.reason != rows[i].reason)
            fail_msg("row %zu: %s, wanted %s", i, kb_reason_name(l.reason),
                     kb_reason_name(rows[i].reason));
        assert_int_equal(step, rows[i].reason ? KB_LINK_FAILED : KB_LINK_GOT);
        if (!rows[i].reason) {
            assert_int_equal(l.link.caps.common_words, m->common);
            assert_int_equal(l.link.caps.channel_words, m->channel);
            assert_int_equal(l.link.caps.common[0], 0x0d);
        }
    }
}

static void test_capabilities_in_later_words(void **state)
{
    (void)state;
    uint8_t bytes[16 + 18 + 16] = {0};
    struct kb_client_link l;
    memcpy(bytes, "REDQ", 4);
    kb_put_u32(bytes + 4, 2);
    kb_put_u32(bytes + 12, sizeof bytes - 16);
    bytes[20] = KB_CHANNEL_RECORD;
    bytes[21] = 7;
    kb_put_u32(bytes + 22, 2);
    kb_put_u32(bytes + 26, 2);
    kb_put_u32(bytes + 30, 18);
    kb_put_u32(bytes + 34, 9);
    kb_put_u32(bytes + 38, 0x11111111);
    kb_put_u32(bytes + 42, 0x22222222);
    kb_put_u32(bytes + 46, 0x33333333);
    kb_client_link_init(&l);
    assert_int_equal(drive(&l, bytes, sizeof bytes, 5, NULL), KB_LINK_GOT);
    assert_int_equal(l.link.channel_id, 7);
    assert_int_equal(l.link.caps.common[1], 0x11111111);
    assert_int_equal(l.link.caps.channel[0], 0x22222222);
    assert_int_equal(l.link.caps.channel[1], 0x33333333);
}

static void test_more_than_wanted_is_our_mistake(void **state)
{
    (void)state;
    struct kb_client_link l;
    kb_client_link_init(&l);
    assert_int_equal(kb_client_link_feed(&l, kb_span(captured_client_main, 17)), KB_LINK_FAILED);
    assert_int_equal(l.reason, KB_REASON_INTERNAL);

    kb_client_link_init(&l);
    assert_int_equal(drive(&l, captured_client_main, WHOLE_SIZE, 4096, NULL), KB_LINK_TICKET);
    assert_int_equal(kb_client_link_feed(&l, kb_span("x", 1)), KB_LINK_FAILED);
    assert_int_equal(l.reason, KB_REASON_INTERNAL);
}

static void test_answers(void **state)
{
    (void)state;
    uint8_t key[KB_LINK_PUBKEY_SIZE];
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    kb_auto(kb_buf_finish) struct kb_buf out = {0};

    kb_link_reply(&out, KB_CHANNEL_DISPLAY, key);
    assert_int_equal(out.len, 16 + 178 + 8);
    assert_memory_equal(out.data, "REDQ\2\0\0\0\2\0\0\0", 12);
    assert_int_equal(kb_get_u32(out.data + 12), 178 + 8);
    assert_int_equal(kb_get_u32(out.data + 16), 0);
    assert_memory_equal(out.data + 20, key, sizeof key);
    assert_int_equal(kb_get_u32(out.data + 182), 1);
    assert_int_equal(kb_get_u32(out.data + 186), 1);
    assert_int_equal(kb_get_u32(out.data + 190), 178);
    assert_int_equal(kb_get_u32(out.data + 194), 0x0b);
    assert_int_equal(kb_get_u32(out.data + 198), 0x1052);

    out.len = 0;
    kb_link_reply(&out, KB_CHANNEL_CURSOR, key);
    assert_int_equal(out.len, 16 + 178 + 4);
    assert_int_equal(kb_get_u32(out.data + 12), 178 + 4);
    assert_int_equal(kb_get_u32(out.data + 186), 0);

    out.len = 0;
    kb_link_refuse(&out, KB_LINK_NEED_SECURED);
    assert_int_equal(out.len, 16 + 178);
    assert_int_equal(kb_get_u32(out.data + 12), 178);
    assert_int_equal(kb_get_u32(out.data + 16), 5);
    for (size_t i = 20; i < 190; i++)
        assert_int_equal(out.data[i], 0);

    out.len = 0;
    kb_link_result(&out, KB_LINK_PERMISSION_DENIED);
    assert_int_equal(out.len, 4);
    assert_int_equal(kb_get_u32(out.data), 7);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_captured),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_flip),
        cmocka_unit_test(test_fails_at_the_first_wrong_byte),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_capabilities_in_later_words),
        cmocka_unit_test(test_more_than_wanted_is_our_mistake),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
