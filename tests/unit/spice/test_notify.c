/* NOTIFY, byte by byte, and texts that are too long. */
#include "spice/notify.h"

#include "spice/wire.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_bytes(void **state)
{
    (void)state;
    static const uint8_t want[] = {
        7,    0,    28,   0,    0,    0,                /* NOTIFY, its size */
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* time */
        1,    0,    0,    0,                            /* a warning */
        2,    0,    0,    0,                            /* that everybody should see */
        0,    0,    0,    0,                            /* of no special kind */
        3,    0,    0,    0,                            /* its length without the NUL */
        'b',  'y',  'e',  0,
    };
    struct kb_buf out = {0};
    kb_notify_write(&out, UINT64_C(0x1122334455667788), KB_SEVERITY_WARN, "bye");
    assert_int_equal(out.len, sizeof want);
    assert_memory_equal(out.data, want, sizeof want);
    kb_buf_finish(&out);
}

static void test_lengths(void **state)
{
    (void)state;
    static const size_t head = KB_MINI_HEADER_SIZE + 24;
    char text[2 * KB_NOTIFY_TEXT_MAX + 1];
    for (size_t len = 0; len < sizeof text; len += 2) {
        for (size_t i = 0; i < len; i += 2)
            memcpy(text + i, "\xc3\xa9", 2); /* two bytes a letter */
        text[len] = '\0';
        struct kb_buf out = {0};
        kb_notify_write(&out, 1, KB_SEVERITY_ERROR, len ? text : "");
        size_t want = len < KB_NOTIFY_TEXT_MAX ? len : KB_NOTIFY_TEXT_MAX;
        assert_int_equal(kb_get_u32(out.data + 2), 24 + want + 1);
        assert_int_equal(kb_get_u32(out.data + head - 4), want);
        assert_int_equal(out.len, head + want + 1);
        assert_int_equal(out.data[out.len - 1], 0);
        kb_buf_finish(&out);
    }
}

/* A letter that does not fit whole is left out whole. */
static void test_cut(void **state)
{
    (void)state;
    char text[KB_NOTIFY_TEXT_MAX + 8];
    memset(text, 'a', KB_NOTIFY_TEXT_MAX - 1);
    memcpy(text + KB_NOTIFY_TEXT_MAX - 1, "\xe2\x82\xac", 4);
    struct kb_buf out = {0};
    kb_notify_write(&out, 1, KB_SEVERITY_INFO, text);
    assert_int_equal(out.len, KB_MINI_HEADER_SIZE + 24 + KB_NOTIFY_TEXT_MAX - 1 + 1);
    assert_int_equal(out.data[out.len - 2], 'a');
    kb_buf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
