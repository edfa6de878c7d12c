/* Making TLS contexts. Any thread; the kept ones are behind a lock that is a leaf. */
#include "net/tls_context.h"

#include "base/mem.h"
#include "base/secret.h"
#include "net/tls_resume.h"
#include "net/tls_ticket.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static SSL_CTX *create(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx)
        abort();
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* An idle connection gives its 17 KiB buffers back. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    return ctx;
}

static char *explain(const char *what, const char *file)
{
    unsigned long e = ERR_peek_last_error();
    const char *why = ERR_reason_error_string(e);
    char *text = file ? kb_printf("%s %s: %s", what, file, why ? why : "cannot be read")
                      : kb_printf("%s: %s", what, why ? why : "cannot be read");
    ERR_clear_error();
    return text;
}

bool kb_tls_server_add(SSL_CTX *ctx, const char *certificate, const char *key, char **error)
{
    const X509 *before = SSL_CTX_get0_certificate(ctx);
    int kind = before ? EVP_PKEY_get_base_id(X509_get0_pubkey(before)) : EVP_PKEY_NONE;
    ERR_clear_error();
    *error = NULL;
    if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1) {
        *error = explain("certificate", certificate);
        return false;
    }
    const X509 *x = SSL_CTX_get0_certificate(ctx);
    if (EVP_PKEY_get_base_id(X509_get0_pubkey(x)) == kind)
        *error =
            kb_printf("certificate %s: its key is of the same kind as the other's", certificate);
    else if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        *error = explain("key", key);
    /* A key of another kind goes where that kind's certificate would be. */
    else if (SSL_CTX_get0_certificate(ctx) != x || SSL_CTX_check_private_key(ctx) != 1)
        *error = kb_printf("key %s does not belong to certificate %s", key, certificate);
    ERR_clear_error();
    return !*error;
}

SSL_CTX *kb_tls_server_create(const char *certificate, const char *key, char **error)
{
    SSL_CTX *ctx = create(TLS_server_method());
    if (!kb_tls_server_add(ctx, certificate, key, error)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_num_tickets(ctx, 1);
    kb_tls_ticket_use(ctx);
    return ctx;
}

struct kept {
    struct kept *next;
    struct kb_hash ca;
    SSL_CTX *ctx;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept *kept;

static bool add_roots(SSL_CTX *ctx, const char *pem)
{
    BIO *b = BIO_new_mem_buf(pem, -1);
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    unsigned count = 0;
    for (X509 *x; (x = PEM_read_bio_X509(b, NULL, NULL, NULL)); X509_free(x))
        count += X509_STORE_add_cert(store, x) == 1;
    BIO_free(b);
    ERR_clear_error(); /* the end of the text is an error to the reader */
    /* A CA is what the operator says it is, also one without the CA flag or in the middle of a
     * chain. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    return count > 0;
}

static SSL_CTX *create_client(const char *ca_pem, char **error)
{
    SSL_CTX *ctx = create(TLS_client_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    kb_tls_resume_init(ctx);
    bool ok = ca_pem ? add_roots(ctx, ca_pem) : SSL_CTX_set_default_verify_paths(ctx) == 1;
    if (ok)
        return ctx;
    *error = kb_strdup("the CA has no certificate in it");
    SSL_CTX_free(ctx);
    return NULL;
}

SSL_CTX *kb_tls_client_get(const char *ca_pem, char **error)
{
    *error = NULL;
    const char *text = ca_pem ? ca_pem : "";
    struct kb_hash ca = kb_hash_of(text, strlen(text));
    pthread_mutex_lock(&lock);
    struct kept *k = kept;
    while (k && !kb_hash_equal(&k->ca, &ca))
        k = k->next;
    if (!k) {
        SSL_CTX *ctx = create_client(ca_pem, error);
        if (ctx) {
            k = kb_zalloc(sizeof *k);
            k->ca = ca;
            k->ctx = ctx;
            k->next = kept;
            kept = k;
        }
    }
    SSL_CTX *ctx = k ? k->ctx : NULL;
    if (ctx)
        SSL_CTX_up_ref(ctx);
    pthread_mutex_unlock(&lock);
    return ctx;
}

void kb_tls_client_forget(void)
{
    pthread_mutex_lock(&lock);
    while (kept) {
        struct kept *k = kept;
        kept = k->next;
        SSL_CTX_free(k->ctx);
        free(k);
    }
    pthread_mutex_unlock(&lock);
}
