/* The server leg's link machine: real bytes, every cut, every flip, every length at its limits, and
 * that each machine understands what the other's functions write. */
#include "base/auto.h"
#include "captured.h"
#include "spice/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { REPLY_SIZE = 16 + 178 + 8, WHOLE_SIZE = REPLY_SIZE + 4 };

static enum kb_link_step drive(struct kb_server_link *l, const uint8_t *p, size_t len, size_t chunk)
{
    enum kb_link_step step = KB_LINK_MORE;
    size_t at = 0;
    while (at < len && step != KB_LINK_FAILED && step != KB_LINK_DONE) {
        size_t n = kb_server_link_want(l);
        assert_true(n > 0);
        if (n > chunk)
            n = chunk;
        if (n > len - at)
            n = len - at;
        step = kb_server_link_feed(l, kb_span(p + at, n));
        at += n;
    }
    return step;
}

static void check_main(const struct kb_server_link *l)
{
    assert_memory_equal(l->pubkey, captured_server_main + 20, KB_LINK_PUBKEY_SIZE);
    assert_int_equal(l->caps.common_words, 1);
    assert_int_equal(l->caps.common[0], 0x0b);
    assert_int_equal(l->caps.channel_words, 1);
    assert_int_equal(l->caps.channel[0], 0x0f);
}

static void test_captured(void **state)
{
    (void)state;
    struct kb_server_link l;
    assert_int_equal(sizeof captured_server_main, WHOLE_SIZE);
    kb_server_link_init(&l);
    assert_int_equal(kb_server_link_want(&l), 16);
    assert_int_equal(kb_server_link_feed(&l, kb_span(captured_server_main, 16)), KB_LINK_MORE);
    assert_int_equal(kb_server_link_want(&l), 186);
    assert_int_equal(kb_server_link_feed(&l, kb_span(captured_server_main + 16, 186)), KB_LINK_GOT);
    check_main(&l);
    assert_int_equal(kb_server_link_want(&l), 4);
    assert_int_equal(kb_server_link_feed(&l, kb_span(captured_server_main + 202, 4)), KB_LINK_DONE);
    assert_int_equal(kb_server_link_want(&l), 0);
    assert_int_equal(kb_server_link_feed(&l, kb_span(NULL, 0)), KB_LINK_DONE);

    kb_server_link_init(&l);
    assert_int_equal(drive(&l, captured_server_display, sizeof captured_server_display, 4096),
                     KB_LINK_DONE);
    assert_int_equal(l.caps.channel[0], 0x1052);
}

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t chunk = 1; chunk <= WHOLE_SIZE; chunk++) {
        struct kb_server_link l;
        kb_server_link_init(&l);
        assert_int_equal(drive(&l, captured_server_main, WHOLE_SIZE, chunk), KB_LINK_DONE);
        check_main(&l);
    }
    for (size_t len = 0; len < WHOLE_SIZE; len++) {
        struct kb_server_link l;
        kb_server_link_init(&l);
        assert_int_equal(drive(&l, captured_server_main, len, 9),
                         len == REPLY_SIZE ? KB_LINK_GOT : KB_LINK_MORE);
        assert_true(kb_server_link_want(&l) > 0);
        assert_int_equal(kb_server_link_feed(&l, kb_span(NULL, 0)), KB_LINK_MORE);
    }
}

/* Errors by their number, in the reply and in the result. */
static enum kb_reason reason_of(uint32_t error)
{
    static const enum kb_reason reasons[] = {
        KB_REASON_NONE,
        KB_REASON_SERVER_LINK_REFUSED,
        KB_REASON_SERVER_LINK_REFUSED,
        KB_REASON_SERVER_LINK_REFUSED,
        KB_REASON_SERVER_VERSION,
        KB_REASON_SERVER_NEEDS_TLS,
        KB_REASON_SERVER_NEEDS_PLAIN,
        KB_REASON_SERVER_TICKET,
        KB_REASON_SERVER_CONNECTION_ID,
        KB_REASON_SERVER_NO_CHANNEL,
    };
    return error < sizeof reasons / sizeof reasons[0] ? reasons[error]
                                                      : KB_REASON_SERVER_LINK_REFUSED;
}

