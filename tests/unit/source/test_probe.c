/* Probes of addresses: ports that listen, ports that do not, sockets, names that are none, and more
 * of them than are tried at a time. */
#include "source/probe.h"

#include "base/auto.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cmocka.h>

#define LONG_MS 60000

/* A port of this machine, which listens or is merely taken. */
static int make_port(bool listens, uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)(void *)&at, size), 0);
    if (listens)
        assert_int_equal(listen(fd, 512), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)(void *)&at, &size), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static char here[] = "127.0.0.1", nobody[] = "no-such-host.invalid";

static struct kb_target target_at(char *host, uint16_t port, uint16_t tls_port)
{
    return (struct kb_target){.transport = KB_TRANSPORT_TCP,
                              .host = host,
                              .port = port,
                              .tls_port = tls_port,
                              .tls = tls_port ? KB_TLS_REQUIRE : KB_TLS_PLAIN};
}

static void test_ports(void **state)
{
    (void)state;
    const atomic_bool stop = false;
    uint16_t good, bad;
    kb_auto_close int listening = make_port(true, &good), taken = make_port(false, &bad);
    assert_true(listening >= 0 && taken >= 0);
    struct kb_target targets[] = {
        target_at(here, good, 0),   target_at(here, bad, 0),    target_at(here, bad, good),
        target_at(here, good, bad), target_at(nobody, good, 0), target_at(here, 0, 0),
    };
    const bool up[] = {true, false, true, false, false, false};
    struct kb_probe probes[6];
    for (size_t i = 0; i < 6; i++)
        probes[i] = (struct kb_probe){.target = &targets[i]};
    assert_true(kb_probe_all(probes, 6, LONG_MS, &stop));
    for (size_t i = 0; i < 6; i++)
        if (probes[i].up != up[i])
            fail_msg("target %zu", i);
}

static void test_many(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    const atomic_bool stop = false;
    uint16_t good, bad;
    kb_auto_close int listening = make_port(true, &good), taken = make_port(false, &bad);
    assert_true(listening >= 0 && taken >= 0);
    struct kb_target lives = target_at(here, good, 0), dead = target_at(here, bad, 0);
    struct kb_probe probes[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        probes[i] = (struct kb_probe){.target = i % 3 ? &lives : &dead};
    assert_true(kb_probe_all(probes, COUNT, LONG_MS, &stop));
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(probes[i].up, i % 3 != 0);
    assert_true(kb_probe_all(probes, 0, LONG_MS, &stop));
}

static void test_sockets(void **state)
{
    (void)state;
    const atomic_bool stop = false;
    char folder[] = "/tmp/kb-probe-XXXXXX";
    assert_non_null(mkdtemp(folder));
    kb_auto_free char *path = kb_printf("%s/s", folder), *none = kb_printf("%s/none", folder);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    kb_auto_close int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)(void *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    struct kb_target there = {.transport = KB_TRANSPORT_UNIX, .unix_socket = path},
                     gone = {.transport = KB_TRANSPORT_UNIX, .unix_socket = none};
    struct kb_probe probes[] = {{.target = &there}, {.target = &gone}};
    assert_true(kb_probe_all(probes, 2, LONG_MS, &stop));
    assert_true(probes[0].up);
    assert_false(probes[1].up);
    unlink(path);
    rmdir(folder);
}

static void test_stopped(void **state)
{
    (void)state;
    const atomic_bool stop = true;
    uint16_t good;
    kb_auto_close int listening = make_port(true, &good);
    assert_true(listening >= 0);
    struct kb_target target = target_at(here, good, 0);
    struct kb_probe probe = {.target = &target, .up = true};
    assert_false(kb_probe_all(&probe, 1, LONG_MS, &stop));
    assert_false(probe.up);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
