/* Shaken Fist's console tokens, signed here with keys of our own: what is taken, what is not, and
 * why; a good one cut at every byte and changed at every byte. */
#include "source/sf_token.h"

#include "base/auto.h"
#include "base/mem.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1800000000
#define GATE "https://gate.example:8443"

struct fixture {
    EVP_PKEY *key;
    json_t *answer; /* of /admin/vditokenpubkey */
    struct kb_sf_keys *keys;
};

static char *pem_of(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    long len = BIO_get_mem_data(bio, &data);
    char *pem = kb_printf("%.*s", (int)len, data);
    BIO_free(bio);
    return pem;
}

static json_t *answer_of(EVP_PKEY *key, const char *kid, const char *alg)
{
    kb_auto_free char *pem = pem_of(key);
    return json_pack("{s:s, s:[{s:s, s:s, s:s, s:f}]}", "active_kid", kid, "keys", "kid", kid,
                     "alg", alg, "public_pem", pem, "created", 1.5);
}

static int setup(void **state)
{
    struct fixture *f = kb_zalloc(sizeof *f);
    assert_true(sodium_init() >= 0);
    f->key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    f->answer = answer_of(f->key, "3f2a9c1e", "EdDSA");
    f->keys = kb_sf_keys_parse(f->answer);
    assert_int_equal(kb_sf_keys_count(f->keys), 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    kb_sf_keys_destroy(f->keys);
    json_decref(f->answer);
    EVP_PKEY_free(f->key);
    free(f);
    return 0;
}

static char *encode(const void *data, size_t len)
{
    size_t size = sodium_base64_encoded_len(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *text = kb_zalloc(size);
    sodium_bin2base64(text, size, data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return text;
}

/* head and claims as JSON texts; signed, whatever they are. */
static char *token_of(struct fixture *f, const char *head, const char *claims)
{
    kb_auto_free char *a = encode(head, strlen(head)), *b = encode(claims, strlen(claims));
    kb_auto_free char *text = kb_printf("%s.%s", a, b);
    unsigned char signature[64];
    size_t size = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, NULL, NULL, f->key), 1);
    assert_int_equal(
        EVP_DigestSign(ctx, signature, &size, (const unsigned char *)text, strlen(text)), 1);
    EVP_MD_CTX_free(ctx);
    kb_auto_free char *c = encode(signature, size);
    return kb_printf("%s.%s", text, c);
}

static const char HEAD[] = "{\"alg\":\"EdDSA\",\"kid\":\"3f2a9c1e\"}";
static const char CLAIMS[] = "{\"iss\":\"zone\",\"aud\":\"" GATE "\",\"sub\":\"u1\",\"jti\":\"j1\","
                             "\"iat\":1800000000,\"exp\":1800000300,\"sf:namespace\":\"team\"}";

static enum kb_sf_result check(struct fixture *f, const char *token, struct kb_sf_claims *c,
                               char why[256])
{
    enum kb_sf_result result = kb_sf_token_check(f->keys, token, GATE, NOW, c, why);
    assert_true((result == KB_SF_OK) == (why[0] == '\0'));
    return result;
}

static void test_good(void **state)
{
    struct fixture *f = *state;
    struct kb_sf_claims c;
    char why[256];
    kb_auto_free char *token = token_of(f, HEAD, CLAIMS);
    assert_int_equal(check(f, token, &c, why), KB_SF_OK);
    assert_string_equal(c.instance, "u1");
    assert_string_equal(c.id, "j1");
    assert_string_equal(c.name_space, "team");
    assert_int_equal(c.expires, 1800000300);
    assert_int_equal(kb_sf_token_check(NULL, token, GATE, NOW, &c, why), KB_SF_NO_KEY);
    /* 60 s of another clock */
    assert_int_equal(kb_sf_token_check(f->keys, token, GATE, NOW + 359, &c, why), KB_SF_OK);
    assert_int_equal(kb_sf_token_check(f->keys, token, GATE, NOW + 360, &c, why), KB_SF_EXPIRED);
    assert_int_equal(kb_sf_token_check(f->keys, token, GATE, NOW - 60, &c, why), KB_SF_OK);
    assert_int_equal(kb_sf_token_check(f->keys, token, GATE, NOW - 61, &c, why), KB_SF_BAD);
    assert_int_equal(kb_sf_token_check(f->keys, token, GATE "/", NOW, &c, why), KB_SF_BAD);
}

static void test_bad(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *head, *claims;
        enum kb_sf_result result;
    } rows[] = {
        {"{\"alg\":\"none\",\"kid\":\"3f2a9c1e\"}", CLAIMS, KB_SF_BAD},
        {"{\"kid\":\"3f2a9c1e\"}", CLAIMS, KB_SF_BAD},
        {"{\"alg\":\"EdDSA\"}", CLAIMS, KB_SF_MALFORMED},
        {"{\"alg\":\"EdDSA\",\"kid\":\"other\"}", CLAIMS, KB_SF_NO_KEY},
        {"{\"alg\":\"none\",\"alg\":\"EdDSA\",\"kid\":\"3f2a9c1e\"}", CLAIMS, KB_SF_MALFORMED},
        {"[]", CLAIMS, KB_SF_MALFORMED},
        {"x", CLAIMS, KB_SF_MALFORMED},
        {HEAD, "[]", KB_SF_BAD},
        {HEAD, "{}", KB_SF_BAD},
        {HEAD, "x", KB_SF_BAD},
        {HEAD, "{\"aud\":\"" GATE "\",\"sub\":\"u\",\"jti\":\"j\",\"iat\":1,\"exp\":1.8e9}",
         KB_SF_BAD},
        {HEAD, "{\"aud\":\"" GATE "\",\"sub\":\"\",\"jti\":\"j\",\"iat\":1,\"exp\":1800000001}",
         KB_SF_BAD},
        {HEAD, "{\"aud\":\"" GATE "\",\"sub\":\"u\",\"jti\":\"\",\"iat\":1,\"exp\":1800000001}",
         KB_SF_BAD},
        {HEAD, "{\"aud\":null,\"sub\":\"u\",\"jti\":\"j\",\"iat\":1,\"exp\":1800000001}",
         KB_SF_BAD},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kb_sf_claims c;
        char why[256];
        kb_auto_free char *token = token_of(f, rows[i].head, rows[i].claims);
        if (check(f, token, &c, why) != rows[i].result)
            fail_msg("row %zu: %s", i, why);
    }
}