static const struct {
    size_t from, to;
    unsigned bits;
    enum kb_reason reason;
} flips[] = {
    {0, 4, 0xff, KB_REASON_SERVER_LINK_MALFORMED},
    {4, 8, 0xff, KB_REASON_SERVER_VERSION},
    /* size is 186 = 0xba: bits 0, 2 and 6 make it longer, as do 8 to 11 (below 4096); without bit 1
     * or 3 the words are cut off (184, 178), without 4, 5, 7 it is too short */
    {12, 13, 0x02 | 0x08 | 0x10 | 0x20 | 0x80, KB_REASON_SERVER_LINK_MALFORMED},
    {13, 14, 0xf0, KB_REASON_SERVER_LINK_MALFORMED},
    {14, 16, 0xff, KB_REASON_SERVER_LINK_MALFORMED},
    /* error, 0: 1, 2, 4, 8 by their table, the rest unknown */
    {16, 17, 0x01 | 0x02, KB_REASON_SERVER_LINK_REFUSED},
    {16, 17, 0x04, KB_REASON_SERVER_VERSION},
    {16, 17, 0x08, KB_REASON_SERVER_CONNECTION_ID},
    {16, 20, 0xff, KB_REASON_SERVER_LINK_REFUSED},
    {182, 183, 0x01, KB_REASON_SERVER_CAPABILITIES},
    {182, 186, 0xff, KB_REASON_SERVER_LINK_MALFORMED},
    {186, 187, 0xfe, KB_REASON_SERVER_LINK_MALFORMED},
    {187, 190, 0xff, KB_REASON_SERVER_LINK_MALFORMED},
    {190, 194, 0xff, KB_REASON_SERVER_LINK_MALFORMED},
    /* AUTH_SELECTION, AUTH_SPICE, MINI_HEADER */
    {194, 195, 0x01 | 0x02 | 0x08, KB_REASON_SERVER_CAPABILITIES},
    {202, 203, 0x01 | 0x02, KB_REASON_SERVER_LINK_REFUSED},
    {202, 203, 0x04, KB_REASON_SERVER_VERSION},
    {202, 203, 0x08, KB_REASON_SERVER_CONNECTION_ID},
    {202, 206, 0xff, KB_REASON_SERVER_LINK_REFUSED},
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
            memcpy(bytes, captured_server_main, WHOLE_SIZE);
            bytes[at] = (uint8_t)(bytes[at] ^ 1u << bit);

            for (size_t chunk = 1; chunk <= WHOLE_SIZE; chunk += WHOLE_SIZE - 1) {
                struct kb_server_link l;
                kb_server_link_init(&l);
                enum kb_link_step step = drive(&l, bytes, WHOLE_SIZE, chunk);
                assert_int_equal(l.reason, want);
                if (want)
                    assert_int_equal(step, KB_LINK_FAILED);
                else if (at < 12 || at >= 16)
                    assert_int_equal(step, KB_LINK_DONE);
                else /* size 190 has taken the result in; 187 has left 3 bytes; others wait */
                    assert_int_equal(step,
                                     kb_get_u32(bytes + 12) == 190 ? KB_LINK_GOT : KB_LINK_MORE);
                if (!want && at >= 20 && at < 182)
                    assert_int_equal(l.pubkey[at - 20], bytes[at]);
            }
        }
    }
}

static void test_errors(void **state)
{
    (void)state;
    static const uint32_t errors[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255, 256, 0x07000000, ~0u};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        enum kb_reason want = reason_of(errors[i]);
        struct kb_server_link l;

        /* In a full reply, as kb_link_refuse and spice-server write them: no key, no capabilities.
         */
        if (errors[i]) {
            kb_auto(kb_buf_finish) struct kb_buf out = {0};
            kb_link_refuse(&out, errors[i]);
            kb_server_link_init(&l);
            assert_int_equal(drive(&l, out.data, out.len, 4096), KB_LINK_FAILED);
            assert_int_equal(l.reason, want);
            /* Nonsense in what follows the error does not hide it. */
            memset(out.data + 20, 0xff, out.len - 20);
            kb_server_link_init(&l);
            assert_int_equal(drive(&l, out.data, out.len, 4096), KB_LINK_FAILED);
            assert_int_equal(l.reason, want);
        }

        uint8_t bytes[WHOLE_SIZE];
        memcpy(bytes, captured_server_main, WHOLE_SIZE);
        kb_put_u32(bytes + REPLY_SIZE, errors[i]);
        kb_server_link_init(&l);
        assert_int_equal(drive(&l, bytes, WHOLE_SIZE, 4096),
                         errors[i] ? KB_LINK_FAILED : KB_LINK_DONE);
        assert_int_equal(l.reason, want);
        assert_int_equal(kb_server_link_want(&l), 0);
        assert_int_equal(kb_server_link_feed(&l, kb_span(NULL, 0)),
                         errors[i] ? KB_LINK_FAILED : KB_LINK_DONE);
    }
}

