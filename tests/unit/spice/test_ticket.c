/* Tickets: round trips, the limits of a password, wrong keys, and what a stock client sends. */
#include "captured.h"
#include "spice/ticket.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct kb_ticket_key *key, *other;

static int make_keys(void **state)
{
    (void)state;
    key = kb_ticket_key_create();
    other = kb_ticket_key_create();
    return key && other ? 0 : -1;
}

static int drop_keys(void **state)
{
    (void)state;
    kb_ticket_key_unref(key);
    kb_ticket_key_unref(other);
    return 0;
}

/* As spice-gtk does it (spice_channel_send_spice_ticket): any bytes, sealed with the key of a
 * reply. */
static void seal_bytes(const struct kb_ticket_key *k, const void *plain, size_t len,
                       uint8_t ticket[KB_TICKET_SIZE])
{
    const uint8_t *der = kb_ticket_key_public(k);
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &der, KB_LINK_PUBKEY_SIZE);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    size_t out = KB_TICKET_SIZE;
    assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha1()), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha1()), 1);
    assert_int_equal(EVP_PKEY_encrypt(ctx, ticket, &out, plain, len), 1);
    assert_int_equal(out, KB_TICKET_SIZE);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(pkey);
}

static void test_round_trip(void **state)
{
    (void)state;
    char long_text[KB_PASSWORD_MAX + 2];
    for (size_t len = 0; len <= KB_PASSWORD_MAX; len++) {
        char password[KB_PASSWORD_MAX + 1];
        kb_auto(kb_buf_finish) struct kb_buf out = {0};
        for (size_t i = 0; i < len; i++)
            long_text[i] = (char)('!' + i);
        long_text[len] = '\0';
        bool ok = kb_ticket_seal(&out, kb_ticket_key_public(key), long_text);
        assert_int_equal(ok, len <= 59);
        if (!ok) {
            assert_int_equal(out.len, 0);
            continue;
        }
        assert_int_equal(out.len, 4 + KB_TICKET_SIZE);
        assert_int_equal(kb_get_u32(out.data), 1);
        memset(password, 0x7e, sizeof password);
        assert_true(kb_ticket_open(key, out.data + 4, password));
        assert_string_equal(password, long_text);
        assert_false(kb_ticket_open(other, out.data + 4, password));
        assert_string_equal(password, "");
    }
}

/* What a server decrypts: the password and its NUL, nothing else. */
static void test_sealed_bytes(void **state)
{
    (void)state;
    EVP_PKEY *pkey = EVP_RSA_gen(1024);
    uint8_t pubkey[KB_LINK_PUBKEY_SIZE], *end = pubkey, plain[KB_TICKET_SIZE];
    size_t len = sizeof plain;
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    assert_int_equal(i2d_PUBKEY(pkey, &end), KB_LINK_PUBKEY_SIZE);
    assert_true(kb_ticket_seal(&out, pubkey, "sesame"));

    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    assert_int_equal(EVP_PKEY_decrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha1()), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha1()), 1);
    assert_int_equal(EVP_PKEY_decrypt(ctx, plain, &len, out.data + 4, KB_TICKET_SIZE), 1);
    assert_int_equal(len, 7);
    assert_memory_equal(plain, "sesame", 7);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(pkey);
}

static void test_seal_appends(void **state)
{
    (void)state;
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    char password[KB_PASSWORD_MAX + 1];
    kb_buf_add_str(&out, "before");
    assert_true(kb_ticket_seal(&out, kb_ticket_key_public(key), "sesame"));
    assert_int_equal(out.len, 6 + 4 + KB_TICKET_SIZE);
    assert_memory_equal(out.data, "before", 6);
    assert_true(kb_ticket_open(key, out.data + 10, password));
    assert_string_equal(password, "sesame");
}