static void test_cut_and_changed(void **state)
{
    struct fixture *f = *state;
    struct kb_sf_claims c;
    char why[256];
    kb_auto_free char *token = token_of(f, HEAD, CLAIMS);
    for (size_t i = 0; i < strlen(token); i++) {
        kb_auto_free char *cut = kb_printf("%.*s", (int)i, token);
        assert_int_not_equal(check(f, cut, &c, why), KB_SF_OK);
        kb_auto_free char *other = kb_strdup(token);
        for (const char *to = "A_.=\n"; *to; to++) {
            other[i] = *to;
            if (*to != token[i])
                assert_int_not_equal(check(f, other, &c, why), KB_SF_OK);
        }
    }
    kb_auto_free char *more = kb_printf("%s.", token), *padded = kb_printf("%s=", token);
    assert_int_equal(check(f, more, &c, why), KB_SF_MALFORMED);
    assert_int_not_equal(check(f, padded, &c, why), KB_SF_OK);
    char *long_one = kb_zalloc(9001);
    memset(long_one, 'a', 9000);
    assert_int_equal(check(f, long_one, &c, why), KB_SF_MALFORMED);
    free(long_one);
}

static void test_keys(void **state)
{
    struct fixture *f = *state;
    static const char *const none[] = {"{}", "[]", "null", "{\"keys\":{}}", "{\"keys\":null}"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        json_t *answer = json_loads(none[i], JSON_DECODE_ANY, NULL);
        assert_null(kb_sf_keys_parse(answer));
        json_decref(answer);
    }
    static const char *const useless[] = {
        "{\"keys\":[]}", "{\"keys\":[null, 1, {}]}",
        "{\"keys\":[{\"kid\":\"a\",\"alg\":\"EdDSA\",\"public_pem\":\"x\"}]}",
        "{\"keys\":[{\"kid\":\"\",\"alg\":\"EdDSA\",\"public_pem\":null}]}"};
    for (size_t i = 0; i < sizeof useless / sizeof *useless; i++) {
        json_t *answer = json_loads(useless[i], 0, NULL);
        struct kb_sf_keys *keys = kb_sf_keys_parse(answer);
        assert_non_null(keys);
        assert_int_equal(kb_sf_keys_count(keys), 0);
        kb_sf_keys_destroy(keys);
        json_decref(answer);
    }
    /* another algorithm's key, and another's name on ours */
    EVP_PKEY *ec = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    json_t *answers[] = {answer_of(ec, "3f2a9c1e", "EdDSA"),
                         answer_of(f->key, "3f2a9c1e", "ES256")};
    for (size_t i = 0; i < 2; i++) {
        struct kb_sf_keys *keys = kb_sf_keys_parse(answers[i]);
        assert_int_equal(kb_sf_keys_count(keys), 0);
        kb_sf_keys_destroy(keys);
        json_decref(answers[i]);
    }
    EVP_PKEY_free(ec);
    /* no more than there is room for */
    json_t *list = json_object_get(f->answer, "keys"), *many = json_array();
    for (int i = 0; i < 40; i++) {
        json_t *one = json_copy(json_array_get(list, 0));
        kb_auto_free char *kid = kb_printf("k%d", i);
        json_object_set_new(one, "kid", json_string(kid));
        json_array_append_new(many, one);
    }
    json_t *answer = json_pack("{s:o}", "keys", many);
    struct kb_sf_keys *keys = kb_sf_keys_parse(answer);
    assert_in_range(kb_sf_keys_count(keys), 2, 39);
    kb_sf_keys_destroy(keys);
    json_decref(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_and_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
