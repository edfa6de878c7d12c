/* Password hashes (argon2id) and API keys, over libsodium. Any thread that may take some 100 ms and
 * 64 MiB; kb_secret_start must have been called. */
#include "identity/identity.h"

#include "base/mem.h"

#include <sodium.h>
#include <string.h>

_Static_assert(KB_PASSWORD_HASH_SIZE == crypto_pwhash_STRBYTES, "the header says libsodium's size");

/* INTERACTIVE (2 passes, 64 MiB): somebody waits for the answer, and several may log in at once. */
#define PASSES crypto_pwhash_OPSLIMIT_INTERACTIVE
#define MEMORY crypto_pwhash_MEMLIMIT_INTERACTIVE

bool kb_password_hash(const char *password, char hash[KB_PASSWORD_HASH_SIZE])
{
    return crypto_pwhash_str(hash, password, strlen(password), PASSES, MEMORY) == 0;
}

bool kb_password_verify(const char *password, const char *hash)
{
    char whole[KB_PASSWORD_HASH_SIZE]; /* libsodium declares that it may read that much */
    return kb_copy_str(whole, sizeof whole, hash) &&
           crypto_pwhash_str_verify(whole, password, strlen(password)) == 0;
}

void kb_password_verify_nobody(const char *password)
{
    /* With the limits above, so that it takes as long; of a random password that nobody kept. */
    static const char nobody[] = "$argon2id$v=19$m=65536,t=2,p=1$yyALJyfGvNWKjPHPysOFdA$"
                                 "YiU1KiFjM2N8eryeNuNomDfF9GeAely9E5TjIWkiexs";
    (void)!kb_password_verify(password, nobody);
}

void kb_apikey_create(char key[KB_APIKEY_SIZE])
{
    memcpy(key, "kbk_", 4);
    kb_token_create(key + 4);
}

bool kb_apikey_looks_like(const char *text)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return strncmp(text, "kbk_", 4) == 0 && strspn(text + 4, alphabet) == KB_TOKEN_SIZE - 1 &&
           text[4 + KB_TOKEN_SIZE - 1] == '\0';
}
