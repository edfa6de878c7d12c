/* The stream: real bytes, every limit, and that no cut changes what is forwarded. */
#include "captured.h"
#include "spice/stream.h"

#include <spice/enums.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* xorshift64*: the same numbers at every run. */
static uint64_t seed;

static uint32_t random_below(uint32_t n)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (uint32_t)((seed * UINT64_C(0x2545f4914f6cdd1d)) >> 32) % n;
}

static void put_header(uint8_t *p, unsigned type, uint32_t size)
{
    kb_put_u16(p, (uint16_t)type);
    kb_put_u32(p + 2, size);
}

/* What is cut where does not depend on the grammar, so it only observes here; test_grammar.c has it
 * enforced. */
static void start(struct kb_stream *s, unsigned channel, enum kb_direction d)
{
    static struct kb_grammar_walk grammar;
    kb_grammar_init(&grammar, channel, true);
    kb_stream_init(s, &grammar, d);
}

static void test_whole(void **state)
{
    (void)state;
    uint8_t bytes[6 + 5 + 6 + 3];
    struct kb_stream s;
    struct kb_piece p;
    enum kb_reason why = KB_REASON_NONE;
    put_header(bytes, 101, 5);
    memcpy(bytes + 6, "hello", 5);
    put_header(bytes + 11, 2, 0);
    memcpy(bytes + 17, "abc", 3); /* half a header */

    start(&s, KB_CHANNEL_PORT, KB_FROM_SERVER);
    /* Until it is all there, nothing is given and nothing is counted. */
    for (size_t len = 0; len < 11; len++) {
        assert_int_equal(kb_stream_next(&s, kb_span(bytes, len), &p, &why), KB_STREAM_MORE);
        assert_int_equal(s.messages, 0);
    }
    for (size_t len = 11; len <= sizeof bytes; len++) {
        struct kb_stream t = s;
        assert_int_equal(kb_stream_next(&t, kb_span(bytes, len), &p, &why), KB_STREAM_PIECE);
        assert_ptr_equal(p.bytes.data, bytes);
        assert_int_equal(p.bytes.len, 11);
        assert_int_equal(p.type, 101);
        assert_int_equal(p.size, 5);
        assert_true(p.first && p.last);
        assert_int_equal(t.left, 0);
        assert_int_equal(t.messages, 1);
        if (len >= 17) {
            assert_int_equal(kb_stream_next(&t, kb_span(bytes + 11, len - 11), &p, &why),
                             KB_STREAM_PIECE);
            assert_int_equal(p.bytes.len, 6);
            assert_int_equal(p.type, 2);
            assert_int_equal(p.size, 0);
            assert_true(p.first && p.last);
            assert_int_equal(t.messages, 2);
            assert_int_equal(kb_stream_next(&t, kb_span(bytes + 17, len - 17), &p, &why),
                             KB_STREAM_MORE);
        }
    }
}

static void test_pieces(void **state)
{
    (void)state;
    enum { SIZE = KB_STREAM_WHOLE_MAX + 1 };
    static uint8_t bytes[6 + SIZE + 6];
    struct kb_stream s;
    struct kb_piece p;
    enum kb_reason why;
    put_header(bytes, 304, SIZE);
    put_header(bytes + 6 + SIZE, 102, 0);

    /* The header alone is a piece, as it can be judged. */
    start(&s, KB_CHANNEL_DISPLAY, KB_FROM_SERVER);
    assert_int_equal(kb_stream_next(&s, kb_span(bytes, 5), &p, &why), KB_STREAM_MORE);
    assert_int_equal(kb_stream_next(&s, kb_span(bytes, 6), &p, &why), KB_STREAM_PIECE);
    assert_int_equal(p.bytes.len, 6);
    assert_int_equal(p.size, SIZE);
    assert_true(p.first && !p.last);
    assert_int_equal(s.left, SIZE);
    assert_int_equal(kb_stream_next(&s, kb_span(bytes + 6, 0), &p, &why), KB_STREAM_MORE);
    assert_int_equal(kb_stream_next(&s, kb_span(bytes + 6, 1), &p, &why), KB_STREAM_PIECE);
    assert_int_equal(p.bytes.len, 1);
    assert_int_equal(p.type, 304);
    assert_int_equal(p.size, SIZE);
    assert_true(!p.first && !p.last);
    /* The last piece ends where the message ends, not where the bytes do. */
    assert_int_equal(kb_stream_next(&s, kb_span(bytes + 7, SIZE - 1 + 6), &p, &why),
                     KB_STREAM_PIECE);
    assert_int_equal(p.bytes.len, SIZE - 1);
    assert_true(!p.first && p.last);
    assert_int_equal(s.left, 0);
    assert_int_equal(s.messages, 1);
    assert_int_equal(kb_stream_next(&s, kb_span(bytes + 6 + SIZE, 6), &p, &why), KB_STREAM_PIECE);
    assert_int_equal(p.type, 102);
    assert_int_equal(s.messages, 2);

    /* All at hand: one piece all the same. */
    start(&s, KB_CHANNEL_DISPLAY, KB_FROM_SERVER);
    assert_int_equal(kb_stream_next(&s, kb_span(bytes, sizeof bytes), &p, &why), KB_STREAM_PIECE);
    assert_int_equal(p.bytes.len, 6 + SIZE);
    assert_true(p.first && p.last);

    /* One byte shorter is whole or not at all. */
    put_header(bytes, 304, KB_STREAM_WHOLE_MAX);
    start(&s, KB_CHANNEL_DISPLAY, KB_FROM_SERVER);
    assert_int_equal(kb_stream_next(&s, kb_span(bytes, 6 + KB_STREAM_WHOLE_MAX - 1), &p, &why),
                     KB_STREAM_MORE);
    assert_int_equal(kb_stream_next(&s, kb_span(bytes, 6 + KB_STREAM_WHOLE_MAX), &p, &why),
                     KB_STREAM_PIECE);
    assert_true(p.first && p.last);
}

