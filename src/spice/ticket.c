/* Tickets: RSA keys of 1024 bits, opening what clients sealed and sealing for hypervisors. The size
 * and OAEP with SHA-1 are the protocol's and not ours to choose; on the wire all of it is inside
 * TLS. Not here: who makes keys ahead and how long one is used. Keys do not change once made, so
 * any thread may use one while others do; OpenSSL locks its blinding itself. */
#include "spice/ticket.h"

#include "base/mem.h"
#include "base/secret.h"

#include <spice/protocol.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <assert.h>
#include <stdatomic.h>

struct kb_ticket_key {
    atomic_uint refs;
    EVP_PKEY *pkey;
    uint8_t public[KB_LINK_PUBKEY_SIZE];
};

/* A key on the wire: the one SubjectPublicKeyInfo of 162 bytes that an RSA key of 1024 bits with
 * the exponent 65537 has, which is what spice-server has always made. Only the modulus varies, so
 * it is taken out by its place: decoding it as any DER costs 0.1 ms a channel on the loop, and
 * would put a parser before bytes of others. */
static const uint8_t key_head[] = {
    0x30, 0x81, 0x9f,                                                 /* SEQUENCE: */
    0x30, 0x0d,                                                       /*   SEQUENCE: */
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, /*     rsaEncryption */
    0x05, 0x00,                                                       /*     NULL */
    0x03, 0x81, 0x8d, 0x00,                                           /*   BIT STRING: */
    0x30, 0x81, 0x89,                                                 /*     SEQUENCE: */
    0x02, 0x81, 0x81, 0x00, /*       INTEGER n, positive */
};
static const uint8_t key_tail[] = {0x02, 0x03, 0x01, 0x00, 0x01}; /*       INTEGER e */
enum { MODULUS_SIZE = SPICE_TICKET_KEY_PAIR_LENGTH / 8, EXPONENT = 65537 };
static_assert(sizeof key_head + MODULUS_SIZE + sizeof key_tail == KB_LINK_PUBKEY_SIZE, "the frame");

static void free_pkey(EVP_PKEY **p)
{
    EVP_PKEY_free(*p);
}

static void free_bn(BIGNUM **n)
{
    BN_free(*n);
}

static void free_bld(OSSL_PARAM_BLD **b)
{
    OSSL_PARAM_BLD_free(*b);
}

static void free_params(OSSL_PARAM **p)
{
    OSSL_PARAM_free(*p);
}

static void free_ctx(EVP_PKEY_CTX **c)
{
    EVP_PKEY_CTX_free(*c);
}

/* A failed call leaves its errors in this thread's queue, where the next SSL_get_error would take
 * them for its own. */
static void forget_errors(const int *unused)
{
    (void)unused;
    ERR_pop_to_mark();
}

#define FORGET_ERRORS kb_auto(forget_errors) __attribute__((unused)) int mark_ = ERR_set_mark()

struct kb_ticket_key *kb_ticket_key_create(void)
{
    FORGET_ERRORS;
    EVP_PKEY *pkey = EVP_RSA_gen(SPICE_TICKET_KEY_PAIR_LENGTH);
    if (!pkey)
        return NULL;
    struct kb_ticket_key *k = kb_zalloc(sizeof *k);
    uint8_t *end = k->public;
    atomic_init(&k->refs, 1);
    k->pkey = pkey;
    /* The length is asked first, so that nothing is written beyond the field. */
    if (i2d_PUBKEY(pkey, NULL) != KB_LINK_PUBKEY_SIZE ||
        i2d_PUBKEY(pkey, &end) != KB_LINK_PUBKEY_SIZE) {
        kb_ticket_key_unref(k);
        return NULL;
    }
    return k;
}

struct kb_ticket_key *kb_ticket_key_ref(struct kb_ticket_key *k)
{
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

void kb_ticket_key_unref(struct kb_ticket_key *k)
{
    if (!k || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1)
        return;
    EVP_PKEY_free(k->pkey);
    free(k);
}

const uint8_t *kb_ticket_key_public(const struct kb_ticket_key *k)
{
    return k->public;
}

bool kb_ticket_open(struct kb_ticket_key *k, const uint8_t ticket[KB_TICKET_SIZE],
                    char password[KB_PASSWORD_MAX + 1])
{
    FORGET_ERRORS;
    kb_auto(free_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(k->pkey, NULL);
    uint8_t plain[KB_TICKET_SIZE];
    size_t len = sizeof plain;

    password[0] = '\0';
    /* OAEP's hash is SHA-1 unless one is set. */
    bool ok = ctx && EVP_PKEY_decrypt_init(ctx) > 0 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 &&
              EVP_PKEY_decrypt(ctx, plain, &len, ticket, KB_TICKET_SIZE) > 0;
    if (ok) {
        /* Clients send the NUL along; one that does not has ended its text all the same. */
        const uint8_t *nul = memchr(plain, '\0', len);
        size_t text = nul ? (size_t)(nul - plain) : len;
        ok = text <= KB_PASSWORD_MAX;
        if (ok) {
            memcpy(password, plain, text);
            password[text] = '\0';
        }
    }
    kb_wipe(plain, sizeof plain);
    return ok;
}

/* NULL if it is not framed as above, or n has not its 1024 bits. */
static EVP_PKEY *read_key(const uint8_t pubkey[KB_LINK_PUBKEY_SIZE])
{
    const uint8_t *modulus = pubkey + sizeof key_head;
    if (memcmp(pubkey, key_head, sizeof key_head) != 0 ||
        memcmp(modulus + MODULUS_SIZE, key_tail, sizeof key_tail) != 0 || !(modulus[0] & 0x80))
        return NULL;

    EVP_PKEY *pkey = NULL;
    kb_auto(free_bn) BIGNUM *n = BN_bin2bn(modulus, MODULUS_SIZE, NULL);
    kb_auto(free_bld) OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    kb_auto(free_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    if (!n || !bld || !ctx || OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) <= 0 ||
        OSSL_PARAM_BLD_push_ulong(bld, OSSL_PKEY_PARAM_RSA_E, EXPONENT) <= 0)
        return NULL;
    kb_auto(free_params) OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    if (!params || EVP_PKEY_fromdata_init(ctx) <= 0 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) <= 0)
        return NULL;
    return pkey;
}

bool kb_ticket_seal(struct kb_buf *out, const uint8_t pubkey[KB_LINK_PUBKEY_SIZE],
                    const char *password)
{
    size_t text = strlen(password);
    if (text >= KB_PASSWORD_MAX)
        return false;

    FORGET_ERRORS;
    kb_auto(free_pkey) EVP_PKEY *pkey = read_key(pubkey);
    kb_auto(free_ctx) EVP_PKEY_CTX *ctx = pkey ? EVP_PKEY_CTX_new(pkey, NULL) : NULL;
    uint8_t ticket[KB_TICKET_SIZE];
    size_t len = sizeof ticket;
    if (!ctx || EVP_PKEY_encrypt_init(ctx) <= 0 ||
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) <= 0 ||
        EVP_PKEY_encrypt(ctx, ticket, &len, (const uint8_t *)password, text + 1) <= 0 ||
        len != sizeof ticket)
        return false;
    kb_buf_add_u32(out, SPICE_COMMON_CAP_AUTH_SPICE);
    kb_buf_add(out, ticket, sizeof ticket);
    return true;
}
