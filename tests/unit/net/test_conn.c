/* Connections over socket pairs and real TLS on one loop: bytes arrive whole and in order, whatever
 * the sizes; the queue drains; a closed connection delivers its last words; a connection survives a
 * move to another loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/secret.h"
#include "net/certificate.h"
#include "net/conn.h"
#include "net/tls_context.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

#define TOTAL (3u << 20)

static char dir[] = "/tmp/kb-test-conn-XXXXXX";
static SSL_CTX *server_ctx, *client_ctx;

/* One side: what it still has to send, and what came. */
struct side {
    struct kb_conn *conn;
    const uint8_t *data;
    size_t sent, size, piece; /* piece: how much to queue at once */
    uint8_t *received;
    size_t got, read_size;
    bool ready, failed, ended;
    struct kb_deferred step;
};

static void send_some(struct side *s)
{
    while (s->sent < s->size && kb_conn_backlog(s->conn) == 0) {
        size_t n = s->size - s->sent < s->piece ? s->size - s->sent : s->piece;
        kb_conn_queue(s->conn, kb_span(s->data + s->sent, n));
        s->sent += n;
        assert_true(kb_conn_flush(s->conn));
    }
}

static void on_ready(struct kb_conn *c)
{
    struct side *s = c->owner;
    s->ready = true;
    kb_conn_want_read(c, true);
    send_some(s);
}

static void on_readable(struct kb_conn *c)
{
    struct side *s = c->owner;
    for (;;) {
        size_t got;
        enum kb_io io = kb_conn_read(c, s->received + s->got, s->read_size, &got);
        if (io == KB_IO_END || io == KB_IO_ERROR) {
            s->ended = true;
            kb_conn_want_read(c, false);
            return;
        }
        if (io == KB_IO_AGAIN)
            return;
        s->got += got;
    }
}

static void on_drained(struct kb_conn *c)
{
    send_some(c->owner);
}

static void on_failed(struct kb_conn *c)
{
    ((struct side *)c->owner)->failed = true;
}

static const struct kb_conn_events events = {on_ready, on_readable, on_drained, on_failed};

static void connect_sides(struct kb_loop *l, struct side *a, struct side *b)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    a->conn = kb_conn_create(l, pair[0], &events, a);
    b->conn = kb_conn_create(l, pair[1], &events, b);
}

static void run_until(struct kb_loop *l, bool (*done)(const struct side *a, const struct side *b),
                      const struct side *a, const struct side *b)
{
    for (int i = 0; i < 100000 && !done(a, b); i++)
        uv_run(&l->uv, UV_RUN_ONCE);
    assert_true(done(a, b));
}

static bool all_there(const struct side *a, const struct side *b)
{
    return b->got == a->size && a->got == b->size;
}

static bool both_ready(const struct side *a, const struct side *b)
{
    return a->ready && b->ready;
}

static bool b_ended(const struct side *a, const struct side *b)
{
    (void)a;
    return b->ended;
}

static bool one_failed(const struct side *a, const struct side *b)
{
    return a->failed || b->failed;
}

static uint8_t *noise(size_t n)
{
    uint8_t *p = kb_zalloc(n);
    kb_random(p, n);
    return p;
}

static void exchange(bool tls, size_t piece, size_t read_size, size_t total)
{
    struct kb_loop *l = kb_loop_create(0);
    kb_auto_free uint8_t *x = noise(total), *y = noise(total / 3);
    struct side a = {.data = x, .size = total, .piece = piece, .read_size = read_size};
    struct side b = {.data = y, .size = total / 3, .piece = piece, .read_size = read_size};
    a.received = kb_zalloc(total + read_size);
    b.received = kb_zalloc(total + read_size);
    connect_sides(l, &a, &b);
    if (tls) {
        kb_conn_accept_tls(a.conn, server_ctx);
        kb_conn_connect_tls(b.conn, client_ctx, "localhost");
    } else {
        on_ready(a.conn);
        on_ready(b.conn);
    }
    run_until(l, all_there, &a, &b);
    assert_memory_equal(b.received, x, total);
    assert_memory_equal(a.received, y, total / 3);
    kb_conn_destroy(a.conn);
    kb_conn_destroy(b.conn);
    kb_loop_destroy(l);
    free(a.received);
    free(b.received);
}

