/* ID tokens that we sign ourselves, right ones and wrong ones; and the texts of a login's way there
 * and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "identity/jwt.h"
#include "identity/oidc.h"

#include <cjose/cjose.h>
#include <sodium.h>
#include <string.h>

#define NOW 1700000000

static const struct kb_jwt_expected expected = {
    .issuer = "https://login.example.org", .client_id = "kerbside", .nonce = "n1", .now = NOW};
static cjose_jwk_t *rsa, *ec;
static struct kb_jwt_keys *keys;

static char *public_of(cjose_jwk_t *key, const char *kid)
{
    cjose_err error;
    char *text = cjose_jwk_to_json(key, false, &error);
    assert_non_null(text);
    json_auto_t *jwk = json_loads(text, 0, NULL);
    cjose_get_dealloc()(text);
    json_object_set_new(jwk, "kid", json_string(kid));
    return json_dumps(jwk, 0);
}

static int setup(void **state)
{
    (void)state;
    static const uint8_t e[] = {1, 0, 1};
    cjose_err error;
    assert_true(kb_secret_start());
    rsa = cjose_jwk_create_RSA_random(2048, e, sizeof e, &error);
    ec = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, &error);
    assert_non_null(rsa);
    assert_non_null(ec);
    char *a = public_of(rsa, "r"), *b = public_of(ec, "e");
    kb_auto_free char *set = kb_printf("{\"keys\":[%s,%s,{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", a, b);
    free(a);
    free(b);
    keys = kb_jwt_keys_parse(kb_span_str(set));
    assert_non_null(keys);
    assert_int_equal(kb_jwt_keys_count(keys), 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kb_jwt_keys_destroy(keys);
    cjose_jwk_release(rsa);
    cjose_jwk_release(ec);
    return 0;
}

static char *sign(cjose_jwk_t *key, const char *alg, const char *kid, const char *claims)
{
    cjose_err error;
    cjose_header_t *header = cjose_header_new(&error);
    assert_true(cjose_header_set(header, CJOSE_HDR_ALG, alg, &error));
    if (kid)
        assert_true(cjose_header_set(header, CJOSE_HDR_KID, kid, &error));
    cjose_jws_t *jws = cjose_jws_sign(key, header, (const uint8_t *)claims, strlen(claims), &error);
    const char *text;
    assert_non_null(jws);
    assert_true(cjose_jws_export(jws, &text, &error));
    char *copy = kb_strdup(text);
    cjose_jws_release(jws);
    cjose_header_release(header);
    return copy;
}

static enum kb_jwt_result check(const char *token, char why[256])
{
    json_t *claims;
    enum kb_jwt_result result = kb_jwt_check(keys, token, &expected, &claims, why);
    assert_int_equal(claims != NULL, result == KB_JWT_OK);
    json_decref(claims);
    return result;
}

/* The claims of a good token, with one text in it replaced. */
static char *claims_with(const char *from, const char *to)
{
    static const char good[] =
        "{\"iss\":\"https://"
        "login.example.org\",\"aud\":\"kerbside\",\"sub\":\"7\",\"nonce\":\"n1\","
        "\"iat\":1700000000,\"exp\":1700000300}";
    const char *at = strstr(good, from);
    assert_non_null(at);
    return kb_printf("%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
}

static void test_good(void **state)
{
    (void)state;
    char why[256] = "";
    kb_auto_free char *claims = claims_with("", "");
    kb_auto_free char *rs = sign(rsa, "RS256", "r", claims), *ps = sign(rsa, "PS256", "r", claims);
    kb_auto_free char *es = sign(ec, "ES256", "e", claims), *bare = sign(ec, "ES256", NULL, claims);
    assert_int_equal(check(rs, why), KB_JWT_OK);
    assert_int_equal(check(ps, why), KB_JWT_OK);
    assert_int_equal(check(es, why), KB_JWT_OK);
    assert_int_equal(check(bare, why), KB_JWT_OK); /* there is one key of that kind */
}

static void test_keys(void **state)
{
    (void)state;
    char why[256] = "";
    static const uint8_t e[] = {1, 0, 1};
    cjose_err error;
    kb_auto_free char *claims = claims_with("", "");
    kb_auto_free char *unknown = sign(rsa, "RS256", "x", claims);
    kb_auto_free char *mixed = sign(ec, "ES256", "r", claims);
    kb_auto_free char *longer = sign(rsa, "RS512", "r", claims);
    cjose_jwk_t *other = cjose_jwk_create_RSA_random(2048, e, sizeof e, &error);
    kb_auto_free char *forged = sign(other, "RS256", "r", claims);
    cjose_jwk_release(other);
    assert_int_equal(check(unknown, why), KB_JWT_NO_KEY);
    assert_int_equal(check(mixed, why), KB_JWT_NO_KEY);
    assert_int_equal(check(longer, why), KB_JWT_BAD);
    assert_non_null(strstr(why, "algorithm"));
    assert_int_equal(check(forged, why), KB_JWT_BAD);
    assert_non_null(strstr(why, "signature"));
}

static void test_claims(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        bool good;
    } cases[] = {
        {"\"exp\":1700000300", "\"exp\":1699999941", true}, /* 59 s late */
        {"\"exp\":1700000300", "\"exp\":1699999940", false},
        {"\"exp\":1700000300", "\"exp\":1700000300.5", true},
        {"\"exp\":1700000300", "\"exp\":-1", false},
        {"\"exp\":1700000300", "\"exp\":1e400", false},
        {"\"iat\":1700000000", "\"iat\":1700000060", true},
        {"\"iat\":1700000000", "\"iat\":1700000061", false},
        {"\"iat\"", "\"nbf\":1700000061,\"iat\"", false},
        {"\"iat\"", "\"nbf\":1700000060,\"iat\"", true},
        {"login.example.org", "login.example.org/", false},
        {"\"aud\":\"kerbside\"", "\"aud\":[\"kerbside\",\"a\"]", false},
        {"\"aud\":\"kerbside\"", "\"aud\":[\"kerbside\",\"a\"],\"azp\":\"kerbside\"", true},
        {"\"aud\":\"kerbside\"", "\"aud\":[\"a\"],\"azp\":\"kerbside\"", false},
        {"\"aud\":\"kerbside\"", "\"aud\":{\"a\":\"kerbside\"}", false},
        {"n1", "n2", false},
        {"\"sub\":\"7\"", "\"sub\":\"\"", false},
        {"\"sub\":\"7\"", "\"sub\":\"7\",\"sub\":\"8\"", false}, /* twice */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[256] = "";
        kb_auto_free char *claims = claims_with(cases[i].from, cases[i].to);
        kb_auto_free char *token = sign(ec, "ES256", "e", claims);
        if ((check(token, why) == KB_JWT_OK) != cases[i].good)
            fail_msg("%s: %s", cases[i].to, why);
    }
}