static void test_what_clients_seal(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *password; /* NULL: refused */
    } rows[] = {
        {"", 1, ""},
        {"", 0, ""}, /* not even a NUL */
        {"sesame", 7, "sesame"},
        {"sesame", 6, "sesame"},
        {"sesame\0open", 11, "sesame"},
        {"\0sesame", 7, ""},
        {"\xff\xfe\x01", 4, "\xff\xfe\x01"},
        /* 60 characters, which spice-gtk lets through, and 61 */
        {"012345678901234567890123456789012345678901234567890123456789", 61,
         "012345678901234567890123456789012345678901234567890123456789"},
        {"012345678901234567890123456789012345678901234567890123456789", 60,
         "012345678901234567890123456789012345678901234567890123456789"},
        {"0123456789012345678901234567890123456789012345678901234567890", 61, NULL},
        {"0123456789012345678901234567890123456789012345678901234567890", 62, NULL},
        /* OAEP with SHA-1 takes 86 bytes at most */
        {"01234567890123456789012345678901234567890123456789012345678901234567890123456789012345",
         86, NULL},
        {"0123456789\0 2345678901234567890123456789012345678901234567890123456789012345678901234",
         86, "0123456789"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t ticket[KB_TICKET_SIZE];
        char password[KB_PASSWORD_MAX + 1];
        seal_bytes(key, rows[i].bytes, rows[i].len, ticket);
        assert_int_equal(kb_ticket_open(key, ticket, password), rows[i].password != NULL);
        assert_string_equal(password, rows[i].password ? rows[i].password : "");
    }
}

static void test_spoiled_tickets(void **state)
{
    (void)state;
    uint8_t ticket[KB_TICKET_SIZE], bad[KB_TICKET_SIZE];
    char password[KB_PASSWORD_MAX + 1];
    seal_bytes(key, "sesame", 7, ticket);
    for (size_t i = 0; i < KB_TICKET_SIZE; i++) {
        memcpy(bad, ticket, sizeof bad);
        bad[i] = (uint8_t)(bad[i] ^ 1u << i % 8);
        assert_false(kb_ticket_open(key, bad, password));
        assert_string_equal(password, "");
    }
    memset(bad, 0, sizeof bad);
    assert_false(kb_ticket_open(key, bad, password));
    memset(bad, 0xff, sizeof bad); /* above the modulus */
    assert_false(kb_ticket_open(key, bad, password));
    assert_true(kb_ticket_open(key, ticket, password));
}

static void test_key_of_a_real_server(void **state)
{
    (void)state;
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    assert_true(kb_ticket_seal(&out, captured_server_main + 20, "sesame"));
    assert_true(kb_ticket_seal(&out, captured_server_display + 20, ""));
    assert_int_equal(out.len, 2 * (4 + KB_TICKET_SIZE));
}

