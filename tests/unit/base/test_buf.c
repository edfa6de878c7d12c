/* Buffers, spans, copies of text, UTF-8 and JSON strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/mem.h"

static void assert_text(struct kb_buf *b, const char *expected)
{
    kb_auto_free char *text = kb_buf_steal(b);
    assert_string_equal(text, expected);
}

static void test_buf(void **state)
{
    (void)state;
    struct kb_buf b = {0};
    assert_text(&b, ""); /* a zeroed one is valid */
    kb_buf_add(&b, NULL, 0);
    kb_buf_add_str(&b, "ab");
    kb_buf_printf(&b, "%s-%d", "c", 42);
    kb_buf_printf(&b, "%s", "");
    assert_int_equal(b.len, 6);
    assert_text(&b, "abc-42");
    assert_null(b.data); /* stolen */
    assert_int_equal(b.len, 0);

    kb_buf_add_u16(&b, 0x1234);
    kb_buf_add_u32(&b, 0xdeadbeef);
    const uint8_t raw[] = {0x34, 0x12, 0xef, 0xbe, 0xad, 0xde};
    assert_int_equal(b.len, sizeof raw);
    assert_memory_equal(b.data, raw, sizeof raw);
    assert_int_equal(kb_get_u16(b.data), 0x1234);
    assert_int_equal(kb_get_u32(b.data + 2), 0xdeadbeef);
    kb_buf_finish(&b);

    for (int i = 0; i < 5000; i++)
        kb_buf_printf(&b, "%04d", i);
    assert_int_equal(b.len, 20000);
    assert_memory_equal(b.data + 4 * 4321, "4321", 4);
    kb_buf_finish(&b);
    kb_buf_finish(&b); /* twice does no harm */
}

static void test_span(void **state)
{
    (void)state;
    struct kb_span s = kb_span_str("hello"), part;
    assert_true(kb_span_take(&s, 2, &part));
    assert_int_equal(part.len, 2);
    assert_memory_equal(part.data, "he", 2);
    assert_false(kb_span_take(&s, 4, &part));
    assert_int_equal(s.len, 3); /* nothing changed */
    assert_true(kb_span_take(&s, 3, &part));
    assert_true(kb_span_take(&s, 0, &part));
    assert_false(kb_span_take(&s, SIZE_MAX, &part));
}

static void assert_json(const char *text, const char *expected)
{
    struct kb_buf b = {0};
    kb_buf_add_json(&b, text);
    assert_text(&b, expected);
}

#define R "\xef\xbf\xbd"

static void test_json(void **state)
{
    (void)state;
    assert_json("", "\"\"");
    assert_json("plain /~ text", "\"plain /~ text\"");
    assert_json("\"\\", "\"\\\"\\\\\"");
    assert_json("\x01\n\x1f\x7f", "\"\\u0001\\u000a\\u001f\\u007f\"");
    assert_json("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
                "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\"");
    assert_json("\xd7\xa9\xd7\x9c", "\"\xd7\xa9\xd7\x9c\""); /* Hebrew itself is harmless */
    /* What a terminal would obey: C1's CSI, right-to-left override, isolates, separators. */
    assert_json("\xc2\x9b"
                "2J",
                "\"\\u009b2J\"");
    assert_json("\xe2\x80\xae"
                "gpj",
                "\"\\u202egpj\"");
    assert_json("\xe2\x81\xa6\xe2\x80\x8f\xd8\x9c", "\"\\u2066\\u200f\\u061c\"");
    assert_json("\xe2\x80\xa8\xe2\x80\xa9", "\"\\u2028\\u2029\"");
    assert_json("\xc2\xa0\xe2\x80\xa7\xe2\x80\xaf", "\"\xc2\xa0\xe2\x80\xa7\xe2\x80\xaf\"");
}