/* A read that took all there was says so, and only such a one. */
static void empties(bool tls)
{
    struct kb_loop *l = kb_loop_create(0);
    kb_auto_free uint8_t *x = noise(TOTAL);
    struct side a = {.data = x, .piece = TOTAL}, b = {.read_size = KB_BLOCK_SIZE};
    b.received = kb_zalloc(TOTAL + KB_BLOCK_SIZE);
    a.received = kb_zalloc(KB_BLOCK_SIZE);
    a.read_size = KB_BLOCK_SIZE;
    connect_sides(l, &a, &b);
    if (tls) {
        kb_conn_accept_tls(a.conn, server_ctx);
        kb_conn_connect_tls(b.conn, client_ctx, "localhost");
        run_until(l, both_ready, &a, &b);
        for (int i = 0; i < 3; i++) /* session tickets */
            uv_run(&l->uv, UV_RUN_NOWAIT);
    }
    size_t got = 0;
    kb_conn_queue(a.conn, kb_span(x, 70000));
    assert_true(kb_conn_flush(a.conn));
    assert_int_equal(kb_conn_read(b.conn, b.received, 40000, &got), KB_IO_OK);
    assert_false(b.conn->emptied);
    size_t all = got;
    assert_int_equal(kb_conn_read(b.conn, b.received + all, KB_BLOCK_SIZE, &got), KB_IO_OK);
    assert_int_equal(all + got, 70000);
    assert_true(b.conn->emptied);
    assert_int_equal(kb_conn_read(b.conn, b.received, KB_BLOCK_SIZE, &got), KB_IO_AGAIN);
    assert_memory_equal(b.received, x, 70000);
    kb_conn_destroy(a.conn);
    kb_conn_destroy(b.conn);
    kb_loop_destroy(l);
    free(a.received);
    free(b.received);
}

static void test_emptied(void **state)
{
    (void)state;
    empties(false);
    empties(true);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        size_t piece, read_size, total;
    } cases[] = {
        {1, 1, 3000},          {100, 1, 30000},        {16384, 4096, TOTAL},
        {16385, 65536, TOTAL}, {65536, 65536, TOTAL},  {200000, 65536, TOTAL},
        {7, 65536, 200000},    {200000, 32768, TOTAL}, {100000, 20000, TOTAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        exchange(false, cases[i].piece, cases[i].read_size, cases[i].total);
        exchange(true, cases[i].piece, cases[i].read_size, cases[i].total);
    }
}

/* What is queued when a connection is closed still arrives, with the end behind it. */
static void last_words(bool tls)
{
    struct kb_loop *l = kb_loop_create(0);
    kb_auto_free uint8_t *x = noise(TOTAL);
    struct side a = {0}, b = {.read_size = 65536};
    b.received = kb_zalloc(TOTAL + 65536);
    a.received = kb_zalloc(65536);
    a.read_size = 65536;
    connect_sides(l, &a, &b);
    if (tls) {
        kb_conn_accept_tls(a.conn, server_ctx);
        kb_conn_connect_tls(b.conn, client_ctx, NULL);
        while (!a.ready || !b.ready)
            uv_run(&l->uv, UV_RUN_ONCE);
    } else {
        on_ready(b.conn);
    }
    kb_conn_queue(a.conn, kb_span(x, TOTAL));
    kb_conn_close(a.conn);
    run_until(l, b_ended, &a, &b);
    assert_int_equal(b.got, TOTAL);
    assert_memory_equal(b.received, x, TOTAL);
    kb_conn_destroy(b.conn);
    kb_loop_destroy(l);
    free(b.received);
    free(a.received);
}

static void test_last_words(void **state)
{
    (void)state;
    last_words(false);
    last_words(true);
}

static void test_untrusted(void **state)
{
    (void)state;
    char *error;
    SSL_CTX *other = kb_tls_client_get(NULL, &error); /* the system's roots do not know our CA */
    assert_non_null(other);
    struct kb_loop *l = kb_loop_create(0);
    struct side a = {0}, b = {0};
    connect_sides(l, &a, &b);
    kb_conn_accept_tls(a.conn, server_ctx);
    kb_conn_connect_tls(b.conn, other, "localhost");
    run_until(l, one_failed, &a, &b);
    assert_true(b.failed);
    assert_int_not_equal(b.conn->verify_result, X509_V_OK);
    assert_int_not_equal(b.conn->detail[0], '\0');
    kb_conn_destroy(a.conn);
    kb_conn_destroy(b.conn);
    kb_loop_destroy(l);
    SSL_CTX_free(other);
}