struct parts {
    uint32_t major, size, common, channel, offset, word;
};

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        struct parts m;
        enum kb_reason reason;
    } rows[] = {
        {{2, 182, 1, 0, 178, 0x0b}, KB_REASON_NONE},
        {{1, 182, 1, 0, 178, 0x0b}, KB_REASON_SERVER_VERSION},
        {{3, 182, 1, 0, 178, 0x0b}, KB_REASON_SERVER_VERSION},
        {{2, 0, 1, 0, 178, 0x0b}, KB_REASON_SERVER_LINK_MALFORMED},
        {{2, 177, 0, 0, 178, 0x0b}, KB_REASON_SERVER_LINK_MALFORMED},
        {{2, 178, 0, 0, 178, 0x0b}, KB_REASON_SERVER_CAPABILITIES},
        {{2, 178, 0, 0, 0, 0x0b}, KB_REASON_SERVER_CAPABILITIES},
        {{2, 4096, 1, 0, 178, 0x0b}, KB_REASON_NONE},
        {{2, 4097, 1, 0, 178, 0x0b}, KB_REASON_SERVER_LINK_MALFORMED},
        {{2, ~0u, 1, 0, 178, 0x0b}, KB_REASON_SERVER_LINK_MALFORMED},
        {{2, 4096, 16, 16, 178, 0x0b}, KB_REASON_NONE},
        {{2, 4096, 17, 0, 178, 0x0b}, KB_REASON_SERVER_LINK_MALFORMED},
        {{2, 4096, 1, 17, 178, 0x0b}, KB_REASON_SERVER_LINK_MALFORMED},
        {{2, 4096, ~0u, 1, 178, 0x0b}, KB_REASON_SERVER_LINK_MALFORMED},
        {{2, 4096, 0x40000001, 0, 178, 0x0b}, KB_REASON_SERVER_LINK_MALFORMED},
        {{2, 190, 1, 0, 177, 0x0b}, KB_REASON_SERVER_LINK_MALFORMED},
        {{2, 190, 1, 0, 0, 0x0b}, KB_REASON_SERVER_LINK_MALFORMED},
        {{2, 190, 1, 0, 186, 0x0b}, KB_REASON_NONE},
        {{2, 190, 1, 0, 187, 0x0b}, KB_REASON_SERVER_LINK_MALFORMED},
        {{2, 190, 1, 0, ~0u - 3, 0x0b}, KB_REASON_SERVER_LINK_MALFORMED},
        {{2, 4096, 16, 16, 3968, 0x0b}, KB_REASON_NONE},
        {{2, 4096, 16, 16, 3969, 0x0b}, KB_REASON_SERVER_LINK_MALFORMED},
        /* capabilities */
        {{2, 182, 1, 0, 178, 0x0f}, KB_REASON_NONE},
        {{2, 182, 1, 0, 178, ~0u}, KB_REASON_NONE},
        {{2, 182, 1, 0, 178, 0x0d}, KB_REASON_SERVER_CAPABILITIES}, /* SASL only */
        {{2, 182, 1, 0, 178, 0x0a}, KB_REASON_SERVER_CAPABILITIES},
        {{2, 182, 1, 0, 178, 0x03}, KB_REASON_SERVER_CAPABILITIES},
        {{2, 182, 0, 1, 178, 0x0b}, KB_REASON_SERVER_CAPABILITIES},
    };
    static uint8_t bytes[16 + 65536];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct parts *m = &rows[i].m;
        struct kb_server_link l;
        memset(bytes, 0, sizeof bytes);
        memcpy(bytes, "REDQ", 4);
        kb_put_u32(bytes + 4, m->major);
        kb_put_u32(bytes + 12, m->size);
        kb_put_u32(bytes + 182, m->common);
        kb_put_u32(bytes + 186, m->channel);
        kb_put_u32(bytes + 190, m->offset);
        if (m->offset >= KB_LINK_REPLY_SIZE && m->offset < 60000)
            kb_put_u32(bytes + 16 + m->offset, m->word);
        kb_server_link_init(&l);
        enum kb_link_step step = drive(&l, bytes, 16 + (m->size <= 4096 ? m->size : 0), 4096);
        if (l.reason != rows[i].reason)
            fail_msg("row %zu: %s, wanted %s", i, kb_reason_name(l.reason),
                     kb_reason_name(rows[i].reason));
        assert_int_equal(step, rows[i].reason ? KB_LINK_FAILED : KB_LINK_GOT);
    }
}

