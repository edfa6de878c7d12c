/* Wiped memory, tokens, ids and hashes, over libsodium. Any thread. */
#include "base/secret.h"

#include "base/mem.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

bool kb_secret_start(void)
{
    return sodium_init() >= 0;
}

void kb_secret_finish(struct kb_secret *s)
{
    if (s->text)
        sodium_memzero(s->text, strlen(s->text));
    free(s->text);
    s->text = NULL;
}

void kb_secret_set(struct kb_secret *s, const char *text)
{
    char *copy = kb_strdup(text);
    kb_secret_finish(s);
    s->text = copy;
}

const char *kb_secret_text(const struct kb_secret *s)
{
    return s->text ? s->text : "";
}

void kb_wipe(void *p, size_t n)
{
    sodium_memzero(p, n);
}

void kb_random(void *p, size_t n)
{
    randombytes_buf(p, n);
}

void kb_token_create(char token[KB_TOKEN_SIZE])
{
    uint8_t raw[32];
    randombytes_buf(raw, sizeof raw);
    sodium_bin2base64(token, KB_TOKEN_SIZE, raw, sizeof raw,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(raw, sizeof raw);
}

struct kb_hash kb_hash_of(const void *data, size_t len)
{
    struct kb_hash h;
    crypto_hash_sha256(h.bytes, data, len);
    return h;
}

bool kb_hash_equal(const struct kb_hash *a, const struct kb_hash *b)
{
    return sodium_memcmp(a->bytes, b->bytes, KB_HASH_SIZE) == 0;
}

void kb_id_create(char id[KB_ID_SIZE])
{
    uint8_t raw[8];
    randombytes_buf(raw, sizeof raw);
    sodium_bin2hex(id, KB_ID_SIZE, raw, sizeof raw);
}
