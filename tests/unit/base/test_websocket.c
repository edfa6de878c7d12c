/* WebSocket frames: what is read of any cut of the same bytes, what is against the protocol, and
 * what is written. */
#include "base/websocket.h"

#include "base/auto.h"
#include "base/mem.h"
#include "base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Everything that comes out, as text: data as it is, T for a text frame, C P p for controls with
 * their payload in brackets, X for the end. */
static char *read_all(struct kb_span bytes, size_t step)
{
    struct kb_ws_reader r = {0};
    struct kb_buf seen = {0};
    bool broken = false;
    for (size_t at = 0; at < bytes.len && !broken; at += step) {
        struct kb_span in = kb_span(bytes.data + at, bytes.len - at < step ? bytes.len - at : step);
        enum kb_ws_event event;
        do {
            struct kb_span payload = {0};
            event = kb_ws_read(&r, &in, &payload);
            if (event == KB_WS_GOT_DATA)
                kb_buf_add(&seen, payload.data, payload.len);
            else if (event == KB_WS_GOT_TEXT)
                kb_buf_add_str(&seen, "T");
            else if (event == KB_WS_GOT_CONTROL)
                kb_buf_printf(&seen, "%c(%.*s)", "CPp"[r.now - KB_WS_CLOSE], (int)payload.len,
                              payload.len ? (const char *)payload.data : "");
            else if (event == KB_WS_BROKEN)
                kb_buf_add_str(&seen, "X");
            broken = event == KB_WS_BROKEN;
        } while (event != KB_WS_MORE && !broken);
        assert_true(broken || in.len == 0);
    }
    return kb_buf_steal(&seen);
}

static void test_read(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *seen;
    } rows[] = {
#define ROW(bytes, seen) {bytes, sizeof bytes - 1, seen}
        ROW("\x82\x03"
            "abc",
            "abc"),
        ROW("\x82\x00"
            "\x82\x01"
            "a",
            "a"),
        ROW("\x02\x01"
            "a"
            "\x00\x01"
            "b"
            "\x80\x01"
            "c",
            "abc"),
        ROW("\x02\x01"
            "a"
            "\x89\x02"
            "hi"
            "\x80\x01"
            "b",
            "aP(hi)b"),
        ROW("\x81\x02"
            "xx"
            "\x82\x01"
            "a",
            "Ta"),
        ROW("\x81\x00"
            "\x82\x01"
            "a",
            "Ta"),
        ROW("\x01\x01"
            "x"
            "\x80\x01"
            "x"
            "\x82\x01"
            "a",
            "TTa"),
        ROW("\x8a\x01"
            "z"
            "\x88\x00",
            "p(z)C()"),
        ROW("\x88\x05"
            "\x03\xe8"
            "bye",
            "C(\x03\xe8"
            "bye)"),
        ROW("\x82\x7e\x00\x02"
            "ab",
            "ab"),
        ROW("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01"
            "a"
            "\x82\x01"
            "b",
            "ab"),
        /* against the protocol */
        ROW("\x82\x81"
            "mask"
            "a",
            "X"),
        ROW("\xc2\x01"
            "a",
            "X"),
        ROW("\x83\x01"
            "a",
            "X"),
        ROW("\x8b\x00", "X"),
        ROW("\x80\x01"
            "a",
            "X"),
        ROW("\x02\x01"
            "a"
            "\x82\x01"
            "b",
            "aX"),
        ROW("\x09\x00", "X"),
        ROW("\x89\x7e\x00\x7e", "X"),
        ROW("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "X"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t step = 1; step <= rows[i].len; step++) {
            kb_auto_free char *seen = read_all(kb_span(rows[i].bytes, rows[i].len), step);
            if (strcmp(seen, rows[i].seen) != 0)
                fail_msg("row %zu in steps of %zu: %s", i, step, seen);
        }
}

/* What is written, unmasked as a server does, is what a server's own frame would be. */
static void test_write(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        kb_auto_free char *text = kb_zalloc(n + 1);
        memset(text, 'a', n);
        kb_auto(kb_buf_finish) struct kb_buf out = {0};
        kb_ws_write(&out, KB_WS_BINARY, kb_span(text, n));
        size_t head = n < 126 ? 2 : n < 65536 ? 4 : 10;
        assert_int_equal(out.len, head + 4 + n);
        assert_int_equal(out.data[0], 0x82);
        assert_true(out.data[1] & 0x80);
        out.data[1] &= 0x7f;
        for (size_t k = 0; k < n; k++)
            out.data[head + 4 + k] ^= out.data[head + (k & 3)];
        memmove(out.data + head, out.data + head + 4, n);
        out.len -= 4;
        kb_auto_free char *seen = read_all(kb_buf_span(&out), 4096);
        assert_string_equal(seen, text);
    }
}

static void test_handshake(void **state)
{
    (void)state;
    /* RFC 6455, 1.3 */
    kb_auto_free char *accept = kb_ws_accept("dGhlIHNhbXBsZSBub25jZQ==");
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    kb_auto_free char *a = kb_ws_key(), *b = kb_ws_key();
    assert_int_equal(strlen(a), 24);
    assert_string_not_equal(a, b);
}

int main(void)
{
    if (!kb_secret_start())
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_handshake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