static const struct {
    unsigned channel;
    enum kb_direction d;
    unsigned type;
    uint32_t max;
} limits[] = {
    {KB_CHANNEL_MAIN, KB_FROM_CLIENT, SPICE_MSGC_MAIN_AGENT_DATA, 26624},
    {KB_CHANNEL_MAIN, KB_FROM_SERVER, SPICE_MSG_PING, 262144},
    {KB_CHANNEL_MAIN, KB_FROM_SERVER, SPICE_MSG_MAIN_AGENT_DATA, 262144},
    {KB_CHANNEL_DISPLAY, KB_FROM_CLIENT, SPICE_MSGC_DISPLAY_INIT, 1024},
    {KB_CHANNEL_DISPLAY, KB_FROM_SERVER, SPICE_MSG_DISPLAY_DRAW_COPY, 256u << 20},
    {KB_CHANNEL_INPUTS, KB_FROM_CLIENT, SPICE_MSGC_INPUTS_KEY_DOWN, 2048},
    {KB_CHANNEL_INPUTS, KB_FROM_SERVER, SPICE_MSG_INPUTS_INIT, 65536},
    {KB_CHANNEL_CURSOR, KB_FROM_CLIENT, SPICE_MSGC_ACK, 1024},
    {KB_CHANNEL_CURSOR, KB_FROM_SERVER, SPICE_MSG_CURSOR_SET, 16u << 20},
    {KB_CHANNEL_PLAYBACK, KB_FROM_CLIENT, SPICE_MSGC_PONG, 1024},
    {KB_CHANNEL_PLAYBACK, KB_FROM_SERVER, SPICE_MSG_PLAYBACK_DATA, 1u << 20},
    {KB_CHANNEL_RECORD, KB_FROM_CLIENT, SPICE_MSGC_RECORD_DATA, 1u << 20},
    {KB_CHANNEL_RECORD, KB_FROM_SERVER, SPICE_MSG_RECORD_START, 65536},
    {KB_CHANNEL_TUNNEL, KB_FROM_CLIENT, 101, 65536},
    {KB_CHANNEL_TUNNEL, KB_FROM_SERVER, 101, 65536},
    {KB_CHANNEL_SMARTCARD, KB_FROM_CLIENT, SPICE_MSGC_SMARTCARD_DATA, 1u << 20},
    {KB_CHANNEL_SMARTCARD, KB_FROM_SERVER, SPICE_MSG_SMARTCARD_DATA, 1u << 20},
    {KB_CHANNEL_USBREDIR, KB_FROM_CLIENT, SPICE_MSGC_SPICEVMC_DATA, (128u << 20) + 1029},
    {KB_CHANNEL_USBREDIR, KB_FROM_SERVER, SPICE_MSG_SPICEVMC_DATA, 1u << 20},
    {KB_CHANNEL_PORT, KB_FROM_CLIENT, SPICE_MSGC_SPICEVMC_DATA, 16u << 20},
    {KB_CHANNEL_PORT, KB_FROM_SERVER, SPICE_MSG_SPICEVMC_COMPRESSED_DATA, 1u << 20},
    {KB_CHANNEL_WEBDAV, KB_FROM_CLIENT, SPICE_MSGC_SPICEVMC_DATA, 16u << 20},
    {KB_CHANNEL_WEBDAV, KB_FROM_SERVER, SPICE_MSG_SPICEVMC_DATA, 1u << 20},
    /* a type that nobody knows has its channel's limit */
    {KB_CHANNEL_INPUTS, KB_FROM_CLIENT, 65535, 2048},
    {KB_CHANNEL_INPUTS, KB_FROM_SERVER, 0, 65536},
    /* migration's state; 2 and 5 are the types' numbers one way and not the other */
    {KB_CHANNEL_DISPLAY, KB_FROM_CLIENT, SPICE_MSGC_MIGRATE_DATA, 16u << 20},
    {KB_CHANNEL_DISPLAY, KB_FROM_CLIENT, SPICE_MSG_MIGRATE_DATA, 1024},
    {KB_CHANNEL_INPUTS, KB_FROM_SERVER, SPICE_MSG_MIGRATE_DATA, 16u << 20},
    {KB_CHANNEL_INPUTS, KB_FROM_SERVER, SPICE_MSGC_MIGRATE_DATA, 65536},
    {KB_CHANNEL_DISPLAY, KB_FROM_SERVER, SPICE_MSG_MIGRATE_DATA, 256u << 20},
    {KB_CHANNEL_USBREDIR, KB_FROM_CLIENT, SPICE_MSGC_MIGRATE_DATA, (128u << 20) + 1029},
};

