/* Making a CA and a certificate with OpenSSL. Main thread, at start and reload. */
#include "net/certificate.h"

#include "base/mem.h"
#include "base/secret.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#define DAY 86400L
#define CA_DAYS 3650L
#define SERVER_DAYS 397L /* browsers accept no more */
#define RENEW_BEFORE (30 * DAY)

static void free_x509(X509 **x)
{
    X509_free(*x);
}

static void free_key(EVP_PKEY **k)
{
    EVP_PKEY_free(*k);
}

void kb_certificate_files_finish(struct kb_certificate_files *f)
{
    free(f->ca);
    free(f->certificate);
    free(f->key);
    *f = (struct kb_certificate_files){0};
}

X509 *kb_certificate_load(const char *path)
{
    kb_auto_fclose FILE *f = fopen(path, "re");
    return f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
}

static EVP_PKEY *load_key(const char *path)
{
    kb_auto_fclose FILE *f = fopen(path, "re");
    return f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
}

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

static X509 *begin(const char *common_name, EVP_PKEY *key, long days)
{
    X509 *x = X509_new();
    uint8_t serial[16];
    kb_random(serial, sizeof serial);
    serial[0] &= 0x7f; /* positive, RFC 5280, 4.1.2.2 */
    BIGNUM *n = BN_bin2bn(serial, sizeof serial, NULL);
    BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
    BN_free(n);
    X509_set_version(x, X509_VERSION_3);
    /* An hour back: clients' clocks are never quite ours. */
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), days * DAY);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const uint8_t *)"Kerbside", -1, -1, 0);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)common_name, -1, -1, 0);
    X509_set_pubkey(x, key);
    return x;
}

/* A common name has 64 characters at most (X.520). A longer host is in the alternative name alone.
 */
static X509 *create_server(const char *host, EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key)
{
    X509 *x = begin(strlen(host) <= 64 ? host : "kerbside", key, SERVER_DAYS);
    X509_set_issuer_name(x, X509_get_subject_name(ca));
    uint8_t raw[16];
    bool numeric = inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1;
    kb_auto_free char *names = kb_printf("%s:%s", numeric ? "IP" : "DNS", host);
    if (!add_extension(x, ca, NID_basic_constraints, "critical,CA:FALSE") ||
        !add_extension(x, ca, NID_key_usage, "critical,digitalSignature") ||
        !add_extension(x, ca, NID_ext_key_usage, "serverAuth") ||
        !add_extension(x, ca, NID_subject_alt_name, names) ||
        !add_extension(x, ca, NID_authority_key_identifier, "keyid") ||
        X509_sign(x, ca_key, EVP_sha256()) == 0) {
        X509_free(x);
        return NULL;
    }
    return x;
}

static X509 *create_ca(const char *common_name, EVP_PKEY *key)
{
    X509 *x = begin(common_name, key, CA_DAYS);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    if (!add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !add_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        !add_extension(x, x, NID_subject_key_identifier, "hash") ||
        X509_sign(x, key, EVP_sha256()) == 0) {
        X509_free(x);
        return NULL;
    }
    return x;
}

/* Written beside and renamed, so that a crash leaves the old file or the new one. */
static bool save(const char *path, X509 *x, EVP_PKEY *key, char **error)
{
    kb_auto_free char *beside = kb_printf("%s.new", path);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, key ? 0600 : 0644);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    bool ok = f && (key ? PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL)
                        : PEM_write_X509(f, x)) == 1;
    if (f) {
        ok = ok && fflush(f) == 0 && fsync(fd) == 0;
        ok = fclose(f) == 0 && ok;
    }
    ok = ok && rename(beside, path) == 0;
    if (!ok)
        *error = kb_printf("%s cannot be written: %s", path, strerror(errno));
    return ok;
}

static bool is_good(X509 *x, const char *host, X509 *ca)
{
    time_t soon = time(NULL) + RENEW_BEFORE;
    return x && X509_cmp_time(X509_get0_notAfter(x), &soon) > 0 &&
           X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(ca)) == 0 &&
           (X509_check_host(x, host, 0, 0, NULL) == 1 || X509_check_ip_asc(x, host, 0) == 1);
}

bool kb_certificate_ensure(const char *dir, const char *host, struct kb_certificate_files *files,
                           char **error)
{
    *files =
        (struct kb_certificate_files){kb_printf("%s/ca.pem", dir), kb_printf("%s/server.pem", dir),
                                      kb_printf("%s/server-key.pem", dir)};
    *error = NULL;
    kb_auto_free char *ca_key_path = kb_printf("%s/ca-key.pem", dir);
    kb_auto(free_x509) X509 *ca = kb_certificate_load(files->ca);
    kb_auto(free_key) EVP_PKEY *ca_key = load_key(ca_key_path);
    ERR_clear_error();
    if (!ca || !ca_key || X509_check_private_key(ca, ca_key) != 1) {
        if (access(files->ca, F_OK) == 0 || access(ca_key_path, F_OK) == 0) {
            /* Clients hold this CA; to replace it silently would lock them out. */
            *error =
                kb_printf("%s and %s do not belong together or cannot be read; restore them, or "
                          "remove both to make a new CA",
                          files->ca, ca_key_path);
            return false;
        }
        ca_key = EVP_EC_gen("P-256");
        char id[KB_ID_SIZE];
        kb_id_create(id);
        kb_auto_free char *name = kb_printf("Kerbside CA %.8s", id);
        ca = ca_key ? create_ca(name, ca_key) : NULL;
        if (!ca) {
            *error = kb_strdup("OpenSSL cannot make a CA");
            return false;
        }
        if (!save(ca_key_path, NULL, ca_key, error) || !save(files->ca, ca, NULL, error))
            return false;
    }
    kb_auto(free_x509) X509 *old = kb_certificate_load(files->certificate);
    kb_auto(free_key) EVP_PKEY *old_key = load_key(files->key);
    ERR_clear_error();
    if (is_good(old, host, ca) && old_key && X509_check_private_key(old, old_key) == 1)
        return true;
    kb_auto(free_key) EVP_PKEY *key = EVP_EC_gen("P-256");
    kb_auto(free_x509) X509 *x = key ? create_server(host, key, ca, ca_key) : NULL;
    if (!x) {
        *error = kb_printf("OpenSSL cannot make a certificate for \"%s\"", host);
        return false;
    }
    return save(files->key, NULL, key, error) && save(files->certificate, x, NULL, error);
}
