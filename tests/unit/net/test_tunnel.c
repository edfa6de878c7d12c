/* What is said to an HTTP proxy and what it answers, by table and cut at every byte. */
#include "net/tunnel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void test_request(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        const char *line; /* NULL: no host */
    } cases[] = {
        {"hv1", "CONNECT hv1:61000 HTTP/1.0\r\nHost: hv1:61000\r\n\r\n"},
        {"2001:db8::1",
         "CONNECT [2001:db8::1]:61000 HTTP/1.0\r\nHost: [2001:db8::1]:61000\r\n\r\n"},
        {"pvespiceproxy:6aaf3e30:100:pve1:61000::00ff",
         "CONNECT pvespiceproxy:6aaf3e30:100:pve1:61000::00ff:61000 HTTP/1.0\r\n"
         "Host: pvespiceproxy:6aaf3e30:100:pve1:61000::00ff:61000\r\n\r\n"},
        {"", NULL},
        {"a b", NULL},
        {"a\r\nX: y", NULL},
        {"a\tb", NULL},
        {"b\xc3\xbcro", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kb_buf out = {0};
        bool ok = kb_tunnel_request(&out, cases[i].host, 61000);
        assert_int_equal(ok, cases[i].line != NULL);
        if (ok) {
            assert_int_equal(out.len, strlen(cases[i].line));
            assert_memory_equal(out.data, cases[i].line, out.len);
        }
        kb_buf_finish(&out);
    }
}

static void test_answer(void **state)
{
    (void)state;
    static const struct {
        const char *said;
        enum kb_tunnel is;
        size_t behind; /* bytes that are the tunnel's */
        const char *why;
    } cases[] = {
        {"HTTP/1.0 200 OK\r\n\r\n", KB_TUNNEL_OPEN, 0, ""},
        {"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nREDQ", KB_TUNNEL_OPEN, 4, ""},
        {"HTTP/1.0 204 \n\nab", KB_TUNNEL_OPEN, 2, ""},
        {"HTTP/1.0 401 invalid ticket\r\nContent-Length: 0\r\n\r\n", KB_TUNNEL_REFUSED, 0,
         "status 401 invalid ticket"},
        {"HTTP/1.0 302 Found\r\nLocation: http://x/\r\n\r\n", KB_TUNNEL_REFUSED, 0,
         "status 302 Found"},
        {"HTTP/1.0 100 Continue\r\n\r\n", KB_TUNNEL_REFUSED, 0, "status 100 Continue"},
        {"HTTP/1.0 500 a\x1b[31mb\r\n\r\n", KB_TUNNEL_REFUSED, 0, "status 500 a"},
        {"HTTP/1.0 2x0 OK\r\n\r\n", KB_TUNNEL_REFUSED, 0, "its answer is no HTTP"},
        {"HTTP/1.\r\n\r\n", KB_TUNNEL_REFUSED, 0, "its answer is no HTTP"},
        {"HTTP/1.0 200", KB_TUNNEL_MORE, 0, ""},
        {"", KB_TUNNEL_MORE, 0, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t all = strlen(cases[i].said), len = 0;
        char why[128] = "";
        struct kb_span said = kb_span((const uint8_t *)cases[i].said, all);
        assert_int_equal(kb_tunnel_answer(said, &len, why), cases[i].is);
        assert_string_equal(why, cases[i].why);
        if (cases[i].is == KB_TUNNEL_OPEN)
            assert_int_equal(len, all - cases[i].behind);
        /* Cut anywhere before its end it is not decided, whatever it will be. */
        for (size_t n = 0; cases[i].is != KB_TUNNEL_MORE && n < all - cases[i].behind; n++)
            assert_int_equal(kb_tunnel_answer(kb_span(said.data, n), &len, why), KB_TUNNEL_MORE);
    }
}

static void test_not_a_proxy(void **state)
{
    (void)state;
    static const char *const cases[] = {"S", "HTTP/2", "REDQ\2\0\0\0", "<html>", "HTTPS"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = 0;
        char why[128] = "";
        struct kb_span said = kb_span((const uint8_t *)cases[i], strlen(cases[i]));
        assert_int_equal(kb_tunnel_answer(said, &len, why), KB_TUNNEL_REFUSED);
        assert_string_equal(why, "it is no HTTP proxy");
    }
}

static void test_no_end(void **state)
{
    (void)state;
    static char said[KB_TUNNEL_ANSWER_MAX] = "HTTP/1.0 200 OK\r\n";
    memset(said + 17, 'x', sizeof said - 17);
    size_t len = 0;
    char why[128] = "";
    struct kb_span almost = kb_span((const uint8_t *)said, sizeof said - 1);
    assert_int_equal(kb_tunnel_answer(almost, &len, why), KB_TUNNEL_MORE);
    struct kb_span all = kb_span((const uint8_t *)said, sizeof said);
    assert_int_equal(kb_tunnel_answer(all, &len, why), KB_TUNNEL_REFUSED);
    assert_string_equal(why, "its answer has no end");
    /* Words as long as the line may be. */
    memcpy(said, "HTTP/1.0 500 xxxx", 17);
    memcpy(said + sizeof said - 4, "\r\n\r\n", 4);
    assert_int_equal(kb_tunnel_answer(all, &len, why), KB_TUNNEL_REFUSED);
    assert_int_equal(strlen(why), 127);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_not_a_proxy),
        cmocka_unit_test(test_no_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
