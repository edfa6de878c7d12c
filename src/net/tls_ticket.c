/* Session tickets: the key that seals now and the one before it, behind a lock that is a leaf. A
 * ticket of the older key is still good and is renewed; an older one means a full handshake. */
#include "net/tls_ticket.h"

#include "base/clock.h"
#include "base/secret.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>

struct ticket_key {
    unsigned char name[16];
    unsigned char aes[32], hmac[32];
    uint64_t made_us; /* 0: there is none */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ticket_key current, previous;

static bool rotate(uint64_t now_us)
{
    if (current.made_us && now_us < current.made_us + KB_TICKET_KEY_LIFE_US)
        return true;
    struct ticket_key fresh = {.made_us = now_us};
    if (RAND_bytes(fresh.name, sizeof fresh.name) != 1 ||
        RAND_priv_bytes(fresh.aes, sizeof fresh.aes) != 1 ||
        RAND_priv_bytes(fresh.hmac, sizeof fresh.hmac) != 1)
        return current.made_us != 0;
    /* A key that slept through its second life too opens nothing any more. */
    if (current.made_us && now_us >= current.made_us + 2 * KB_TICKET_KEY_LIFE_US)
        kb_wipe(&current, sizeof current);
    previous = current;
    current = fresh;
    kb_wipe(&fresh, sizeof fresh);
    return true;
}

bool kb_tls_ticket_rotate(uint64_t now_us)
{
    pthread_mutex_lock(&lock);
    bool ok = rotate(now_us);
    pthread_mutex_unlock(&lock);
    return ok;
}

static bool set_keys(const struct ticket_key *k, const unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seal)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)k->hmac,
                                          sizeof k->hmac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->aes, iv, seal) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1 good, 2 good but give a fresh one, 0 unknown, below 0
 * failed. */
static int use_key(SSL *ssl, unsigned char name[16], unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, int seal)
{
    (void)ssl;
    int result = 0;
    pthread_mutex_lock(&lock);
    if (!rotate(kb_clock_us())) {
        result = -1;
    } else if (seal) {
        memcpy(name, current.name, sizeof current.name);
        result = RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
                         set_keys(&current, iv, cipher, mac, 1)
                     ? 1
                     : -1;
    } else {
        const struct ticket_key *k =
            memcmp(name, current.name, sizeof current.name) == 0                         ? &current
            : previous.made_us && memcmp(name, previous.name, sizeof previous.name) == 0 ? &previous
                                                                                         : NULL;
        if (k)
            result = !set_keys(k, iv, cipher, mac, 0) ? -1 : k == &current ? 1 : 2;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

void kb_tls_ticket_use(SSL_CTX *ctx)
{
    /* The same context name for all, or a ticket from before a reload would not be taken. */
    static const unsigned char id[] = "kerbside";
    SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, use_key);
}

void kb_tls_ticket_forget(void)
{
    pthread_mutex_lock(&lock);
    kb_wipe(&current, sizeof current);
    kb_wipe(&previous, sizeof previous);
    pthread_mutex_unlock(&lock);
}