/* Half of the bytes before the move, half after it; TLS state and unread bytes come along. */
static void test_move(void **state)
{
    (void)state;
    struct kb_loop *l = kb_loop_create(0), *m = kb_loop_create(1);
    kb_auto_free uint8_t *x = noise(40000);
    struct side a = {.read_size = 100}, b = {.data = x, .size = 20000, .piece = 20000};
    a.received = kb_zalloc(200000);
    b.received = kb_zalloc(200000);
    b.read_size = 100;
    connect_sides(l, &a, &b);
    kb_conn_accept_tls(a.conn, server_ctx);
    kb_conn_connect_tls(b.conn, client_ctx, NULL);
    while (a.got < 6400)
        uv_run(&l->uv, UV_RUN_ONCE);
    kb_conn_want_read(a.conn, false);
    kb_conn_detach(a.conn);
    uv_run(&l->uv, UV_RUN_NOWAIT);
    kb_conn_attach(a.conn, m);
    kb_conn_want_read(a.conn, true);
    on_readable(a.conn);
    for (int i = 0; i < 1000 && a.got < 20000; i++) {
        uv_run(&l->uv, UV_RUN_NOWAIT);
        uv_run(&m->uv, UV_RUN_NOWAIT);
    }
    assert_int_equal(a.got, 20000);
    assert_memory_equal(a.received, x, 20000);
    kb_conn_destroy(a.conn);
    kb_conn_destroy(b.conn);
    kb_loop_destroy(m);
    kb_loop_destroy(l);
    free(a.received);
    free(b.received);
}

/* What was queued and the end arrive, and nothing lives on. */
static void test_hang_up(void **state)
{
    (void)state;
    struct kb_loop *l = kb_loop_create(0);
    uint8_t room[64];
    struct side a = {.read_size = 8, .received = room}, b = {.read_size = 8, .received = room};
    connect_sides(l, &a, &b);
    kb_conn_accept_tls(a.conn, server_ctx);
    kb_conn_connect_tls(b.conn, client_ctx, "localhost");
    run_until(l, both_ready, &a, &b);
    kb_conn_queue(a.conn, kb_span("bye", 3));
    kb_conn_hang_up(a.conn);
    run_until(l, b_ended, &a, &b);
    assert_int_equal(b.got, 3);
    kb_conn_destroy(b.conn);
    kb_loop_destroy(l); /* aborts if a's socket were still watched */
}

/* Two ends of a TCP connection; a unix socket knows no reset. */
static void connect_tcp(int pair[2])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    kb_auto_close int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(pair[0], (struct sockaddr *)&a, sizeof a), 0);
    pair[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(pair[1] >= 0);
}

/* When a turn's time for set-up is spent, set-up waits for the next turn and live channels do not;
 * a reset is told at once, because the poll tells of it once. */
static void test_spent(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        bool live = i == 1, reset = i == 2;
        struct kb_loop *l = kb_loop_create(0);
        uint8_t room[64];
        struct side s = {.received = room, .read_size = 8};
        int pair[2];
        connect_tcp(pair);
        s.conn = kb_conn_create(l, pair[1], &events, &s);
        s.conn->setup = !live;
        kb_conn_want_read(s.conn, true);
        if (reset)
            setsockopt(pair[0], SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
                       sizeof(struct linger));
        else
            assert_int_equal(send(pair[0], "hello", 5, 0), 5);
        if (reset)
            close(pair[0]);
        /* The prepare handle begins a turn, so the time is spent behind its back. */
        uv_prepare_stop(&l->before_poll);
        kb_loop_worked(l, KB_WORK_SETUP, KB_LOOP_SETUP_US);
        assert_true(kb_loop_is_spent(l));
        uv_run(&l->uv, UV_RUN_ONCE);
        assert_int_equal(s.got, live ? 5 : 0);
        assert_int_equal(s.ended, reset);
        if (!live && !reset) {
            l->setup_us = 0;
            uv_run(&l->uv, UV_RUN_ONCE);
            assert_int_equal(s.got, 5);
        }
        kb_conn_destroy(s.conn);
        if (!reset)
            close(pair[0]);
        kb_loop_destroy(l);
    }
}

