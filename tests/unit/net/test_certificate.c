/* The self-made CA and certificate: made once, kept, renewed when the name changes, never replaced
 * behind the clients' backs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/secret.h"
#include "net/certificate.h"
#include "net/tls_context.h"

#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/kb-test-cert-XXXXXX";

static struct kb_certificate_files ensure(const char *host)
{
    struct kb_certificate_files files;
    char *error;
    assert_true(kb_certificate_ensure(dir, host, &files, &error));
    return files;
}

static struct kb_hash digest_of(const char *path)
{
    X509 *x = kb_certificate_load(path);
    assert_non_null(x);
    uint8_t raw[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    assert_int_equal(X509_digest(x, EVP_sha256(), raw, &n), 1);
    X509_free(x);
    return kb_hash_of(raw, n);
}

static void test_made_and_kept(void **state)
{
    (void)state;
    struct kb_certificate_files a = ensure("desktops.example.org");
    struct kb_hash ca = digest_of(a.ca), server = digest_of(a.certificate);
    struct stat st;
    assert_int_equal(stat(a.key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    char *error;
    SSL_CTX *ctx = kb_tls_server_create(a.certificate, a.key, &error);
    assert_non_null(ctx);
    SSL_CTX_free(ctx);
    struct kb_certificate_files b = ensure("desktops.example.org");
    struct kb_hash again = digest_of(b.certificate);
    assert_true(kb_hash_equal(&server, &again));
    /* Another name: a new certificate of the same CA. */
    struct kb_certificate_files c = ensure("192.0.2.7");
    struct kb_hash other = digest_of(c.certificate), same_ca = digest_of(c.ca);
    assert_false(kb_hash_equal(&server, &other));
    assert_true(kb_hash_equal(&ca, &same_ca));
    X509 *x = kb_certificate_load(c.certificate);
    assert_int_equal(X509_check_ip_asc(x, "192.0.2.7", 0), 1);
    X509_free(x);
    kb_certificate_files_finish(&a);
    kb_certificate_files_finish(&b);
    kb_certificate_files_finish(&c);
}

static void test_long_host(void **state)
{
    (void)state;
    struct kb_certificate_files f =
        ensure("a-name-that-is-longer-than-a-common-name-may-be.desktops.example.org");
    X509 *x = kb_certificate_load(f.certificate);
    assert_int_equal(
        X509_check_host(x, "a-name-that-is-longer-than-a-common-name-may-be.desktops.example.org",
                        0, 0, NULL),
        1);
    X509_free(x);
    kb_certificate_files_finish(&f);
}

static void test_broken_ca_is_not_replaced(void **state)
{
    (void)state;
    struct kb_certificate_files f = ensure("localhost");
    assert_int_equal(truncate(f.ca, 10), 0);
    struct kb_certificate_files g;
    char *error = NULL;
    assert_false(kb_certificate_ensure(dir, "localhost", &g, &error));
    assert_non_null(strstr(error, f.ca));
    free(error);
    kb_certificate_files_finish(&f);
    kb_certificate_files_finish(&g);
}

static void test_context_errors(void **state)
{
    (void)state;
    char *error = NULL;
    assert_null(kb_tls_server_create("/nonexistent.pem", "/nonexistent.pem", &error));
    assert_non_null(strstr(error, "/nonexistent.pem"));
    free(error);
    /* OpenSSL has one place for each kind of key, and would forget the first without a word. */
    struct kb_certificate_files f = ensure("localhost");
    SSL_CTX *server = kb_tls_server_create(f.certificate, f.key, &error);
    assert_non_null(server);
    assert_false(kb_tls_server_add(server, f.certificate, f.key, &error));
    assert_non_null(strstr(error, "the same kind"));
    free(error);
    SSL_CTX_free(server);
    kb_certificate_files_finish(&f);
    assert_null(kb_tls_client_get("no certificate in here", &error));
    assert_non_null(error);
    free(error);
    SSL_CTX *a = kb_tls_client_get(NULL, &error), *b = kb_tls_client_get(NULL, &error);
    assert_ptr_equal(a, b);
    SSL_CTX_free(a);
    SSL_CTX_free(b);
    kb_tls_client_forget();
}

static int set_up(void **state)
{
    (void)state;
    return kb_secret_start() && mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"ca.pem", "ca-key.pem", "server.pem", "server-key.pem"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kb_auto_free char *path = kb_printf("%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
    alarm(120);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_and_kept),
        cmocka_unit_test(test_long_host),
        cmocka_unit_test(test_context_errors),
        cmocka_unit_test(test_broken_ca_is_not_replaced),
    };
    return cmocka_run_group_tests_name("net/certificate", tests, set_up, tear_down);
}