static void test_more_than_wanted_is_our_mistake(void **state)
{
    (void)state;
    struct kb_server_link l;
    kb_server_link_init(&l);
    assert_int_equal(kb_server_link_feed(&l, kb_span(captured_server_main, 17)), KB_LINK_FAILED);
    assert_int_equal(l.reason, KB_REASON_INTERNAL);
    kb_server_link_init(&l);
    assert_int_equal(drive(&l, captured_server_main, WHOLE_SIZE, 4096), KB_LINK_DONE);
    assert_int_equal(kb_server_link_feed(&l, kb_span("x", 1)), KB_LINK_FAILED);
    assert_int_equal(l.reason, KB_REASON_INTERNAL);
}

/* Our link message for a client, read as a server reads it. */
static void test_hello(void **state)
{
    (void)state;
    for (uint8_t type = KB_CHANNEL_MAIN; type < KB_CHANNEL_END; type++) {
        for (uint8_t words = 1; words <= KB_LINK_CAPS_MAX; words++) {
            struct kb_link link = {
                .connection_id = 0xfedcba98, .channel_type = type, .channel_id = 3};
            link.caps.common_words = words;
            link.caps.channel_words = (uint8_t)(words - 1);
            for (unsigned i = 0; i < words; i++) {
                link.caps.common[i] = i ? 0x01010101 * i : 0x0d;
                if (i < words - 1u)
                    link.caps.channel[i] = 0xffff0000 + i;
            }
            struct kb_caps want;
            kb_caps_for_server(type, &link.caps, &want);
            kb_auto(kb_buf_finish) struct kb_buf out = {0};
            kb_server_link_hello(&out, &link);

            struct kb_client_link c;
            kb_client_link_init(&c);
            assert_int_equal(kb_client_link_feed(&c, kb_span(out.data, 16)), KB_LINK_MORE);
            assert_int_equal(kb_client_link_want(&c), out.len - 16);
            assert_int_equal(kb_client_link_feed(&c, kb_span(out.data + 16, out.len - 16)),
                             KB_LINK_GOT);
            assert_int_equal(c.link.connection_id, link.connection_id);
            assert_int_equal(c.link.channel_type, type);
            assert_int_equal(c.link.channel_id, 3);
            assert_memory_equal(&c.link.caps, &want, sizeof want);
        }
    }
}

/* Our reply to a client, read as a client reads it. */
static void test_reply(void **state)
{
    (void)state;
    uint8_t key[KB_LINK_PUBKEY_SIZE];
    memset(key, 0x5a, sizeof key);
    for (unsigned type = KB_CHANNEL_MAIN; type < KB_CHANNEL_END; type++) {
        struct kb_caps want;
        struct kb_server_link l;
        kb_auto(kb_buf_finish) struct kb_buf out = {0};
        kb_caps_for_client(type, &want);
        kb_link_reply(&out, type, key);
        kb_server_link_init(&l);
        assert_int_equal(drive(&l, out.data, out.len, 4096), KB_LINK_GOT);
        assert_memory_equal(l.pubkey, key, sizeof key);
        assert_memory_equal(&l.caps, &want, sizeof want);
        kb_link_result(&out, KB_LINK_OK);
        assert_int_equal(kb_server_link_feed(&l, kb_span(out.data + out.len - 4, 4)), KB_LINK_DONE);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_captured),   cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_flip), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_more_than_wanted_is_our_mistake),
        cmocka_unit_test(test_hello),      cmocka_unit_test(test_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
