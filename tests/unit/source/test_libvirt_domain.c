/* libvirt's XML of domains: which graphics count, where they listen, whose they are, the element
 * with a password; cut at every byte. And URIs, and what they make of an address. */
#include "source/libvirt_domain.h"

#include "base/auto.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* As libvirt 9.0 writes it, without what does not matter. */
static const char whole[] =
    "<domain type='qemu' id='3'>\n"
    "  <name>desk</name>\n"
    "  <uuid>7c4f0a52-5d1c-4a86-9c53-2f6c1b9e7d11</uuid>\n"
    "  <metadata>\n"
    "    <other:console xmlns:other='urn:other' owner='mallory'/>\n"
    "    <kerbside:console xmlns:kerbside='urn:kerbside:1' owner='al&apos;ice'/>\n"
    "  </metadata>\n"
    "  <devices>\n"
    "    <graphics type='vnc' port='5902' autoport='yes' listen='127.0.0.1'/>\n"
    "    <graphics type='spice' port='5900' tlsPort='5901' autoport='yes' listen='10.0.0.7' "
    "passwd='*****' passwdValidTo='2026-01-01T00:00:00' connected='disconnect'>\n"
    "      <listen type='address' address='10.0.0.7'/>\n"
    "      <channel name='main' mode='secure'/>\n"
    "    </graphics>\n"
    "  </devices>\n"
    "</domain>\n";

static void test_whole(void **state)
{
    (void)state;
    struct kb_libvirt_domain d;
    assert_true(kb_libvirt_domain_read(whole, &d));
    assert_int_equal(d.protocol, KB_PROTOCOL_SPICE);
    assert_int_equal(d.index, 1);
    assert_false(d.local);
    assert_string_equal(d.address, "10.0.0.7");
    assert_int_equal(d.port, 5900);
    assert_int_equal(d.tls_port, 5901);
    assert_string_equal(d.owner, "al'ice");
    kb_libvirt_domain_finish(&d);
}

static void test_password(void **state)
{
    (void)state;
    struct kb_libvirt_domain d, again;
    assert_true(kb_libvirt_domain_read(whole, &d));
    assert_null(strstr(d.graphics, "passwd"));
    assert_null(strstr(d.graphics, "connected"));
    struct kb_secret xml = kb_libvirt_graphics(&d, "s3cret", 1800000000);
    assert_memory_equal(xml.text,
                        "<graphics passwd='s3cret' passwdValidTo='2027-01-15T08:00:00' "
                        "connected='keep' type=\"spice\" port=\"5900\"",
                        strlen("<graphics passwd='s3cret' passwdValidTo='2027-01-15T08:00:00' "
                               "connected='keep' type=\"spice\" port=\"5900\""));
    assert_non_null(strstr(xml.text, "<channel name=\"main\" mode=\"secure\"/>"));
    /* It is XML again, and says the same. */
    kb_auto_free char *domain = kb_printf("<domain><devices>%s</devices></domain>", xml.text);
    assert_true(kb_libvirt_domain_read(domain, &again));
    assert_string_equal(again.graphics, d.graphics);
    kb_libvirt_domain_finish(&again);
    kb_secret_finish(&xml);
    kb_libvirt_domain_finish(&d);
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *devices;
        bool found, local;
        enum kb_protocol protocol;
        uint16_t port, tls_port;
        const char *address;
    } rows[] = {
        {"", false},
        {"<video/>", false},
        {"<graphics type='sdl'/>", false},
        {"<graphics/>", false},
        {"<graphics type='spice' port='5900'/>", true, .port = 5900},
        {"<graphics type='spice' port='-1' tlsPort='5901' listen='::1'/>", true, .tls_port = 5901,
         .address = "::1"},
        {"<graphics type='spice' port='5900' listen='10.0.0.1'><listen type='network' "
         "address='10.0.0.2' network='default'/></graphics>",
         true, .port = 5900, .address = "10.0.0.2"},
        {"<graphics type='spice'><listen type='none'/></graphics>", true, .local = true},
        {"<graphics type='spice'><listen type='socket' socket='/run/x'/></graphics>", true,
         .local = true},
        {"<graphics type='spice' port='-1'/>", true, .local = true},
        {"<graphics type='spice' port='99999' tlsPort='0x10'/>", true, .local = true},
        {"<graphics type='spice' port='59oo' tlsPort='5901'/>", true, .tls_port = 5901},
        {"<graphics type='vnc' port='5902'/>", true, .port = 5902, .protocol = KB_PROTOCOL_VNC},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kb_libvirt_domain d;
        kb_auto_free char *xml =
            kb_printf("<domain><devices>%s</devices></domain>", rows[i].devices);
        assert_int_equal(kb_libvirt_domain_read(xml, &d), rows[i].found);
        if (rows[i].found) {
            assert_int_equal(d.protocol, rows[i].protocol);
            assert_int_equal(d.local, rows[i].local);
            assert_int_equal(d.port, rows[i].port);
            assert_int_equal(d.tls_port, rows[i].tls_port);
            assert_null(d.owner);
            if (rows[i].address)
                assert_string_equal(d.address, rows[i].address);
            else
                assert_null(d.address);
        }
        kb_libvirt_domain_finish(&d);
    }
}