static void test_no_sets(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "x", "[]", "{}", "{\"keys\":{}}", "{\"keys\":1}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(kb_jwt_keys_parse(kb_span_str(bad[i])));
    struct kb_jwt_keys *none = kb_jwt_keys_parse(kb_span_str("{\"keys\":[1,null,{},[],\"x\"]}"));
    assert_int_equal(kb_jwt_keys_count(none), 0);
    kb_jwt_keys_destroy(none);
    kb_jwt_keys_destroy(NULL);
}

static void test_flow(void **state)
{
    (void)state;
    struct kb_oidc_flow a, again, b;
    kb_oidc_flow_derive("secret a", &a);
    kb_oidc_flow_derive("secret a", &again);
    kb_oidc_flow_derive("secret b", &b);
    assert_memory_equal(&a, &again, sizeof a);
    assert_string_not_equal(a.state, a.nonce);
    assert_string_not_equal(a.state, a.verifier);
    assert_string_not_equal(a.state, b.state);
    /* RFC 7636, 4.2: the challenge is BASE64URL(SHA256(verifier)). */
    struct kb_hash h = kb_hash_of(a.verifier, strlen(a.verifier));
    char challenge[64];
    sodium_bin2base64(challenge, sizeof challenge, h.bytes, sizeof h.bytes,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    assert_string_equal(a.challenge, challenge);
    assert_int_equal(strlen(a.verifier), 43);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),    cmocka_unit_test(test_keys), cmocka_unit_test(test_claims),
        cmocka_unit_test(test_no_sets), cmocka_unit_test(test_flow),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