static void test_keys_that_are_none(void **state)
{
    (void)state;
    uint8_t bad[KB_LINK_PUBKEY_SIZE];
    kb_auto(kb_buf_finish) struct kb_buf out = {0};

    memset(bad, 0, sizeof bad); /* what a server sends that wants SASL */
    assert_false(kb_ticket_seal(&out, bad, "x"));
    memset(bad, 0xff, sizeof bad);
    assert_false(kb_ticket_seal(&out, bad, "x"));
    /* Byte by byte: the frame of the key must be as it is, the modulus is any of 1024 bits. */
    for (size_t i = 0; i < KB_LINK_PUBKEY_SIZE; i++) {
        bool modulus = i >= 29 && i < 29 + 128;
        memcpy(bad, kb_ticket_key_public(key), sizeof bad);
        bad[i] ^= 0x40;
        out.len = 0;
        assert_int_equal(kb_ticket_seal(&out, bad, "x"), modulus);
        assert_int_equal(out.len, modulus ? 4 + KB_TICKET_SIZE : 0);
    }
    memcpy(bad, kb_ticket_key_public(key), sizeof bad);
    bad[29] &= 0x7f; /* 1023 bits */
    out.len = 0;
    assert_false(kb_ticket_seal(&out, bad, "x"));
    memcpy(bad, kb_ticket_key_public(key), sizeof bad);
    bad[29 + 127] &= 0xfe; /* even, so no product of two primes */
    assert_false(kb_ticket_seal(&out, bad, "x"));
    assert_int_equal(out.len, 0);

    /* Keys of other kinds and sizes. 162 bytes hold them whole. */
    EVP_PKEY *pkeys[] = {EVP_RSA_gen(512), EVP_RSA_gen(1016), EVP_RSA_gen(1020),
                         EVP_EC_gen("P-256"), EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")};
    for (size_t i = 0; i < sizeof pkeys / sizeof pkeys[0]; i++) {
        uint8_t *end = bad;
        assert_non_null(pkeys[i]);
        assert_true(i2d_PUBKEY(pkeys[i], NULL) <= (int)sizeof bad);
        memset(bad, 0, sizeof bad);
        i2d_PUBKEY(pkeys[i], &end);
        out.len = 0;
        assert_false(kb_ticket_seal(&out, bad, "x"));
        assert_int_equal(out.len, 0);
        EVP_PKEY_free(pkeys[i]);
    }
    /* A longer one is cut off by the field. */
    EVP_PKEY *big = EVP_RSA_gen(2048);
    uint8_t *der = NULL;
    assert_true(i2d_PUBKEY(big, &der) > (int)sizeof bad);
    assert_false(kb_ticket_seal(&out, der, "x"));
    OPENSSL_free(der);
    EVP_PKEY_free(big);
}

/* What fails here must not look like a failure of the TLS connection that comes next on the thread.
 */
static void test_openssl_errors_are_not_left_behind(void **state)
{
    (void)state;
    static const uint8_t zero[KB_LINK_PUBKEY_SIZE];
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    char password[KB_PASSWORD_MAX + 1];
    ERR_clear_error();
    assert_false(kb_ticket_seal(&out, zero, "x"));
    assert_false(kb_ticket_open(key, zero, password));
    assert_int_equal(ERR_peek_error(), 0);
    /* And what was there before stays. */
    ERR_raise(ERR_LIB_USER, 7);
    assert_false(kb_ticket_open(key, zero, password));
    assert_int_equal(ERR_GET_REASON(ERR_get_error()), 7);
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_key(void **state)
{
    (void)state;
    assert_memory_not_equal(kb_ticket_key_public(key), kb_ticket_key_public(other),
                            KB_LINK_PUBKEY_SIZE);
    struct kb_ticket_key *k = kb_ticket_key_create();
    assert_ptr_equal(kb_ticket_key_ref(k), k);
    kb_ticket_key_unref(k);
    assert_int_equal(kb_ticket_key_public(k)[0], 0x30); /* still there */
    kb_ticket_key_unref(k);
    kb_ticket_key_unref(NULL);
}

static void *open_many(void *arg)
{
    const uint8_t *ticket = arg;
    for (int i = 0; i < 200; i++) {
        char password[KB_PASSWORD_MAX + 1];
        struct kb_ticket_key *k = kb_ticket_key_ref(key);
        bool ok = kb_ticket_open(k, ticket, password) && strcmp(password, "sesame") == 0;
        kb_ticket_key_unref(k);
        if (!ok)
            return arg;
    }
    return NULL;
}

static void test_one_key_on_many_threads(void **state)
{
    (void)state;
    uint8_t ticket[KB_TICKET_SIZE];
    pthread_t threads[4];
    seal_bytes(key, "sesame", 7, ticket);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_many, ticket), 0);
    for (size_t i = 0; i < 4; i++) {
        void *wrong;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_sealed_bytes),
        cmocka_unit_test(test_seal_appends),
        cmocka_unit_test(test_what_clients_seal),
        cmocka_unit_test(test_spoiled_tickets),
        cmocka_unit_test(test_key_of_a_real_server),
        cmocka_unit_test(test_keys_that_are_none),
        cmocka_unit_test(test_openssl_errors_are_not_left_behind),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_one_key_on_many_threads),
    };
    return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
