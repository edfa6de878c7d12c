/* Secrets, tokens, ids and hashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/secret.h"

#include <string.h>

static int setup(void **state)
{
    (void)state;
    return kb_secret_start() && kb_secret_start() ? 0 : -1; /* twice does no harm */
}

static void test_secret(void **state)
{
    (void)state;
    struct kb_secret s = {0};
    assert_string_equal(kb_secret_text(&s), "");
    kb_secret_set(&s, "one");
    kb_secret_set(&s, "two");
    assert_string_equal(kb_secret_text(&s), "two");
    kb_secret_set(&s, s.text); /* from itself */
    assert_string_equal(kb_secret_text(&s), "two");
    kb_secret_set(&s, NULL);
    assert_null(s.text);
    kb_secret_set(&s, "three");
    kb_secret_finish(&s);
    kb_secret_finish(&s);
    assert_string_equal(kb_secret_text(&s), "");
    char raw[8] = "secret";
    kb_wipe(raw, sizeof raw);
    assert_memory_equal(raw, "\0\0\0\0\0\0\0\0", 8);
}

/* A token must fit a SPICE ticket (59 characters at most) and a URL. */
static void test_token(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static char tokens[COUNT][KB_TOKEN_SIZE];
    for (int i = 0; i < COUNT; i++) {
        kb_token_create(tokens[i]);
        assert_int_equal(strlen(tokens[i]), 43);
        assert_int_equal(strspn(tokens[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                           "0123456789-_"),
                         43);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(tokens[i], tokens[k]);
    }
}

static void test_id(void **state)
{
    (void)state;
    char a[KB_ID_SIZE], b[KB_ID_SIZE];
    kb_id_create(a);
    kb_id_create(b);
    assert_int_equal(strspn(a, "0123456789abcdef"), 16);
    assert_int_equal(strlen(a), 16);
    assert_string_not_equal(a, b);
}

static void test_hash(void **state)
{
    (void)state;
    /* FIPS 180-2, appendix B.1 */
    static const uint8_t abc[KB_HASH_SIZE] = {
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
        0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
        0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
    };
    struct kb_hash h = kb_hash_of("abc", 3), same = kb_hash_of("abcd", 3), other = h;
    assert_memory_equal(h.bytes, abc, sizeof abc);
    assert_true(kb_hash_equal(&h, &same));
    other.bytes[KB_HASH_SIZE - 1] ^= 1;
    assert_false(kb_hash_equal(&h, &other));
    other = h;
    other.bytes[0] ^= 0x80;
    assert_false(kb_hash_equal(&h, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secret),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_id),
        cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
