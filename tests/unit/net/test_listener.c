/* Accepting without a descriptor left: refused while it can be, and no busy loop when not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "net/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct fixture {
    struct kb_loop *loop;
    int listening, reserve;
    uint16_t port;
    struct kb_acceptor *acceptor;
    unsigned accepted, exhausted;
    struct rlimit before;
};

static void on_accepted(struct kb_acceptor *a, int fd)
{
    struct fixture *f = a->owner;
    f->accepted++;
    close(fd);
}

static void on_exhausted(struct kb_acceptor *a)
{
    struct fixture *f = a->owner;
    f->exhausted++;
}

static int set_up(void **state)
{
    static struct fixture f;
    char *error;
    f = (struct fixture){.loop = kb_loop_create(0), .reserve = -1};
    assert_int_equal(kb_listen_tcp("127.0.0.1", 0, &f.listening, 1, &error), 1);
    free(kb_listen_name(f.listening, &f.port));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &f.before), 0);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    setrlimit(RLIMIT_NOFILE, &f->before);
    kb_acceptor_destroy(f->acceptor);
    kb_loop_destroy(f->loop);
    if (f->reserve >= 0)
        close(f->reserve);
    close(f->listening);
    return 0;
}

static void start(struct fixture *f)
{
    f->acceptor =
        kb_acceptor_create(f->loop, f->listening, &f->reserve, on_accepted, on_exhausted, f);
    uv_run(&f->loop->uv, UV_RUN_NOWAIT);
}

/* A client, connected as far as the kernel is concerned. */
static int client(const struct fixture *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                            .sin_port = htons(f->port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* From now on this process can open nothing. */
static void use_up(const struct fixture *f)
{
    int lowest = dup(0);
    close(lowest);
    struct rlimit none = f->before;
    none.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void test_refused_with_the_reserve(void **state)
{
    struct fixture *f = *state;
    f->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    start(f);
    int fd = client(f);
    use_up(f);
    while (!f->exhausted)
        uv_run(&f->loop->uv, UV_RUN_ONCE);
    char byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0); /* it was closed, not left in the backlog */
    assert_true(f->reserve >= 0);
    assert_int_equal(f->accepted, 0);
    close(fd);
}

static void test_rests_when_it_cannot_refuse(void **state)
{
    struct fixture *f = *state;
    start(f);
    int fd = client(f);
    use_up(f);
    uint64_t until = kb_clock_us() + 300000;
    while (kb_clock_us() < until)
        uv_run(&f->loop->uv, UV_RUN_ONCE);
    assert_in_range(f->exhausted, 1, 10); /* a busy loop would have thousands */
    assert_int_equal(f->accepted, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &f->before), 0);
    while (!f->accepted)
        uv_run(&f->loop->uv, UV_RUN_ONCE);
    close(fd);
}

int main(void)
{
    alarm(120);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refused_with_the_reserve, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rests_when_it_cannot_refuse, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("net/listener", tests, NULL, NULL);
}
