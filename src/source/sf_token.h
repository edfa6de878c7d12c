/* The tokens that Shaken Fist puts into links to consoles: JWTs (RFC 7519) signed with Ed25519
 * (RFC 8037), by keys that the cluster publishes and changes. Pure: keys and time come in, claims
 * come out. Any thread. */
#ifndef KB_SOURCE_SF_TOKEN_H
#define KB_SOURCE_SF_TOKEN_H

#include <jansson.h>
#include <stdint.h>

/* Clocks may differ by this. */
#define KB_SF_SKEW_S 60

struct kb_sf_keys;
/* From the answer of GET /admin/vditokenpubkey: {"keys": [{"kid", "alg", "public_pem"}]}. Keys that
 * are no Ed25519 keys are left out. NULL if it is no such answer. */
struct kb_sf_keys *kb_sf_keys_parse(const json_t *answer);
void kb_sf_keys_destroy(struct kb_sf_keys *k);       /* takes NULL */
size_t kb_sf_keys_count(const struct kb_sf_keys *k); /* 0 for NULL */

struct kb_sf_claims {
    char instance[256];   /* sub */
    char name_space[256]; /* sf:namespace, or "" */
    char id[256];         /* jti */
    int64_t expires;      /* exp: seconds since 1970 */
};

enum kb_sf_result {
    KB_SF_OK,
    KB_SF_MALFORMED, /* no token of this kind at all */
    KB_SF_NO_KEY,    /* signed with a key that is not among these: they may have been changed */
    KB_SF_EXPIRED,
    KB_SF_BAD, /* signed by one of them or not, it is no good */
};

/* audience: what aud must be, byte for byte. keys may be NULL. why says what is wrong, when the
 * answer is not OK. */
enum kb_sf_result kb_sf_token_check(const struct kb_sf_keys *keys, const char *token,
                                    const char *audience, int64_t now, struct kb_sf_claims *claims,
                                    char why[256]);

#endif
