/* ID tokens. What the header says is judged here before anything of it is believed; the signature
 * is cjose's work. Pure; any thread. */
#include "identity/jwt.h"

#include "base/mem.h"
#include "base/secret.h"

#include <cjose/cjose.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_MAX 65536
#define KEYS_MAX 64
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 16384

struct key {
    char *kid, *alg; /* NULL: not said */
    bool rsa;        /* else P-256 */
    cjose_jwk_t *jwk;
};

struct kb_jwt_keys {
    struct key list[KEYS_MAX];
    size_t count;
};

static const struct {
    const char *name;
    bool rsa;
} algorithms[] = {{"RS256", true}, {"PS256", true}, {"ES256", false}};

/* --- keys --------------------------------------------------------------------------------------
 */

static const char *text_of(json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static bool may_verify(json_t *jwk)
{
    json_t *use = json_object_get(jwk, "use"), *ops = json_object_get(jwk, "key_ops"), *op;
    if (use && (!json_is_string(use) || strcmp(json_string_value(use), "sig") != 0))
        return false;
    if (!ops)
        return true;
    size_t i;
    json_array_foreach(ops, i, op) if (json_is_string(op) &&
                                       strcmp(json_string_value(op), "verify") == 0) return true;
    return false;
}

/* Bytes in strict base64url, min..max of them. cjose aborts on texts that are none, so it is given
 * no text that has not been here. */
static bool is_base64url(const char *text, size_t len, size_t min, size_t max)
{
    size_t n = 0;
    if (!text || len > TOKEN_MAX)
        return false;
    kb_auto_free unsigned char *raw = kb_zalloc(len + 1);
    return sodium_base642bin(raw, len, text, len, NULL, &n, NULL,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
           n >= min && n <= max;
}

static bool is_number(json_t *jwk, const char *name, size_t min, size_t max)
{
    const char *text = text_of(jwk, name);
    return text && is_base64url(text, strlen(text), min, max);
}

/* Only the public numbers go on, so that nothing else of the set means anything. */
static cjose_jwk_t *import(json_t *jwk, bool *rsa)
{
    const char *kty = text_of(jwk, "kty");
    json_t *plain = NULL;
    if (kty && strcmp(kty, "RSA") == 0 && is_number(jwk, "n", RSA_BITS_MIN / 8, RSA_BITS_MAX / 8) &&
        is_number(jwk, "e", 1, 8))
        plain = json_pack("{s:s, s:s, s:s}", "kty", kty, "n", text_of(jwk, "n"), "e",
                          text_of(jwk, "e"));
    else if (kty && strcmp(kty, "EC") == 0 && text_of(jwk, "crv") &&
             strcmp(text_of(jwk, "crv"), "P-256") == 0 && is_number(jwk, "x", 32, 32) &&
             is_number(jwk, "y", 32, 32))
        plain = json_pack("{s:s, s:s, s:s, s:s}", "kty", kty, "crv", "P-256", "x",
                          text_of(jwk, "x"), "y", text_of(jwk, "y"));
    if (!plain)
        return NULL;
    cjose_err error;
    cjose_jwk_t *key = cjose_jwk_import_json((cjose_header_t *)plain, &error);
    json_decref(plain);
    if (!key)
        return NULL;
    *rsa = cjose_jwk_get_kty(key, &error) == CJOSE_JWK_KTY_RSA;
    if (*rsa && cjose_jwk_get_keysize(key, &error) < RSA_BITS_MIN) {
        cjose_jwk_release(key);
        return NULL;
    }
    return key;
}

struct kb_jwt_keys *kb_jwt_keys_parse(struct kb_span text)
{
    json_auto_t *set = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    json_t *list = json_object_get(set, "keys"), *jwk;
    if (!json_is_array(list))
        return NULL;
    struct kb_jwt_keys *k = kb_zalloc(sizeof *k);
    size_t i;
    json_array_foreach(list, i, jwk)
    {
        bool rsa = false;
        cjose_jwk_t *key = k->count < KEYS_MAX && may_verify(jwk) ? import(jwk, &rsa) : NULL;
        if (key)
            k->list[k->count++] = (struct key){kb_strdup(text_of(jwk, "kid")),
                                               kb_strdup(text_of(jwk, "alg")), rsa, key};
    }
    return k;
}

void kb_jwt_keys_destroy(struct kb_jwt_keys *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->count; i++) {
        free(k->list[i].kid);
        free(k->list[i].alg);
        cjose_jwk_release(k->list[i].jwk);
    }
    free(k);
}

size_t kb_jwt_keys_count(const struct kb_jwt_keys *k)
{
    return k->count;
}

static bool fits(const struct key *k, const char *alg, bool rsa, const char *kid)
{
    return k->rsa == rsa && (!k->alg || strcmp(k->alg, alg) == 0) &&
           (!kid || (k->kid && strcmp(k->kid, kid) == 0));
}

/* --- header ------------------------------------------------------------------------------------
 */

static enum kb_jwt_result bad(char why[256], const char *what)
{
    snprintf(why, 256, "%s", what);
    return KB_JWT_BAD;
}

/* The header as JSON; NULL for what is not three parts of base64url, none of them empty. */
static json_t *read_header(const char *token)
{
    const char *at = token;
    if (strlen(token) > TOKEN_MAX)
        return NULL;
    for (int part = 0; part < 3; part++) {
        size_t len = strcspn(at, ".");
        if (!is_base64url(at, len, 1, TOKEN_MAX) || at[len] != (part < 2 ? '.' : '\0'))
            return NULL;
        at += len + 1;
    }
    size_t len = strcspn(token, "."), n = 0;
    kb_auto_free char *raw = kb_zalloc(len + 1);
    if (sodium_base642bin((unsigned char *)raw, len, token, len, NULL, &n, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return NULL;
    return json_loadb(raw, n, JSON_REJECT_DUPLICATES, NULL);
}

static enum kb_jwt_result find_key(const struct kb_jwt_keys *keys, json_t *header,
                                   const struct key **key, char why[256])
{
    const char *alg = text_of(header, "alg"), *kid = text_of(header, "kid");
    size_t a = 0, count = sizeof algorithms / sizeof *algorithms, found = 0;
    while (alg && a < count && strcmp(algorithms[a].name, alg) != 0)
        a++;
    if (!alg || a == count)
        return bad(why, "the ID token's algorithm is not RS256, PS256 or ES256");
    if (json_object_get(header, "crit") || json_object_get(header, "b64"))
        return bad(why, "the ID token has a critical header that is not known");
    if (json_object_get(header, "kid") && !kid)
        return bad(why, "the ID token's kid is no text");
    for (size_t i = keys->count; i-- > 0;) {
        if (fits(&keys->list[i], alg, algorithms[a].rsa, kid)) {
            *key = &keys->list[i];
            found++;
        }
    }
    if (!found) {
        snprintf(why, 256, "the ID token is signed with a key that the provider does not publish");
        return KB_JWT_NO_KEY;
    }
    if (found > 1)
        return bad(why, "the ID token does not say with which of several keys it is signed");
    return KB_JWT_OK;
}

/* --- claims ------------------------------------------------------------------------------------
 */

static bool read_time(json_t *claims, const char *name, int64_t *seconds)
{
    json_t *v = json_object_get(claims, name);
    double d = json_number_value(v);
    if (!json_is_number(v) || !(d >= 0 && d < 1e12))
        return false;
    *seconds = (int64_t)d;
    return true;
}

/* aud is a text or a list; with azp, that must be us too. */
static bool is_for(json_t *claims, const char *client_id)
{
    json_t *aud = json_object_get(claims, "aud"), *azp = json_object_get(claims, "azp"), *one;
    bool named = json_is_string(aud) && strcmp(json_string_value(aud), client_id) == 0;
    size_t i;
    json_array_foreach(aud, i, one) named =
        named || (json_is_string(one) && strcmp(json_string_value(one), client_id) == 0);
    if (azp)
        return named && json_is_string(azp) && strcmp(json_string_value(azp), client_id) == 0;
    return named && (json_is_string(aud) || json_array_size(aud) == 1);
}

static bool equal_secret(const char *a, const char *b)
{
    struct kb_hash x = kb_hash_of(a, strlen(a)), y = kb_hash_of(b, strlen(b));
    return kb_hash_equal(&x, &y);
}

static enum kb_jwt_result check_claims(json_t *claims, const struct kb_jwt_expected *e,
                                       char why[256])
{
    const char *iss = text_of(claims, "iss"), *nonce = text_of(claims, "nonce");
    const char *sub = text_of(claims, "sub");
    int64_t at;
    if (!iss || strcmp(iss, e->issuer) != 0)
        return bad(why, "the ID token is of another issuer");
    if (!is_for(claims, e->client_id))
        return bad(why, "the ID token is for another client");
    if (!read_time(claims, "exp", &at))
        return bad(why, "the ID token has no expiry");
    if (at + KB_JWT_SKEW_S <= e->now)
        return bad(why, "the ID token has expired");
    if (!read_time(claims, "iat", &at))
        return bad(why, "the ID token does not say when it was made");
    if (at - KB_JWT_SKEW_S > e->now)
        return bad(why, "the ID token was made in the future; are both clocks right?");
    if (json_object_get(claims, "nbf") &&
        (!read_time(claims, "nbf", &at) || at - KB_JWT_SKEW_S > e->now))
        return bad(why, "the ID token is not valid yet");
    if (!nonce || !equal_secret(nonce, e->nonce))
        return bad(why, "the ID token belongs to another login (nonce)");
    if (!sub || !*sub || strlen(sub) > 255)
        return bad(why, "the ID token names no subject");
    return KB_JWT_OK;
}

enum kb_jwt_result kb_jwt_check(const struct kb_jwt_keys *keys, const char *token,
                                const struct kb_jwt_expected *expected, json_t **claims,
                                char why[256])
{
    *claims = NULL;
    json_auto_t *header = read_header(token);
    const struct key *key = NULL;
    if (!json_is_object(header))
        return bad(why, "the ID token is no signed JWT");
    enum kb_jwt_result result = find_key(keys, header, &key, why);
    if (result != KB_JWT_OK)
        return result;
    cjose_err error = {0};
    uint8_t *text = NULL;
    size_t len = 0;
    cjose_jws_t *jws = cjose_jws_import(token, strlen(token), &error);
    bool good = jws && cjose_jws_verify(jws, key->jwk, &error) &&
                cjose_jws_get_plaintext(jws, &text, &len, &error);
    if (good)
        *claims = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
    if (jws)
        cjose_jws_release(jws);
    if (!good)
        return bad(why, "the ID token's signature is wrong");
    result = json_is_object(*claims) ? check_claims(*claims, expected, why)
                                     : bad(why, "the ID token holds no claims");
    if (result != KB_JWT_OK) {
        json_decref(*claims);
        *claims = NULL;
    }
    return result;
}
