/* The .vv file: every one that is written is read back with GKeyFile, as remote-viewer does it. */
#include "http/vv_file.h"
#include "http/text.h"

#include <glib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *const hostile[] = {
    "plain",
    "two words",
    " spaces at both ends ",
    "",
    "a\nport=5900\n[virt-viewer]\nhost=evil.example",
    "a\r\nhost=evil.example",
    "a\r",
    "100% %d %s %n",
    "[virt-viewer]",
    "]]]",
    "# comment",
    "; comment",
    "a=b=c",
    "a;b\\;c;",
    "back\\slash\\n and \\s",
    "trailing backslash\\",
    "\"quotes\" 'and' `more`",
    "\xe2\x80\xaetxt.exe\xe2\x80\xac",
    "a\xe2\x80\xa8"
    "b\xe2\x80\xa9"
    "c",
    "a\xc2\x85"
    "b",
    "\xef\xbb\xbf[virt-viewer]",
    "\xff\xfe\x80 not UTF-8 \xc3",
    "J\xc3\xbcrgen \xe6\xa1\x8c\xe9\x9d\xa2 \xf0\x9f\x96\xa5",
    "tab\there, bell\a, escape\x1b[31m",
    "../../etc/passwd",
    "..",
    ".hidden",
    "C:\\windows\\con",
    "long long long long long long long long long long long long long long long long long long "
    "long "
    "long long long long long long long long long long long long long long long long long long end",
};

#define HOSTILE (sizeof hostile / sizeof *hostile)

static const char pem[] =
    "-----BEGIN CERTIFICATE-----\nMIIB\\+/=\nAAAA\n-----END CERTIFICATE-----\n";

static const struct kb_vv_file usual = {
    .host = "desktops.example.org",
    .tls_port = 8443,
    .password = "0123456789abcdefABCDEF-_0123456789abcdefABC",
    .title = "desktop",
    .ca_pem = pem,
    .host_subject = "O=Lab\\, Inc,CN=kerbside",
    .valid_until = 1700000000999,
    .usbredir = true,
    .smartcard = true,
};

static GKeyFile *load(const struct kb_vv_file *v)
{
    struct kb_buf b = {0};
    kb_vv_file_write(v, &b);
    GKeyFile *k = g_key_file_new();
    GError *error = NULL;
    if (!g_key_file_load_from_data(k, (const char *)b.data, b.len, G_KEY_FILE_NONE, &error))
        fail_msg("%s\n%.*s", error->message, (int)b.len, (const char *)b.data);
    kb_buf_finish(&b);
    return k;
}

static void check_text(GKeyFile *k, const char *key, const char *expected)
{
    GError *error = NULL;
    char *value = g_key_file_get_string(k, "virt-viewer", key, &error);
    if (!value)
        fail_msg("%s: %s", key, error->message);
    assert_string_equal(value, expected);
    g_free(value);
}

