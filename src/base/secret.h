/* Secrets: memory that is wiped, and the random texts that tokens are made of. A kb_secret has no
 * log field type on purpose. */
#ifndef KB_BASE_SECRET_H
#define KB_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kb_secret {
    char *text; /* ended by NUL; NULL is "none" */
};

/* Must be called once before any other function here; false when there is no randomness. */
bool kb_secret_start(void);

void kb_secret_set(struct kb_secret *s,
                   const char *text); /* wipes what it held; text may be NULL */
void kb_secret_finish(struct kb_secret *s);
const char *kb_secret_text(const struct kb_secret *s); /* "" for none */
void kb_wipe(void *p, size_t n);
void kb_random(void *p, size_t n);

/* A token: 32 random bytes as 43 characters of base64url without padding (RFC 4648). Only its
 * SHA-256 is ever stored. */
#define KB_TOKEN_SIZE 44
#define KB_HASH_SIZE 32

struct kb_hash {
    uint8_t bytes[KB_HASH_SIZE];
};

void kb_token_create(char token[KB_TOKEN_SIZE]);
struct kb_hash kb_hash_of(const void *data, size_t len);
bool kb_hash_equal(const struct kb_hash *a, const struct kb_hash *b); /* constant time */

/* An id that is no secret: 16 hex digits from 8 random bytes. */
#define KB_ID_SIZE 17
void kb_id_create(char id[KB_ID_SIZE]);

#endif