static void test_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        uint8_t header[6];
        struct kb_stream s;
        struct kb_piece p;
        enum kb_reason why = KB_REASON_NONE;
        uint32_t max = limits[i].max;

        put_header(header, limits[i].type, max);
        start(&s, limits[i].channel, limits[i].d);
        assert_int_equal(kb_stream_next(&s, kb_span(header, 6), &p, &why),
                         max <= KB_STREAM_WHOLE_MAX ? KB_STREAM_MORE : KB_STREAM_PIECE);
        assert_int_equal(why, KB_REASON_NONE);

        for (int way = 0; way < 3; way++) {
            put_header(header, limits[i].type, way == 0 ? max + 1 : way == 1 ? ~0u : 1u << 31);
            start(&s, limits[i].channel, limits[i].d);
            why = KB_REASON_NONE;
            assert_int_equal(kb_stream_next(&s, kb_span(header, 6), &p, &why), KB_STREAM_BAD);
            assert_int_equal(why, KB_REASON_MESSAGE_TOO_LONG);
            assert_int_equal(s.messages, 0);
            /* It stays so. */
            assert_int_equal(kb_stream_next(&s, kb_span(header, 6), &p, &why), KB_STREAM_BAD);
        }
    }
}

/* A relay's way: a buffer that just holds the longest whole message, filled by chance, emptied by
 * pieces. */
static void walk(unsigned channel, enum kb_direction d, const uint8_t *in, size_t len,
                 uint64_t messages)
{
    static uint8_t buffer[KB_MINI_HEADER_SIZE + KB_STREAM_WHOLE_MAX];
    struct kb_stream s;
    size_t have = 0, at = 0, out = 0;
    uint64_t first = 0, last = 0;
    uint32_t body = 0;
    start(&s, channel, d);
    while (at < len || have) {
        size_t n = sizeof buffer - have;
        uint32_t most = random_below(4) ? 1 + random_below(40) : 1 + random_below(20000);
        n = n > most ? most : n;
        n = n > len - at ? len - at : n;
        memcpy(buffer + have, in + at, n);
        have += n;
        at += n;
        size_t used = 0;
        for (;;) {
            struct kb_piece p;
            enum kb_reason why;
            enum kb_stream_step step =
                kb_stream_next(&s, kb_span(buffer + used, have - used), &p, &why);
            if (step == KB_STREAM_MORE)
                break;
            assert_int_equal(step, KB_STREAM_PIECE);
            assert_ptr_equal(p.bytes.data, buffer + used);
            assert_true(p.bytes.len > 0 && p.bytes.len <= have - used);
            /* The pieces are the input. */
            assert_memory_equal(p.bytes.data, in + out, p.bytes.len);
            if (p.first) {
                assert_int_equal(first, last);
                assert_true(p.bytes.len >= KB_MINI_HEADER_SIZE);
                assert_int_equal(p.type, kb_get_u16(in + out));
                assert_int_equal(p.size, kb_get_u32(in + out + 2));
                body = 0;
                first++;
            } else {
                assert_int_equal(first, last + 1);
            }
            body += (uint32_t)(p.bytes.len - (p.first ? KB_MINI_HEADER_SIZE : 0));
            assert_int_equal(p.last, body == p.size);
            assert_int_equal(s.left, p.size - body);
            if (p.size <= KB_STREAM_WHOLE_MAX)
                assert_true(p.first && p.last);
            last += p.last;
            out += p.bytes.len;
            used += p.bytes.len;
        }
        memmove(buffer, buffer + used, have - used);
        have -= used;
        /* With a full buffer it always goes on. */
        assert_true(have < sizeof buffer);
        if (at == len)
            assert_int_equal(have, 0);
    }
    assert_int_equal(out, len);
    assert_int_equal(first, messages);
    assert_int_equal(last, messages);
    assert_int_equal(s.messages, messages);
}

