/* See fixture.h. */
#include "fixture.h"

#include <dirent.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>

int setup(void **state)
{
    struct fixture *f = kb_zalloc(sizeof *f);
    assert_true(kb_secret_start());
    kb_copy_str(f->folder, sizeof f->folder, "/tmp/kerbside-test-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->file = kb_printf("%s/kerbside.yaml", f->folder);
    *state = f;
    return 0;
}

int teardown(void **state)
{
    struct fixture *f = *state;
    DIR *d = opendir(f->folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        kb_auto_free char *path = kb_printf("%s/%s", f->folder, e->d_name);
        remove(path); /* refuses . and .. */
    }
    if (d)
        closedir(d);
    rmdir(f->folder);
    kb_buf_finish(&f->problems);
    free(f->file);
    free(f);
    return 0;
}

char *put(struct fixture *f, const char *name, const char *text)
{
    char *path = kb_printf("%s/%s", f->folder, name);
    if (text) {
        kb_auto_fclose FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    }
    return path;
}

char *slurp(const char *path)
{
    kb_auto_fclose FILE *file = fopen(path, "r");
    struct kb_buf b = {0};
    char chunk[4096];
    assert_non_null(file);
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;)
        kb_buf_add(&b, chunk, n);
    return kb_buf_steal(&b);
}

char *expand(const struct fixture *f, const char *text)
{
    struct kb_buf b = {0};
    for (; *text; text++) {
        if (*text == '@')
            kb_buf_add_str(&b, f->folder);
        else
            kb_buf_add(&b, text, 1);
    }
    return kb_buf_steal(&b);
}

struct kb_config *load(struct fixture *f, const char *text)
{
    kb_auto_free char *expanded = expand(f, text);
    kb_auto_free char *path = put(f, "kerbside.yaml", expanded);
    kb_buf_finish(&f->problems);
    return kb_config_load(path, &f->problems);
}

void assert_problems(struct fixture *f, const char *expected)
{
    kb_auto_free char *text = expand(f, expected);
    kb_buf_add(&f->problems, "", 1);
    assert_string_equal((const char *)f->problems.data, text);
    f->problems.len--;
}

static char *take_text(BIO *bio)
{
    char *data;
    int len = (int)BIO_get_mem_data(bio, &data);
    char *text = kb_printf("%.*s", len, data);
    (void)BIO_reset(bio);
    return text;
}

static void make_with(EVP_PKEY *pkey, const char *name, long days, char **certificate, char **key)
{
    X509 *x = X509_new();
    assert_non_null(pkey);
    assert_non_null(x);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -100L * 24 * 3600);
    X509_gmtime_adj(X509_getm_notAfter(x), days * 24 * 3600);
    X509_set_pubkey(x, pkey);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    assert_true(X509_sign(x, pkey, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, x);
    *certificate = take_text(bio);
    PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
    *key = take_text(bio);
    BIO_free(bio);
    X509_free(x);
    EVP_PKEY_free(pkey);
}

void make_certificate(const char *name, long days, char **certificate, char **key)
{
    make_with(EVP_EC_gen("P-256"), name, days, certificate, key);
}

void make_rsa_certificate(const char *name, long days, char **certificate, char **key)
{
    make_with(EVP_RSA_gen(2048), name, days, certificate, key);
}