static void test_usual(void **state)
{
    (void)state;
    GKeyFile *k = load(&usual);
    check_text(k, "type", "spice");
    check_text(k, "host", usual.host);
    check_text(k, "tls-port", "8443");
    check_text(k, "password", usual.password);
    check_text(k, "title", "desktop");
    check_text(k, "ca", pem);
    check_text(k, "host-subject", usual.host_subject);
    check_text(k, "delete-this-file", "1");
    check_text(k, "ticket-valid-until", "1700000000");
    check_text(k, "toggle-fullscreen", "shift+f11");
    check_text(k, "release-cursor", "shift+f12");
    check_text(k, "secure-attention", "ctrl+alt+end");
    check_text(k, "enable-usbredir", "1");
    check_text(k, "enable-usb-autoshare", "0");
    check_text(k, "enable-smartcard", "1");
    gsize count;
    char **secure = g_key_file_get_string_list(k, "virt-viewer", "secure-channels", &count, NULL);
    assert_int_equal(count, 10);
    assert_true(g_strv_contains((const char *const *)secure, "main"));
    assert_true(g_strv_contains((const char *const *)secure, "webdav"));
    g_strfreev(secure);
    static const char *const absent[] = {"port", "usb-filter", "disable-channels", "proxy"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        assert_false(g_key_file_has_key(k, "virt-viewer", absent[i], NULL));
    g_key_file_free(k);
}

static void test_options(void **state)
{
    (void)state;
    struct kb_vv_file v = usual;
    v.plain_port = 5900;
    v.ca_pem = v.host_subject = NULL;
    v.valid_until = 0;
    v.usb_filter = "-1,-1,-1,-1,0";
    v.disable_channels = "usbredir;record;";
    GKeyFile *k = load(&v);
    check_text(k, "port", "5900");
    check_text(k, "usb-filter", "-1,-1,-1,-1,0");
    check_text(k, "disable-channels", "usbredir;record;");
    assert_false(g_key_file_has_key(k, "virt-viewer", "ca", NULL));
    assert_false(g_key_file_has_key(k, "virt-viewer", "host-subject", NULL));
    assert_false(g_key_file_has_key(k, "virt-viewer", "ticket-valid-until", NULL));
    g_key_file_free(k);
}

/* A CA that came with the line ends of another system is the same CA. */
static void test_ca_line_ends(void **state)
{
    (void)state;
    struct kb_vv_file v = usual;
    v.ca_pem = "-----BEGIN CERTIFICATE-----\r\nAAAA\r\n-----END CERTIFICATE-----\r\n";
    GKeyFile *k = load(&v);
    check_text(k, "ca", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    g_key_file_free(k);
}

/* No name changes any key but its own, or adds one. */
static void test_hostile_names(void **state)
{
    (void)state;
    gsize usual_keys;
    GKeyFile *k = load(&usual);
    g_strfreev(g_key_file_get_keys(k, "virt-viewer", &usual_keys, NULL));
    g_key_file_free(k);
    for (size_t i = 0; i < HOSTILE; i++) {
        struct kb_vv_file v = usual;
        v.title = hostile[i];
        k = load(&v);
        gsize groups, keys;
        g_strfreev(g_key_file_get_groups(k, &groups));
        g_strfreev(g_key_file_get_keys(k, "virt-viewer", &keys, NULL));
        assert_int_equal(groups, 1);
        assert_int_equal(keys, usual_keys);
        check_text(k, "host", usual.host);
        check_text(k, "password", usual.password);
        check_text(k, "ca", pem);
        char *title = g_key_file_get_string(k, "virt-viewer", "title", NULL);
        assert_non_null(title);
        assert_true(g_utf8_validate(title, -1, NULL));
        assert_null(strchr(title, '%'));
        assert_true(strlen(title) <= 160);
        for (const char *at = title; *at;)
            assert_false(kb_text_is_hidden(kb_utf8_next(&at)));
        g_free(title);
        g_key_file_free(k);
    }
}

/* What is harmless stays as it is, spaces at the ends too. */
static void test_titles_are_kept(void **state)
{
    (void)state;
    static const char *const kept[] = {"two words",
                                       " spaces at both ends ",
                                       "a;b\\;c;",
                                       "back\\slash\\n and \\s",
                                       "trailing backslash\\",
                                       "a=b=c",
                                       "J\xc3\xbcrgen \xe6\xa1\x8c\xe9\x9d\xa2 \xf0\x9f\x96\xa5"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        struct kb_vv_file v = usual;
        v.title = kept[i];
        GKeyFile *k = load(&v);
        check_text(k, "title", kept[i]);
        g_key_file_free(k);
    }
}

static void check_disposition(const char *name, const char *expected)
{
    struct kb_buf b = {0};
    kb_vv_disposition(name, &b);
    kb_buf_add(&b, "", 1);
    assert_string_equal((char *)b.data, expected);
    kb_buf_finish(&b);
}

static void test_disposition(void **state)
{
    (void)state;
    check_disposition("desk 1", "attachment; filename=\"desk 1.vv\"");
    check_disposition("", "attachment; filename=\"console.vv\"");
    check_disposition("..", "attachment; filename=\"console.vv\"");
    check_disposition("../../etc/passwd", "attachment; filename=\"_.._etc_passwd.vv\"");
    check_disposition("a\"b;c", "attachment; filename=\"a_b_c.vv\"; filename*=UTF-8''a_b%3Bc.vv");
    check_disposition("J\xc3\xbcrgen 1",
                      "attachment; filename=\"J_rgen 1.vv\"; filename*=UTF-8''J%C3%BCrgen%201.vv");
    check_disposition("a\r\nSet-Cookie: x", "attachment; filename=\"aSet-Cookie_ x.vv\"");
    for (size_t i = 0; i < HOSTILE; i++) {
        struct kb_buf b = {0};
        kb_vv_disposition(hostile[i], &b);
        for (size_t k = 0; k < b.len; k++)
            assert_in_range(b.data[k], 0x20, 0x7e);
        assert_null(memchr(b.data, '/', b.len));
        assert_null(memchr(b.data, '\\', b.len));
        kb_buf_finish(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usual),           cmocka_unit_test(test_options),
        cmocka_unit_test(test_ca_line_ends),    cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_titles_are_kept), cmocka_unit_test(test_disposition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
