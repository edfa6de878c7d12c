/* The check of an OpenID provider's ID token: signature, and claims of OpenID Connect
 * Core 1.0, 3.1.3.7. Pure: keys and time come in, claims come out. Any thread. */
#ifndef KB_IDENTITY_JWT_H
#define KB_IDENTITY_JWT_H

#include "base/auto.h"
#include "base/span.h"

#include <jansson.h>

/* Clocks may differ by this. */
#define KB_JWT_SKEW_S 60

/* The provider's public keys, those that may verify: RSA of 2048 bits or more, and P-256. */
struct kb_jwt_keys;
/* text is a JWK set (RFC 7517). NULL if it is none; keys in it that are of no use are left out. */
struct kb_jwt_keys *kb_jwt_keys_parse(struct kb_span text);
void kb_jwt_keys_destroy(struct kb_jwt_keys *k); /* takes NULL */
size_t kb_jwt_keys_count(const struct kb_jwt_keys *k);

struct kb_jwt_expected {
    const char *issuer, *client_id, *nonce;
    int64_t now; /* seconds since 1970 */
};

enum kb_jwt_result {
    KB_JWT_OK,
    KB_JWT_NO_KEY, /* signed with a key that is not among these: they may have been changed */
    KB_JWT_BAD,    /* why says what is wrong */
};

/* Algorithms are RS256, PS256 and ES256, whatever the token asks for. On OK *claims is the payload,
 * to be released. */
enum kb_jwt_result kb_jwt_check(const struct kb_jwt_keys *keys, const char *token,
                                const struct kb_jwt_expected *expected, json_t **claims,
                                char why[256]);

#endif
