/* Checks certificates and keys with OpenSSL, so that a wrong one is found when the configuration is
 * read and not at the first handshake. Keeps nothing. Main thread. */
#include "daemon/config_pem.h"

#include "base/mem.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

/* Never ask the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static BIO *open_text(struct kb_span text)
{
    ERR_clear_error();
    BIO *bio = text.len <= INT_MAX
                   ? BIO_new_mem_buf(text.data ? text.data : (const void *)"", (int)text.len)
                   : NULL;
    return bio;
}

static const char *last_words(void)
{
    const char *words = ERR_reason_error_string(ERR_peek_last_error());
    return words ? words : "it cannot be read";
}

static bool at_end(void)
{
    unsigned long e = ERR_peek_last_error();
    return ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
}

char *kb_pem_check_certificates(struct kb_span text, bool *expired)
{
    BIO *bio = open_text(text);
    unsigned count = 0;
    char *bad = NULL;
    X509 *x;
    *expired = false;
    while (bio && (x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
        count++;
        if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
            *expired = true;
        X509_free(x);
    }
    if (!at_end())
        bad = kb_printf("certificate %u is damaged: %s", count + 1, last_words());
    else if (count == 0)
        bad = kb_strdup("there is no certificate in it");
    ERR_clear_error();
    BIO_free(bio);
    return bad;
}

static X509 *first_certificate(struct kb_span text)
{
    BIO *bio = open_text(text);
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    return x;
}

char *kb_pem_check_key(struct kb_span key, struct kb_span certificate)
{
    char *bad = NULL;
    BIO *bio = open_text(key);
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    if (!pkey)
        bad = kb_printf("there is no private key without passphrase in it (%s)", last_words());
    X509 *x = pkey && certificate.data ? first_certificate(certificate) : NULL;
    if (x && X509_check_private_key(x, pkey) != 1)
        bad = kb_strdup("the key does not belong to the certificate");
    X509_free(x);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return bad;
}

char *kb_pem_check_pair(struct kb_span one, struct kb_span other)
{
    char *bad = NULL;
    X509 *a = first_certificate(one), *b = first_certificate(other);
    if (a && b &&
        EVP_PKEY_get_base_id(X509_get0_pubkey(a)) == EVP_PKEY_get_base_id(X509_get0_pubkey(b)))
        bad = kb_strdup("both certificates have keys of the same kind; one is to have an ECDSA "
                        "key, the other an RSA key");
    else if (a && b && X509_NAME_cmp(X509_get_subject_name(a), X509_get_subject_name(b)) != 0)
        bad = kb_strdup("the certificates have different subjects; viewers are told one "
                        "(host-subject), and refuse the other");
    X509_free(a);
    X509_free(b);
    ERR_clear_error();
    return bad;
}
