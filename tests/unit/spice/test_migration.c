/* What main says of a migration: read, cut at every byte, written, and told apart from the rest. */
#include "spice/migration.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { BEGIN = 101, SWITCH = 111, SEAMLESS = 116 };

static struct kb_buf make(uint16_t port, uint16_t tls_port, const char *host, size_t host_size,
                          uint32_t host_at, uint32_t version)
{
    struct kb_buf b = {0};
    kb_buf_add_u16(&b, port);
    kb_buf_add_u16(&b, tls_port);
    kb_buf_add_u32(&b, (uint32_t)host_size);
    kb_buf_add_u32(&b, host_at);
    kb_buf_add_u32(&b, 0);
    kb_buf_add_u32(&b, 0);
    kb_buf_add_u32(&b, version);
    kb_buf_add(&b, host, host_size);
    return b;
}

/* The same bytes in memory of their own, so that a sanitizer sees a read behind them. */
static bool read_copy(uint16_t type, const uint8_t *data, size_t len,
                      struct kb_migration_place *place)
{
    uint8_t *copy = malloc(len ? len : 1);
    if (len)
        memcpy(copy, data, len);
    bool ok = kb_migration_read(type, kb_span(copy, len), place);
    free(copy);
    return ok;
}

static void test_read(void **state)
{
    (void)state;
    struct kb_migration_place p;
    struct kb_buf b = make(5900, 5901, "hv2.example.org", 16, 24, 7);
    assert_true(read_copy(SEAMLESS, b.data, b.len, &p));
    assert_string_equal(p.host, "hv2.example.org");
    assert_int_equal(p.port, 5900);
    assert_int_equal(p.tls_port, 5901);
    assert_int_equal(p.version, 7);
    assert_true(read_copy(BEGIN, b.data, b.len, &p));
    assert_int_equal(p.version, 0);
    for (size_t len = 0; len < b.len; len++) {
        assert_false(read_copy(SEAMLESS, b.data, len, &p));
        assert_false(read_copy(SWITCH, b.data, len, &p));
    }
    kb_buf_finish(&b);
}

static void test_not_a_host(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        size_t size;
        uint32_t at;
    } rows[] = {
        {"", 0, 24},       {"", 1, 24},           {"host", 4, 24},
        {"host", 5, 25},   {"host", 5, ~0u - 2},  {"ho st", 6, 24},
        {"host\n", 6, 24}, {"/run/sock", 10, 24}, {"h\303\266st", 6, 24},
        {"a\0b", 4, 24},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kb_migration_place p;
        struct kb_buf b = make(5900, 0, rows[i].host, rows[i].size, rows[i].at, 1);
        assert_false(read_copy(SEAMLESS, b.data, b.len, &p));
        kb_buf_finish(&b);
    }
    char text[257];
    memset(text, 'a', sizeof text);
    text[256] = text[255] = '\0';
    for (size_t size = 256; size <= 257; size++) { /* with its NUL */
        struct kb_migration_place p;
        struct kb_buf b = make(5900, 0, text, size, 24, 1);
        assert_int_equal(read_copy(SEAMLESS, b.data, b.len, &p), size == 256);
        kb_buf_finish(&b);
    }
}

static void test_written(void **state)
{
    (void)state;
    struct kb_migration_place p;
    for (int with = 0; with < 2; with++) {
        const char *subject = with ? "CN=kerbside" : NULL;
        struct kb_buf b = {0};
        kb_migration_write(&b, "desktops.example.org", 0, 8443, subject);
        assert_true(kb_migration_read(SWITCH, kb_buf_span(&b), &p));
        assert_string_equal(p.host, "desktops.example.org");
        assert_int_equal(p.port, 0);
        assert_int_equal(p.tls_port, 8443);
        uint32_t size = kb_get_u32(b.data + 12), at = kb_get_u32(b.data + 16);
        assert_int_equal(size, with ? sizeof "CN=kerbside" : 0);
        assert_int_equal(b.len, 20 + sizeof "desktops.example.org" + size);
        if (with)
            assert_string_equal((const char *)b.data + at, subject);
        kb_buf_finish(&b);
    }
}

static bool is_one_of(unsigned type, const uint8_t *types)
{
    for (; *types; types++)
        if (*types == type)
            return true;
    return false;
}

static void test_which(void **state)
{
    (void)state;
    static const uint8_t types[KB_DIRECTIONS][2][8] = {
        [KB_FROM_CLIENT] = {{4, 5}, {4, 5, 102, 103, 109, 110, 111}},
        [KB_FROM_SERVER] = {{1, 2}, {1, 2, 101, 102, 111, 112, 116}},
    };
    for (unsigned channel = KB_CHANNEL_MAIN; channel < KB_CHANNEL_END; channel++)
        for (unsigned d = 0; d < KB_DIRECTIONS; d++)
            for (unsigned type = 0; type < 65536; type++)
                assert_int_equal(kb_migration_is(channel, (enum kb_direction)d, (uint16_t)type),
                                 is_one_of(type, types[d][channel == KB_CHANNEL_MAIN]));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_not_a_host),
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_which),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
