/* What is announced to whom. The numbers are written out, so that a slip in a name shows. */
#include "spice/caps.h"

#include <spice/protocol.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_bits_of_the_protocol(void **state)
{
    (void)state;
    assert_int_equal(SPICE_COMMON_CAP_PROTOCOL_AUTH_SELECTION, 0);
    assert_int_equal(SPICE_COMMON_CAP_AUTH_SPICE, 1);
    assert_int_equal(SPICE_COMMON_CAP_AUTH_SASL, 2);
    assert_int_equal(SPICE_COMMON_CAP_MINI_HEADER, 3);
    assert_int_equal(SPICE_MAIN_CAP_SEMI_SEAMLESS_MIGRATE, 0);
    assert_int_equal(SPICE_MAIN_CAP_SEAMLESS_MIGRATE, 3);
    assert_int_equal(SPICE_DISPLAY_CAP_GL_SCANOUT, 7);
}

static void test_has(void **state)
{
    (void)state;
    struct kb_caps c = {.common = {1u << 31, 1}, .channel = {0, 2}, .common_words = 2};
    assert_true(kb_caps_has_common(&c, 31));
    assert_true(kb_caps_has_common(&c, 32));
    assert_false(kb_caps_has_common(&c, 0));
    assert_false(kb_caps_has_common(&c, 64));
    assert_false(kb_caps_has_common(&c, ~0u));
    assert_false(
        kb_caps_has_channel(&c, 33)); /* the words are not counted, so they are not there */
    c.channel_words = 2;
    assert_true(kb_caps_has_channel(&c, 33));
}

static void test_for_client(void **state)
{
    (void)state;
    static const struct {
        unsigned type, words;
        uint32_t channel;
    } rows[] = {
        {KB_CHANNEL_MAIN, 1, 0x06},     {KB_CHANNEL_DISPLAY, 1, 0x1052},
        {KB_CHANNEL_INPUTS, 1, 0x01},   {KB_CHANNEL_CURSOR, 0, 0},
        {KB_CHANNEL_PLAYBACK, 1, 0x0a}, {KB_CHANNEL_RECORD, 1, 0x06},
        {KB_CHANNEL_TUNNEL, 0, 0},      {KB_CHANNEL_SMARTCARD, 0, 0},
        {KB_CHANNEL_USBREDIR, 0, 0},    {KB_CHANNEL_PORT, 0, 0},
        {KB_CHANNEL_WEBDAV, 0, 0},      {0, 0, 0},
        {KB_CHANNEL_END, 0, 0},         {~0u, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kb_caps c;
        memset(&c, 0xa5, sizeof c);
        kb_caps_for_client(rows[i].type, &c);
        assert_int_equal(c.common_words, 1);
        assert_int_equal(c.common[0], 0x0b);
        assert_int_equal(c.channel_words, rows[i].words);
        assert_int_equal(c.channel[0], rows[i].channel);
    }
}

static void test_for_server(void **state)
{
    (void)state;
    static const struct {
        unsigned type;
        uint32_t common, channel, want_common, want_channel;
    } rows[] = {
        {KB_CHANNEL_MAIN, 0x0d, 0x06, 0x0b, 0x0f}, /* SASL out, SPICE in; the migrating is ours */
        {KB_CHANNEL_MAIN, 0, 0, 0x0b, 0x09},
        {KB_CHANNEL_MAIN, ~0u, ~0u, ~4u, ~0u},          /* what is unknown is the client's own */
        {KB_CHANNEL_DISPLAY, 0x0d, 0x3bf, 0x0b, 0x33f}, /* spice-gtk's; no GL_SCANOUT */
        {KB_CHANNEL_DISPLAY, 0x0d, ~0u, 0x0b, ~0x80u},
        {KB_CHANNEL_INPUTS, 0x0d, ~0u, 0x0b, ~0u},
        {KB_CHANNEL_PLAYBACK, 0x0d, 0x0e, 0x0b, 0x0e},
        {KB_CHANNEL_USBREDIR, 0x0d, 0x89, 0x0b, 0x88}, /* no LZ4; 3, 7 mean other things here */
        {KB_CHANNEL_PORT, 0x0d, 0x01, 0x0b, 0},
        {KB_CHANNEL_WEBDAV, 0x0d, 0x01, 0x0b, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kb_caps client = {.common = {rows[i].common, 0x1234},
                                 .channel = {rows[i].channel, 0x5678},
                                 .common_words = 2,
                                 .channel_words = 2};
        struct kb_caps c;
        kb_caps_for_server(rows[i].type, &client, &c);
        assert_int_equal(c.common[0], rows[i].want_common);
        assert_int_equal(c.channel[0], rows[i].want_channel);
        assert_int_equal(c.common[1], 0x1234);
        assert_int_equal(c.channel[1], 0x5678);
        assert_int_equal(c.common_words, 2);
        assert_int_equal(c.channel_words, 2);
    }
}

static void test_for_server_without_words(void **state)
{
    (void)state;
    static const struct kb_caps none = {.common = {0xdead}, .channel = {0xbeef}};
    struct kb_caps c;
    kb_caps_for_server(KB_CHANNEL_MAIN, &none, &c);
    assert_int_equal(c.common_words, 1);
    assert_int_equal(c.common[0], 0x0b);
    assert_int_equal(c.channel_words, 1);
    assert_int_equal(c.channel[0], 0x09);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits_of_the_protocol),
        cmocka_unit_test(test_has),
        cmocka_unit_test(test_for_client),
        cmocka_unit_test(test_for_server),
        cmocka_unit_test(test_for_server_without_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
