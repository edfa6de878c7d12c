/* What a peer may send ahead, seen from the peer's socket; and sockets that are no TCP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 40000

struct pair {
    int ours, peer;
};

static struct pair connect_pair(bool small)
{
    struct pair p;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    p.ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (small)
        kb_tcp_begin_small(p.ours);
    assert_int_equal(connect(p.ours, (struct sockaddr *)&a, len), 0);
    p.peer = accept(listener, NULL, NULL);
    assert_true(p.peer >= 0);
    close(listener);
    return p;
}

static void close_pair(struct pair p)
{
    close(p.ours);
    close(p.peer);
}

static int segment_of(int fd)
{
    int value = 0;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &value, &len), 0);
    return value;
}

/* What the socket may send at most. */
static uint32_t window_of(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    assert_true(len > offsetof(struct tcp_info, tcpi_snd_wnd));
    return info.tcpi_snd_wnd;
}

static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
}

/* From the peer to us, a piece at a time. */
static void carry(struct pair p, size_t bytes)
{
    static uint8_t buffer[65536];
    size_t sent = 0, got = 0;
    while (got < bytes) {
        size_t more = bytes - sent < sizeof buffer ? bytes - sent : sizeof buffer;
        ssize_t n = more ? send(p.peer, buffer, more, MSG_DONTWAIT) : 0;
        sent += n > 0 ? (size_t)n : 0;
        wait_for(p.ours, POLLIN);
        n = recv(p.ours, buffer, sizeof buffer, 0);
        assert_true(n > 0);
        got += (size_t)n;
    }
}

static void test_begins_small(void **state)
{
    (void)state;
    struct pair big = connect_pair(false), small = connect_pair(true);
    assert_true(segment_of(big.peer) > 1460);
    assert_true(window_of(big.peer) > 16384);
    assert_true(segment_of(small.peer) <= 1460);
    assert_true(window_of(small.peer) <= 16384);
    carry(small, 1 << 20);
    close_pair(big);
    close_pair(small);
}

/* Beyond 64 KiB: the window's scale was not lost by beginning small. */
static void test_window(void **state)
{
    (void)state;
    struct pair p = connect_pair(true);
    kb_tcp_set_window(p.ours, 8192);
    carry(p, 1 << 20);
    assert_true(window_of(p.peer) <= 16384);
    kb_tcp_set_window(p.ours, 150000);
    for (int i = 0; i < 1000 && window_of(p.peer) <= 65535; i++)
        carry(p, 1 << 18);
    assert_true(window_of(p.peer) > 65535);
    kb_tcp_set_window(p.ours, 8192);
    for (int i = 0; i < 1000 && window_of(p.peer) > 16384; i++)
        carry(p, 1 << 18);
    assert_true(window_of(p.peer) <= 16384);
    kb_tcp_set_window(p.ours, 0);
    for (int i = 0; i < 1000 && window_of(p.peer) <= 65535; i++)
        carry(p, 1 << 20);
    assert_true(window_of(p.peer) > 65535);
    close_pair(p);
}

static void test_path(void **state)
{
    (void)state;
    struct pair p = connect_pair(false);
    struct kb_tcp_path path;
    assert_true(kb_tcp_path(p.ours, &path));
    assert_int_equal(path.acked, 1); /* our SYN; an accepted socket has sent none of its own */
    assert_true(kb_tcp_path(p.peer, &path));
    assert_int_equal(path.acked, 0);
    carry(p, 100000);
    for (int i = 0; i < PATIENCE_MS && path.acked < 100000; i++) {
        assert_true(kb_tcp_path(p.peer, &path));
        if (path.acked < 100000)
            poll(NULL, 0, 1);
    }
    assert_int_equal(path.acked, 100000);
    assert_true(path.rtt_us > 0 && path.least_rtt_us > 0);
    close_pair(p);
}

static void test_other_sockets(void **state)
{
    (void)state;
    struct pair p;
    struct kb_tcp_path path;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    p = (struct pair){fds[0], fds[1]};
    kb_tcp_begin_small(p.ours);
    kb_tcp_set_window(p.ours, 8192);
    kb_tcp_set_window(p.ours, 0);
    assert_false(kb_tcp_path(p.ours, &path));
    carry(p, 1 << 20);
    close_pair(p);
    assert_false(kb_tcp_path(-1, &path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins_small),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_other_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
