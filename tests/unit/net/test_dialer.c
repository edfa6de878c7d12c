/* Dialling: the next address after one that fails, names, deadlines, unix sockets, cancelling at
 * any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "net/dialer.h"
#include "net/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    struct kb_loop *loop;
    struct kb_worker resolver;
    bool done;
    enum kb_reason reason;
    char detail[256];
};

static void on_done(void *arg, const struct kb_dial_result *r)
{
    struct fixture *f = arg;
    f->done = true;
    f->reason = r->reason;
    kb_copy_str(f->detail, sizeof f->detail, r->detail);
    kb_conn_destroy(r->conn);
}

static enum kb_reason wait_done(struct fixture *f)
{
    while (!f->done)
        uv_run(&f->loop->uv, UV_RUN_ONCE);
    f->done = false;
    return f->reason;
}

static int listen_on(const char *host, uint16_t *port)
{
    int fd;
    char *error;
    assert_int_equal(kb_listen_tcp(host, 0, &fd, 1, &error), 1);
    free(kb_listen_name(fd, port));
    return fd;
}

static void test_connects(void **state)
{
    struct fixture *f = *state;
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    uint16_t port;
    int fd = listen_on("127.0.0.1", &port);
    for (int i = 0; i < 2; i++) {
        kb_dial_tcp(f->loop, &f->resolver, hosts[i], port, 5000, on_done, f);
        assert_false(f->done); /* never from within the call */
        assert_int_equal(wait_done(f), KB_REASON_NONE);
    }
    close(fd);
}

static void test_refused(void **state)
{
    struct fixture *f = *state;
    uint16_t port;
    close(listen_on("127.0.0.1", &port));
    kb_dial_tcp(f->loop, &f->resolver, "127.0.0.1", port, 5000, on_done, f);
    assert_int_equal(wait_done(f), KB_REASON_CONNECT_FAILED);
    assert_non_null(strstr(f->detail, "127.0.0.1"));
    assert_non_null(strstr(f->detail, "refused"));
}

static void test_no_such_name(void **state)
{
    struct fixture *f = *state;
    kb_dial_tcp(f->loop, &f->resolver, "no-such-host.invalid", 5900, 5000, on_done, f);
    assert_int_equal(wait_done(f), KB_REASON_RESOLVE_FAILED);
    assert_non_null(strstr(f->detail, "no-such-host.invalid"));
}

/* The resolver has something else to do. */
static void test_lookup_deadline(void **state)
{
    struct fixture *f = *state;
    struct kb_worker busy;
    kb_worker_init(&busy);
    kb_dial_tcp(f->loop, &busy, "no-such-host.invalid", 5900, 50, on_done, f);
    assert_int_equal(wait_done(f), KB_REASON_RESOLVE_FAILED);
    assert_non_null(strstr(f->detail, "no answer in time"));
    /* Its answer finds nobody. */
    kb_worker_start(&busy, "resolver");
    kb_worker_stop(&busy);
    uv_run(&f->loop->uv, UV_RUN_NOWAIT);
    assert_false(f->done);
}

/* A listener whose queue is full lets further connections wait: nobody answers. */
static void test_deadline(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0), fillers[8];
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    for (int i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&a, sizeof a);
    }
    kb_dial_tcp(f->loop, &f->resolver, "127.0.0.1", ntohs(a.sin_port), 50, on_done, f);
    assert_int_equal(wait_done(f), KB_REASON_CONNECT_TIMEOUT);
    for (int i = 0; i < 8; i++)
        close(fillers[i]);
    close(fd);
}

static void test_unix(void **state)
{
    struct fixture *f = *state;
    char dir[] = "/tmp/kb-test-dial-XXXXXX";
    assert_non_null(mkdtemp(dir));
    kb_auto_free char *path = kb_printf("%s/socket", dir);
    char *error = NULL;
    kb_dial_unix(f->loop, path, 5000, on_done, f);
    assert_int_equal(wait_done(f), KB_REASON_CONNECT_FAILED);
    int fd = kb_listen_unix(path, 0600, &error);
    assert_true(fd >= 0);
    kb_dial_unix(f->loop, path, 5000, on_done, f);
    assert_int_equal(wait_done(f), KB_REASON_NONE);
    close(fd);
    /* The file that the listener left is replaced. */
    fd = kb_listen_unix(path, 0600, &error);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    rmdir(dir);
    char long_path[200];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    kb_dial_unix(f->loop, long_path, 5000, on_done, f);
    assert_int_equal(wait_done(f), KB_REASON_CONNECT_FAILED);
    assert_int_equal(kb_listen_unix(long_path, 0600, &error), -1);
    assert_non_null(error);
    free(error);
}

/* Cancelled at once, while the name is looked up, and while the connection is tried. */
static void test_cancel(void **state)
{
    struct fixture *f = *state;
    uint16_t port;
    int fd = listen_on("127.0.0.1", &port);
    for (int turns = 0; turns < 4; turns++) {
        struct kb_dial *d = kb_dial_tcp(
            f->loop, &f->resolver, turns % 2 ? "localhost" : "127.0.0.1", port, 5000, on_done, f);
        if (turns >= 2)
            uv_run(&f->loop->uv, UV_RUN_NOWAIT);
        if (!f->done)
            kb_dial_cancel(d);
        f->done = false;
        uv_run(&f->loop->uv, UV_RUN_NOWAIT);
        assert_false(f->done);
    }
    kb_dial_cancel(NULL);
    close(fd);
}

static void test_listen_errors(void **state)
{
    (void)state;
    uint16_t port;
    int fd = listen_on("127.0.0.1", &port), other;
    char *error = NULL;
    assert_int_equal(kb_listen_tcp("127.0.0.1", port, &other, 1, &error), 0);
    assert_non_null(strstr(error, "127.0.0.1"));
    free(error);
    assert_int_equal(kb_listen_tcp("no-such-host.invalid", 1, &other, 1, &error), 0);
    assert_non_null(error);
    free(error);
    close(fd);
}

static int set_up(void **state)
{
    static struct fixture f;
    f = (struct fixture){.loop = kb_loop_create(0)};
    kb_worker_init(&f.resolver);
    kb_worker_start(&f.resolver, "resolver");
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    kb_worker_stop(&f->resolver);
    kb_loop_destroy(f->loop);
    return 0;
}

int main(void)
{
    alarm(120);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_connects, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_such_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lookup_deadline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deadline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unix, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancel, set_up, tear_down),
        cmocka_unit_test(test_listen_errors),
    };
    return cmocka_run_group_tests_name("net/dialer", tests, NULL, NULL);
}
