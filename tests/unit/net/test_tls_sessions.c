/* TLS sessions: a hypervisor's is resumed by the next connection to the same peer and by no other;
 * a client's outlives a reload and one renewal of the ticket key, not two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/secret.h"
#include "net/certificate.h"
#include "net/conn.h"
#include "net/tls_context.h"
#include "net/tls_ticket.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char dir[] = "/tmp/kb-test-tls-XXXXXX";
static struct kb_certificate_files files;
static char ca_pem[8192];
static SSL_CTX *server_ctx, *client_ctx;

static void say_hello(struct kb_conn *c)
{
    kb_conn_want_read(c, true);
    kb_conn_queue(c, kb_span("hello", 5));
    assert_true(kb_conn_flush(c));
}

static void read_hello(struct kb_conn *c)
{
    char text[16];
    size_t got;
    if (kb_conn_read(c, text, sizeof text, &got) == KB_IO_OK)
        *(size_t *)c->owner += got;
}

static void ignore(struct kb_conn *c)
{
    (void)c;
}

static void must_not(struct kb_conn *c)
{
    fail_msg("%s", c->detail);
}

static const struct kb_conn_events events = {say_hello, read_hello, ignore, must_not};

/* Connects, lets both say something, ends. Whether the session was resumed. */
static bool resumes(const char *name, bool fresh)
{
    struct kb_loop *l = kb_loop_create(0);
    size_t to_server = 0, to_client = 0;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    struct kb_conn *server = kb_conn_create(l, pair[0], &events, &to_server);
    struct kb_conn *client = kb_conn_create(l, pair[1], &events, &to_client);
    client->fresh = fresh;
    kb_conn_accept_tls(server, server_ctx);
    kb_conn_connect_tls(client, client_ctx, name);
    while (to_server < 5 || to_client < 5)
        uv_run(&l->uv, UV_RUN_ONCE);
    /* Who the peer is must be known either way: the subject is checked on every connection. */
    assert_int_equal(client->verify_result, X509_V_OK);
    assert_non_null(SSL_get0_peer_certificate(client->ssl));
    bool resumed = SSL_session_reused(client->ssl);
    assert_int_equal(SSL_session_reused(server->ssl), resumed);
    kb_conn_destroy(server);
    kb_conn_destroy(client);
    kb_loop_destroy(l);
    return resumed;
}

static SSL_CTX *load_server(void)
{
    char *error = NULL;
    return kb_tls_server_create(files.certificate, files.key, &error);
}

static void test_same_peer_only(void **state)
{
    (void)state;
    assert_false(resumes("one.example", false));
    assert_true(resumes("one.example", false));
    assert_true(resumes("one.example", false));
    assert_false(resumes("two.example", false));
    assert_false(resumes(NULL, false));
    assert_false(resumes("one.example", true));
    assert_true(resumes("one.example", false));
}

static void test_reload(void **state)
{
    (void)state;
    (void)resumes("reload.example", false);
    SSL_CTX_free(server_ctx);
    server_ctx = load_server();
    assert_true(resumes("reload.example", false));
}

static void test_renewal(void **state)
{
    (void)state;
    uint64_t now = kb_clock_us();
    assert_false(resumes("renewed.example", false));
    assert_true(kb_tls_ticket_rotate(now));
    assert_true(resumes("renewed.example", false));
    assert_true(kb_tls_ticket_rotate(now + KB_TICKET_KEY_LIFE_US + 60000000));
    assert_true(
        resumes("renewed.example", false)); /* by the key before; the new one seals it now */
    assert_true(kb_tls_ticket_rotate(now + 2 * KB_TICKET_KEY_LIFE_US + 120000000));
    assert_true(resumes("renewed.example", false));
    (void)resumes("old.example", false);
    assert_true(kb_tls_ticket_rotate(now + 3 * KB_TICKET_KEY_LIFE_US + 180000000));
    assert_true(kb_tls_ticket_rotate(now + 4 * KB_TICKET_KEY_LIFE_US + 240000000));
    assert_false(resumes("old.example", false));
    /* After a long sleep the key before is too old as well. */
    (void)resumes("slept.example", false);
    assert_true(kb_tls_ticket_rotate(now + 9 * KB_TICKET_KEY_LIFE_US));
    assert_false(resumes("slept.example", false));
    kb_tls_ticket_forget();
    assert_false(resumes("slept.example", false));
}

static int set_up(void **state)
{
    (void)state;
    char *error = NULL;
    if (!kb_secret_start() || !mkdtemp(dir) ||
        !kb_certificate_ensure(dir, "localhost", &files, &error))
        return -1;
    kb_auto_fclose FILE *f = fopen(files.ca, "re");
    if (!f || fread(ca_pem, 1, sizeof ca_pem - 1, f) == 0)
        return -1;
    server_ctx = load_server();
    client_ctx = kb_tls_client_get(ca_pem, &error);
    return server_ctx && client_ctx ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    SSL_CTX_free(server_ctx);
    SSL_CTX_free(client_ctx);
    kb_tls_client_forget();
    kb_tls_ticket_forget();
    static const char *const names[] = {"ca.pem", "ca-key.pem", "server.pem", "server-key.pem"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kb_auto_free char *path = kb_printf("%s/%s", dir, names[i]);
        unlink(path);
    }
    kb_certificate_files_finish(&files);
    return rmdir(dir);
}

int main(void)
{
    alarm(120); /* a test that hangs is a test that fails */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_peer_only),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_renewal),
    };
    return cmocka_run_group_tests_name("net/tls_sessions", tests, set_up, tear_down);
}
