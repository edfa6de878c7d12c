/* Shaken Fist's keys and console tokens. Input: the answer with the keys, a NUL, a token. Nobody
 * signs in here, so no input but a seed may be a good token. */
#include "fuzz.h"

#include "source/sf_token.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, '\0', size) : NULL;
    size_t first = nul ? (size_t)(nul - data) : size, len = nul ? size - first - 1 : 0;
    json_t *answer = json_loadb((const char *)data, first, 0, NULL);
    struct kb_sf_keys *keys = kb_sf_keys_parse(answer);
    char *token = calloc(len + 1, 1), why[256] = "";
    MUST(token);
    if (len)
        memcpy(token, nul + 1, len);
    struct kb_sf_claims claims;
    enum kb_sf_result result =
        kb_sf_token_check(keys, token, "https://gate", 1800000000, &claims, why);
    MUST((result == KB_SF_OK) == (why[0] == '\0'));
    MUST(result != KB_SF_OK || (claims.instance[0] && claims.id[0] && kb_sf_keys_count(keys)));
    free(token);
    kb_sf_keys_destroy(keys);
    json_decref(answer);
    return 0;
}