/* Every way in which bytes are not UTF-8; each wrong byte is one U+FFFD. */
static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *clean;
    } bad[] = {
        {"\x80", R},       /* a continuation alone */
        {"\xff\xfe", R R}, /* never a first byte */
        {"\xc3", R},       /* cut */
        {"\xe2\x82", R R},
        {"\xf0\x9f\x98", R R R},
        {"\xc3(", R "("},  /* continuation missing */
        {"\xc0\xaf", R R}, /* overlong slash */
        {"\xc1\xbf", R R},
        {"\xe0\x80\xaf", R R R},
        {"\xe0\x9f\xbf", R R R},
        {"\xf0\x8f\xbf\xbf", R R R R},
        {"\xed\xa0\x80", R R R}, /* a surrogate */
        {"\xed\xbf\xbf", R R R},
        {"\xf4\x90\x80\x80", R R R R},       /* above U+10FFFF */
        {"\xf8\x88\x80\x80\x80", R R R R R}, /* five bytes */
        {"a\xe9"
         "b",
         "a" R "b"}, /* Latin-1 */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(kb_utf8_valid(bad[i].bytes));
        struct kb_buf b = {0};
        kb_buf_add_utf8(&b, bad[i].bytes);
        kb_auto_free char *clean = kb_buf_steal(&b);
        assert_string_equal(clean, bad[i].clean);
        assert_true(kb_utf8_valid(clean));
        kb_auto_free char *quoted = kb_printf("\"%s\"", clean);
        assert_json(bad[i].bytes, quoted);
    }
    static const char *const good[] = {"",
                                       "a",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(kb_utf8_valid(good[i]));
        struct kb_buf b = {0};
        kb_buf_add_utf8(&b, good[i]);
        assert_text(&b, good[i]);
    }
}

static void test_copy(void **state)
{
    (void)state;
    char to[5];
    assert_true(kb_copy_str(to, sizeof to, "abcd"));
    assert_string_equal(to, "abcd");
    assert_false(kb_copy_str(to, sizeof to, "abcde"));
    assert_string_equal(to, "abcd");
    assert_true(kb_copy_str(to, sizeof to, NULL));
    assert_string_equal(to, "");
    /* Never half a character. */
    assert_false(kb_copy_str(to, sizeof to, "abc\xc3\xa4"));
    assert_string_equal(to, "abc");
    assert_false(kb_copy_str(to, sizeof to, "ab\xe2\x82\xac"));
    assert_string_equal(to, "ab");
    assert_false(kb_copy_str(to, sizeof to, "a\xf0\x9f\x98\x80"));
    assert_string_equal(to, "a");
    assert_true(kb_copy_str(to, sizeof to, "\xf0\x9f\x98\x80"));
    assert_false(kb_copy_str(to, sizeof to, "ab\xc3\xa4z"));
    assert_string_equal(to, "ab\xc3\xa4");
    /* Bytes that are no UTF-8 are cut where they are. */
    assert_false(kb_copy_str(to, sizeof to, "\x80\x80\x80\x80\x80\x80"));
    assert_string_equal(to, "\x80\x80\x80\x80");
    char one[1] = {'x'};
    assert_false(kb_copy_str(one, sizeof one, "\xc3\xa4"));
    assert_string_equal(one, "");
}

static void test_mem(void **state)
{
    (void)state;
    assert_null(kb_strdup(NULL));
    kb_auto_free char *s = kb_printf("%s/%d", "a", 7);
    assert_string_equal(s, "a/7");
    kb_auto_free char *zeroes = kb_zalloc(64);
    for (int i = 0; i < 64; i++)
        assert_int_equal(zeroes[i], 0);
    kb_auto_free void *none = kb_calloc(0, 8); /* something that can be freed */
    assert_non_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf),  cmocka_unit_test(test_span), cmocka_unit_test(test_json),
        cmocka_unit_test(test_utf8), cmocka_unit_test(test_copy), cmocka_unit_test(test_mem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