static void test_random_cuts(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0,
                                     1,
                                     5,
                                     12,
                                     100,
                                     1024,
                                     KB_STREAM_WHOLE_MAX - 1,
                                     KB_STREAM_WHOLE_MAX,
                                     KB_STREAM_WHOLE_MAX + 1,
                                     100000};
    size_t room = 4u << 20;
    uint8_t *in = malloc(room);
    for (unsigned round = 0; round < 60; round++) {
        size_t len = 0;
        uint64_t messages = 0;
        seed = 0x5eed0000 + round;
        while (messages < 60) {
            uint32_t size = sizes[random_below(sizeof sizes / sizeof sizes[0])];
            put_header(in + len, 100 + random_below(30), size);
            for (uint32_t i = 0; i < size; i++)
                in[len + 6 + i] = (uint8_t)(i * 31 + messages);
            len += 6 + size;
            messages++;
            if (len > room - 200000)
                break;
        }
        walk(KB_CHANNEL_DISPLAY, KB_FROM_SERVER, in, len, messages);
        walk(KB_CHANNEL_USBREDIR, KB_FROM_CLIENT, in, len, messages);
    }
    free(in);
}

static void test_captured(void **state)
{
    (void)state;
    enum { PING_BODY = 256012 };
    size_t len = sizeof captured_main_data + PING_BODY;
    uint8_t *in = calloc(1, len);
    struct kb_stream s;
    struct kb_piece p;
    enum kb_reason why;
    uint32_t session_id = 0;
    memcpy(in, captured_main_data, sizeof captured_main_data);
    seed = 42;
    walk(KB_CHANNEL_MAIN, KB_FROM_SERVER, in, len, 5);

    start(&s, KB_CHANNEL_MAIN, KB_FROM_SERVER);
    static const struct {
        unsigned type;
        uint32_t size;
    } rows[] = {{103, 32}, {113, 9}, {4, 12}, {4, 12}, {4, PING_BODY}};
    size_t at = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(kb_stream_next(&s, kb_span(in + at, len - at), &p, &why), KB_STREAM_PIECE);
        assert_int_equal(p.type, rows[i].type);
        assert_int_equal(p.size, rows[i].size);
        assert_int_equal(kb_main_init_session(&p, &session_id), i == 0);
        at += p.bytes.len;
    }
    /* The same number that this client's display link carries as its connection id. */
    assert_int_equal(session_id, kb_get_u32(captured_client_display + 16));
    free(in);
}

static void test_facts_of_main(void **state)
{
    (void)state;
    uint8_t bytes[12] = {103, 0, 6, 0, 0, 0, 0x78, 0x56, 0x34, 0x12, 0, 0};
    struct kb_piece p = {
        .bytes = kb_span(bytes, 12), .type = 103, .size = 6, .first = true, .last = true};
    uint32_t id = 0;
    assert_true(kb_main_init_session(&p, &id));
    assert_int_equal(id, 0x12345678);
    p.bytes.len = 10;
    assert_true(kb_main_init_session(&p, &id));
    p.bytes.len = 9;
    assert_false(kb_main_init_session(&p, &id));
    p.bytes.len = 12;
    p.first = false;
    assert_false(kb_main_init_session(&p, &id));
    p.first = true;
    p.type = 104;
    assert_false(kb_main_init_session(&p, &id));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),    cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_limits),   cmocka_unit_test(test_random_cuts),
        cmocka_unit_test(test_captured), cmocka_unit_test(test_facts_of_main),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
