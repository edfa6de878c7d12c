/* Our numbers against spice-protocol's headers. */
#include "base/reason.h"
#include "spice/wire.h"

#include <spice/enums.h>
#include <spice/protocol.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_sizes(void **state)
{
    (void)state;
    assert_int_equal(KB_LINK_HEADER_SIZE, sizeof(SpiceLinkHeader));
    assert_int_equal(KB_LINK_MESS_SIZE, sizeof(SpiceLinkMess));
    assert_int_equal(KB_LINK_REPLY_SIZE, sizeof(SpiceLinkReply));
    assert_int_equal(KB_LINK_PUBKEY_SIZE, SPICE_TICKET_PUBKEY_BYTES);
    assert_int_equal(KB_TICKET_SIZE, SPICE_TICKET_KEY_PAIR_LENGTH / 8);
    assert_int_equal(KB_TICKET_SIZE, sizeof(SpiceLinkEncryptedTicket));
    assert_int_equal(KB_PASSWORD_MAX, SPICE_MAX_PASSWORD_LENGTH);
    assert_int_equal(KB_MINI_HEADER_SIZE, sizeof(SpiceMiniDataHeader));
}

static void test_channel_types(void **state)
{
    (void)state;
    static const struct {
        int ours, theirs;
        const char *name;
    } rows[] = {
        {KB_CHANNEL_MAIN, SPICE_CHANNEL_MAIN, "main"},
        {KB_CHANNEL_DISPLAY, SPICE_CHANNEL_DISPLAY, "display"},
        {KB_CHANNEL_INPUTS, SPICE_CHANNEL_INPUTS, "inputs"},
        {KB_CHANNEL_CURSOR, SPICE_CHANNEL_CURSOR, "cursor"},
        {KB_CHANNEL_PLAYBACK, SPICE_CHANNEL_PLAYBACK, "playback"},
        {KB_CHANNEL_RECORD, SPICE_CHANNEL_RECORD, "record"},
        {KB_CHANNEL_TUNNEL, SPICE_CHANNEL_TUNNEL, "tunnel"},
        {KB_CHANNEL_SMARTCARD, SPICE_CHANNEL_SMARTCARD, "smartcard"},
        {KB_CHANNEL_USBREDIR, SPICE_CHANNEL_USBREDIR, "usbredir"},
        {KB_CHANNEL_PORT, SPICE_CHANNEL_PORT, "port"},
        {KB_CHANNEL_WEBDAV, SPICE_CHANNEL_WEBDAV, "webdav"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(rows[i].ours, rows[i].theirs);
        assert_string_equal(kb_channel_type_name((unsigned)rows[i].ours), rows[i].name);
    }
    assert_int_equal(KB_CHANNEL_END, SPICE_END_CHANNEL);
    assert_string_equal(kb_channel_type_name(0), "unknown");
    assert_string_equal(kb_channel_type_name(KB_CHANNEL_END), "unknown");
    assert_string_equal(kb_channel_type_name(255), "unknown");
    assert_string_equal(kb_channel_type_name(~0u), "unknown");
}

static void test_directions(void **state)
{
    (void)state;
    assert_string_equal(kb_direction_name(KB_FROM_CLIENT), "client_to_server");
    assert_string_equal(kb_direction_name(KB_FROM_SERVER), "server_to_client");
}

static void test_link_errors(void **state)
{
    (void)state;
    assert_int_equal(KB_LINK_OK, SPICE_LINK_ERR_OK);
    assert_int_equal(KB_LINK_ERROR, SPICE_LINK_ERR_ERROR);
    assert_int_equal(KB_LINK_INVALID_MAGIC, SPICE_LINK_ERR_INVALID_MAGIC);
    assert_int_equal(KB_LINK_INVALID_DATA, SPICE_LINK_ERR_INVALID_DATA);
    assert_int_equal(KB_LINK_VERSION_MISMATCH, SPICE_LINK_ERR_VERSION_MISMATCH);
    assert_int_equal(KB_LINK_NEED_SECURED, SPICE_LINK_ERR_NEED_SECURED);
    assert_int_equal(KB_LINK_NEED_UNSECURED, SPICE_LINK_ERR_NEED_UNSECURED);
    assert_int_equal(KB_LINK_PERMISSION_DENIED, SPICE_LINK_ERR_PERMISSION_DENIED);
    assert_int_equal(KB_LINK_BAD_CONNECTION_ID, SPICE_LINK_ERR_BAD_CONNECTION_ID);
    assert_int_equal(KB_LINK_CHANNEL_NOT_AVAILABLE, SPICE_LINK_ERR_CHANNEL_NOT_AVAILABLE);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_channel_types),
        cmocka_unit_test(test_directions),
        cmocka_unit_test(test_link_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
