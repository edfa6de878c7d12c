/* Password hashes and API keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "identity/identity.h"

#include <string.h>

static int setup(void **state)
{
    (void)state;
    return kb_secret_start() ? 0 : -1;
}

static void test_password(void **state)
{
    (void)state;
    char a[KB_PASSWORD_HASH_SIZE], b[KB_PASSWORD_HASH_SIZE];
    assert_true(kb_password_hash("correct horse \xc3\xa4 \xff", a));
    assert_true(kb_password_hash("correct horse \xc3\xa4 \xff", b));
    assert_int_equal(strncmp(a, "$argon2id$v=19$m=65536,t=2,p=1$", 31), 0);
    assert_string_not_equal(a, b); /* salted */
    assert_true(kb_password_verify("correct horse \xc3\xa4 \xff", a));
    assert_false(kb_password_verify("correct horse", a));
    assert_false(kb_password_verify("", a));
    /* Both halves count: one changed character of the hash is another hash. */
    a[strlen(a) - 1] = a[strlen(a) - 1] == 'A' ? 'B' : 'A';
    assert_false(kb_password_verify("correct horse \xc3\xa4 \xff", a));
}

static void test_no_hash(void **state)
{
    (void)state;
    static char long_text[4 * KB_PASSWORD_HASH_SIZE];
    memset(long_text, '$', sizeof long_text - 1);
    static const char *const bad[] = {"", "x", "$argon2id$", "plain password", long_text};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(kb_password_verify("", bad[i]));
        assert_false(kb_password_verify(bad[i], bad[i]));
    }
    kb_password_verify_nobody("anything"); /* returns, and says nothing */
}

static void test_empty_password(void **state)
{
    (void)state;
    char hash[KB_PASSWORD_HASH_SIZE];
    assert_true(kb_password_hash("", hash));
    assert_true(kb_password_verify("", hash));
    assert_false(kb_password_verify("x", hash));
}

static void test_apikey(void **state)
{
    (void)state;
    char a[KB_APIKEY_SIZE], b[KB_APIKEY_SIZE];
    kb_apikey_create(a);
    kb_apikey_create(b);
    assert_int_equal(strlen(a), KB_APIKEY_SIZE - 1);
    assert_int_equal(strncmp(a, "kbk_", 4), 0);
    assert_string_not_equal(a, b);
    assert_true(kb_apikey_looks_like(a));
    char longer[KB_APIKEY_SIZE + 1] = {0};
    memcpy(longer, a, KB_APIKEY_SIZE);
    longer[KB_APIKEY_SIZE - 1] = 'A';
    assert_false(kb_apikey_looks_like(longer));
    a[KB_APIKEY_SIZE - 2] = '\0';
    assert_false(kb_apikey_looks_like(a));
    b[10] = '+';
    assert_false(kb_apikey_looks_like(b));
    b[10] = 'A';
    b[0] = 'K';
    assert_false(kb_apikey_looks_like(b));
    assert_false(kb_apikey_looks_like(""));
    assert_false(kb_apikey_looks_like("kbk_"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_password),
        cmocka_unit_test(test_no_hash),
        cmocka_unit_test(test_empty_password),
        cmocka_unit_test(test_apikey),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