static void test_not_a_domain(void **state)
{
    (void)state;
    static const char with_entity[] =
        "<!DOCTYPE domain [<!ENTITY a 'spice'>]>"
        "<domain><devices><graphics type='&a;' port='1'/></devices></domain>";
    static const char *const texts[] = {
        "",
        "no XML",
        "<network><devices><graphics type='spice' port='1'/></devices></network>",
        with_entity,
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct kb_libvirt_domain d;
        assert_false(kb_libvirt_domain_read(texts[i], &d));
        kb_libvirt_domain_finish(&d);
    }
    /* Cut anywhere it is none any more. */
    for (size_t len = 0; len < strlen(whole) - 1; len++) {
        struct kb_libvirt_domain d;
        kb_auto_free char *cut = kb_printf("%.*s", (int)len, whole);
        assert_false(kb_libvirt_domain_read(cut, &d));
        kb_libvirt_domain_finish(&d);
    }
}

static void test_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *host;
    } rows[] = {
        {"qemu:///system", NULL},
        {"qemu:///session?socket=/run/a@b/c", NULL},
        {"qemu+ssh://root@kvm1.example/system?keyfile=/etc/a@b", "kvm1.example"},
        {"qemu+tls://kvm1.example:16514/system", "kvm1.example"},
        {"qemu+tcp://[fd00::1]:16509/system", "fd00::1"},
        {"qemu+tcp://u@10.0.0.1", "10.0.0.1"},
        {"qemu+tcp://[fd00::1", "[fd00"}, /* libvirt refuses it */
        {"nonsense", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kb_auto_free char *host = kb_libvirt_host_of(rows[i].uri);
        if (rows[i].host)
            assert_string_equal(host, rows[i].host);
        else
            assert_null(host);
    }
}

static void test_what_is_dialled(void **state)
{
    (void)state;
    static const struct {
        const char *host, *address, *dialled;
    } rows[] = {
        {NULL, "127.0.0.1", "127.0.0.1"},
        {NULL, "0.0.0.0", "127.0.0.1"},
        {NULL, "::", "127.0.0.1"},
        {NULL, "10.0.0.1", "10.0.0.1"},
        {NULL, NULL, "127.0.0.1"},
        {"localhost", "127.0.0.1", "127.0.0.1"},
        {"127.0.0.5", "::1", "::1"},
        {"kvm1", "0.0.0.0", "kvm1"},
        {"kvm1", "::", "kvm1"},
        {"kvm1", NULL, "kvm1"},
        {"kvm1", "10.0.0.1", "10.0.0.1"},
        {"kvm1", "127.0.0.1", NULL},
        {"kvm1", "::1", NULL},
        {"kvm1", "localhost", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kb_auto_free char *dialled = kb_libvirt_dial(rows[i].host, rows[i].address);
        if (rows[i].dialled)
            assert_string_equal(dialled, rows[i].dialled);
        else
            assert_null(dialled);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole), cmocka_unit_test(test_password),
        cmocka_unit_test(test_forms), cmocka_unit_test(test_not_a_domain),
        cmocka_unit_test(test_hosts), cmocka_unit_test(test_what_is_dialled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
