/* Verifies Shaken Fist's console tokens. Nothing of a token is believed before its signature is
 * good; the algorithm is ours to say, not the token's. */
#include "source/sf_token.h"

#include "base/auto.h"
#include "base/mem.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#define TOKEN_MAX 8192
#define KEYS_MAX 16 /* a cluster publishes two */
#define SIGNATURE_SIZE 64

struct key {
    char kid[128];
    EVP_PKEY *public;
};

struct kb_sf_keys {
    struct key keys[KEYS_MAX];
    size_t count;
};

/* --- keys ------------------------------------------------------------------------------------- */

static EVP_PKEY *read_pem(const char *pem)
{
    BIO *bio = pem ? BIO_new_mem_buf(pem, -1) : NULL;
    EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (key && EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key;
}

struct kb_sf_keys *kb_sf_keys_parse(const json_t *answer)
{
    const json_t *list = json_object_get(answer, "keys");
    if (!json_is_array(list))
        return NULL;
    struct kb_sf_keys *k = kb_zalloc(sizeof *k);
    json_t *item;
    size_t i;
    json_array_foreach(list, i, item)
    {
        const char *kid = json_string_value(json_object_get(item, "kid"));
        const char *alg = json_string_value(json_object_get(item, "alg"));
        struct key *to = &k->keys[k->count];
        if (k->count == KEYS_MAX || !kid || !*kid || strlen(kid) >= sizeof to->kid || !alg ||
            strcmp(alg, "EdDSA") != 0)
            continue;
        to->public = read_pem(json_string_value(json_object_get(item, "public_pem")));
        if (!to->public)
            continue;
        kb_copy_str(to->kid, sizeof to->kid, kid);
        k->count++;
    }
    return k;
}

void kb_sf_keys_destroy(struct kb_sf_keys *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->count; i++)
        EVP_PKEY_free(k->keys[i].public);
    free(k);
}

size_t kb_sf_keys_count(const struct kb_sf_keys *k)
{
    return k ? k->count : 0;
}

static EVP_PKEY *find_key(const struct kb_sf_keys *k, const char *kid)
{
    for (size_t i = 0; i < kb_sf_keys_count(k); i++)
        if (strcmp(k->keys[i].kid, kid) == 0)
            return k->keys[i].public;
    return NULL;
}

/* --- the token's parts ------------------------------------------------------------------------ */

/* header "." payload "." signature, as they stand. */
struct parts {
    const char *text[3];
    size_t len[3];
};

static bool split(const char *token, struct parts *p)
{
    if (strlen(token) > TOKEN_MAX)
        return false;
    for (int i = 0; i < 3; i++) {
        const char *end = i < 2 ? strchr(token, '.') : token + strlen(token);
        if (!end || end == token)
            return false;
        p->text[i] = token;
        p->len[i] = (size_t)(end - token);
        token = end + 1;
    }
    return memchr(p->text[2], '.', p->len[2]) == NULL;
}

/* base64url without padding; to be freed. NULL if it is none. Ended by a NUL. */
static unsigned char *decode(const char *text, size_t len, size_t *size)
{
    unsigned char *bytes = kb_zalloc(len + 1);
    if (sodium_base642bin(bytes, len, text, len, NULL, size, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0) {
        bytes[*size] = '\0';
        return bytes;
    }
    free(bytes);
    return NULL;
}

static json_t *decode_object(const char *text, size_t len)
{
    size_t size;
    kb_auto_free unsigned char *bytes = decode(text, len, &size);
    json_t *object =
        bytes ? json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (object && !json_is_object(object)) {
        json_decref(object);
        object = NULL;
    }
    return object;
}

static bool is_signed(const struct parts *p, EVP_PKEY *key)
{
    size_t size;
    kb_auto_free unsigned char *signature = decode(p->text[2], p->len[2], &size);
    if (!signature || size != SIGNATURE_SIZE)
        return false;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = p->len[0] + 1 + p->len[1];
    bool good = ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestVerify(ctx, signature, size, (const unsigned char *)p->text[0], len) == 1;
    EVP_MD_CTX_free(ctx);
    return good;
}

/* --- what it says ----------------------------------------------------------------------------- */

static bool take_text(const json_t *claims, const char *name, char *to, size_t size)
{
    const char *text = json_string_value(json_object_get(claims, name));
    return text && *text && kb_copy_str(to, size, text);
}

/* Of a good signature: NULL, or what is wrong. */
static const char *read_claims(const json_t *o, const char *audience, int64_t now,
                               struct kb_sf_claims *c)
{
    const char *aud = json_string_value(json_object_get(o, "aud"));
    const json_t *exp = json_object_get(o, "exp"), *iat = json_object_get(o, "iat");
    if (!json_is_integer(exp))
        return "it has no expiry";
    c->expires = json_integer_value(exp);
    if (c->expires <= now - KB_SF_SKEW_S)
        return "it has expired";
    if (!json_is_integer(iat) || json_integer_value(iat) > now + KB_SF_SKEW_S)
        return "it was made in the future, or does not say when";
    if (!aud || strcmp(aud, audience) != 0)
        return "it is for another gateway (its aud is not public.url)";
    if (!take_text(o, "sub", c->instance, sizeof c->instance))
        return "it names no instance";
    if (!take_text(o, "jti", c->id, sizeof c->id))
        return "it has no jti";
    if (!take_text(o, "sf:namespace", c->name_space, sizeof c->name_space))
        *c->name_space = '\0';
    return NULL;
}

enum kb_sf_result kb_sf_token_check(const struct kb_sf_keys *keys, const char *token,
                                    const char *audience, int64_t now, struct kb_sf_claims *claims,
                                    char why[256])
{
    struct parts p;
    *claims = (struct kb_sf_claims){0};
    json_t *head = split(token, &p) ? decode_object(p.text[0], p.len[0]) : NULL;
    const char *alg = json_string_value(json_object_get(head, "alg"));
    const char *kid = json_string_value(json_object_get(head, "kid"));
    enum kb_sf_result result = KB_SF_BAD;
    const char *wrong = NULL;
    EVP_PKEY *key = kid ? find_key(keys, kid) : NULL;
    if (!head || !kid) {
        result = KB_SF_MALFORMED;
        wrong = "it is no token of Shaken Fist";
    } else if (!alg || strcmp(alg, "EdDSA") != 0) {
        wrong = "its algorithm is not EdDSA";
    } else if (!key) {
        result = KB_SF_NO_KEY;
        wrong = "it is signed with a key that the cluster does not publish";
    } else if (!is_signed(&p, key)) {
        wrong = "its signature is wrong";
    } else {
        json_t *o = decode_object(p.text[1], p.len[1]);
        wrong = o ? read_claims(o, audience, now, claims) : "its claims are no JSON object";
        json_decref(o);
        result = !wrong                                                     ? KB_SF_OK
                 : claims->expires && claims->expires <= now - KB_SF_SKEW_S ? KB_SF_EXPIRED
                                                                            : KB_SF_BAD;
    }
    json_decref(head);
    kb_copy_str(why, 256, wrong ? wrong : "");
    return result;
}
