/* ID tokens and key sets. Input: a JWK set, a NUL, a token. Nobody signs in here, so no input but a
 * seed may be a good token; claims come out with a good one alone. */
#include "fuzz.h"

#include "identity/jwt.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, '\0', size) : NULL;
    struct kb_span set = kb_span(data, nul ? (size_t)(nul - data) : size);
    struct kb_jwt_keys *keys = kb_jwt_keys_parse(set);
    if (!keys)
        return 0;
    size_t len = nul ? size - set.len - 1 : 0;
    char *token = calloc(len + 1, 1), why[256] = "";
    MUST(token);
    if (len)
        memcpy(token, nul + 1, len);
    const struct kb_jwt_expected expected = {
        .issuer = "https://i", .client_id = "c", .nonce = "n", .now = 1700000000};
    json_t *claims;
    enum kb_jwt_result result = kb_jwt_check(keys, token, &expected, &claims, why);
    MUST((result == KB_JWT_OK) == (claims != NULL));
    MUST(result == KB_JWT_OK || why[0]);
    json_decref(claims);
    free(token);
    kb_jwt_keys_destroy(keys);
    return 0;
}