/* The same of those that move much, and of those that have more to send than was taken. */
static void test_much(void **state)
{
    (void)state;
    enum { SMALL, READS_MUCH, HAS_BACKLOG, KINDS };
    for (int kind = 0; kind < KINDS; kind++) {
        struct kb_loop *l = kb_loop_create(0);
        kb_auto_free uint8_t *room = kb_zalloc(KB_BLOCK_SIZE), *data = kb_zalloc(TOTAL);
        struct side a = {.received = room, .read_size = KB_BLOCK_SIZE}, b = a;
        connect_sides(l, &a, &b);
        a.conn->setup = b.conn->setup = false;
        kb_loop_begin_turn(l);
        uv_prepare_stop(&l->before_poll); /* no other turn begins by itself */
        kb_conn_want_read(a.conn, true);
        size_t n = kind == READS_MUCH ? KB_BLOCK_SIZE / 2 : 5;
        kb_conn_queue(b.conn, kb_span(data, n));
        assert_true(kb_conn_flush(b.conn));
        uv_run(&l->uv, UV_RUN_ONCE);
        assert_int_equal(a.got, n);
        if (kind == HAS_BACKLOG) {
            kb_conn_queue(a.conn, kb_span(data, TOTAL));
            assert_true(kb_conn_flush(a.conn));
            assert_int_not_equal(kb_conn_backlog(a.conn), 0);
        }
        l->bulk_us = KB_LOOP_BULK_US;
        l->round++;
        a.got = 0;
        kb_conn_queue(b.conn, kb_span(data, 5));
        assert_true(kb_conn_flush(b.conn));
        uv_run(&l->uv, UV_RUN_ONCE);
        assert_int_equal(a.got, kind == SMALL ? 5 : 0);
        assert_int_equal(l->starved, kind != SMALL);
        kb_loop_begin_turn(l);
        if (kind != SMALL)
            uv_run(&l->uv, UV_RUN_ONCE);
        assert_int_equal(a.got, 5);
        kb_conn_destroy(a.conn);
        kb_conn_destroy(b.conn);
        kb_loop_destroy(l);
    }
}

/* Whatever the order in which the poll tells of them, and it is always the same, all have as many
 * goes. */
static void test_rounds(void **state)
{
    (void)state;
    static struct kb_loop l;
    unsigned gone[7] = {0}, goes[7] = {0};
    l.round = UINT_MAX - 20; /* it comes round */
    for (int turn = 0; turn < 200; turn++) {
        kb_loop_begin_turn(&l);
        for (int i = 0; i < 7; i++) {
            if (i == 6 && turn < 100)
                continue; /* comes later */
            if (kb_loop_bulk_may(&l, &gone[i])) {
                goes[i]++;
                l.bulk_us += KB_LOOP_BULK_US / 2 + 1; /* two a turn */
            }
        }
    }
    for (int i = 1; i < 6; i++)
        assert_in_range(goes[i] + 1, goes[0], goes[0] + 2);
    assert_in_range(goes[6], 20, 30);
    assert_in_range(goes[0] * 6 + goes[6], 350, 400); /* hardly a turn is lost */
}

static int set_up(void **state)
{
    (void)state;
    struct kb_certificate_files files;
    char *error = NULL;
    if (!kb_secret_start() || !mkdtemp(dir) ||
        !kb_certificate_ensure(dir, "localhost", &files, &error))
        return -1;
    server_ctx = kb_tls_server_create(files.certificate, files.key, &error);
    kb_auto_fclose FILE *f = fopen(files.ca, "re");
    char pem[8192] = "";
    if (!server_ctx || !f || fread(pem, 1, sizeof pem - 1, f) == 0)
        return -1;
    client_ctx = kb_tls_client_get(pem, &error);
    kb_certificate_files_finish(&files);
    return client_ctx ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    SSL_CTX_free(server_ctx);
    SSL_CTX_free(client_ctx);
    kb_tls_client_forget();
    static const char *const names[] = {"ca.pem", "ca-key.pem", "server.pem", "server-key.pem"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kb_auto_free char *path = kb_printf("%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
    alarm(120); /* a test that hangs is a test that fails */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),      cmocka_unit_test(test_emptied),
        cmocka_unit_test(test_last_words), cmocka_unit_test(test_untrusted),
        cmocka_unit_test(test_move),       cmocka_unit_test(test_spent),
        cmocka_unit_test(test_hang_up),    cmocka_unit_test(test_much),
        cmocka_unit_test(test_rounds),
    };
    return cmocka_run_group_tests_name("net/conn", tests, set_up, tear_down);
}
