/* OpenNebula's XML-RPC: calls as they are written, answers and machines as they are read, cut at
 * every byte, and XML that reaches beyond itself. */
#include "source/one_rpc.h"

#include "base/auto.h"
#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ANSWER(values)                                                                             \
    "<?xml version=\"1.0\"?>\r\n<methodResponse><params><param><value><array><data>" values        \
    "</data></array></value></param></params></methodResponse>"
#define GOOD                                                                                       \
    ANSWER("<value><boolean>1</boolean></value><value><string>&lt;VM&gt;&#13;</string></value>"    \
           "<value><i4>0</i4></value>")

static bool read_answer(const char *text, struct kb_one_answer *a)
{
    return kb_one_answer_read(text, strlen(text), a);
}

static void test_calls(void **state)
{
    (void)state;
    struct kb_secret body =
        kb_one_call("one.vm.info", "a:<b>&\x01 \"c\" \xc3\xbc", (const int[]){7, -2}, 2);
    assert_string_equal(
        kb_secret_text(&body),
        "<?xml version=\"1.0\"?><methodCall><methodName>one.vm.info</methodName><params>"
        "<param><value><string>a:&lt;b&gt;&amp; \"c\" \xc3\xbc</string></value></param>"
        "<param><value><i4>7</i4></value></param><param><value><i4>-2</i4></value></param>"
        "</params></methodCall>");
    kb_secret_finish(&body);
    body = kb_one_call("one.system.version", "a:b", NULL, 0);
    assert_non_null(strstr(kb_secret_text(&body), "</param></params>"));
    kb_secret_finish(&body);
}

static void test_answers(void **state)
{
    (void)state;
    struct kb_one_answer a;
    assert_true(read_answer(GOOD, &a));
    assert_true(a.ok && a.code == 0);
    assert_string_equal(kb_secret_text(&a.text), "<VM>\r");
    kb_one_answer_finish(&a);
    assert_true(read_answer(ANSWER("<value><boolean>0</boolean></value><value>untyped</value>"
                                   "<value><int>1024</int></value><value><i4>-1</i4></value>"),
                            &a));
    assert_true(!a.ok && a.code == KB_ONE_NO_EXISTS);
    assert_string_equal(kb_secret_text(&a.text), "untyped");
    kb_one_answer_finish(&a);
    assert_true(
        read_answer("<methodResponse><fault><value><struct><member><name>faultCode</name><value>"
                    "<int>-506</int></value></member><member><name>faultString</name><value>"
                    "<string>no</string></value></member></struct></value></fault>"
                    "</methodResponse>",
                    &a));
    assert_true(!a.ok && a.code == -506);
    assert_string_equal(kb_secret_text(&a.text), "no");
    kb_one_answer_finish(&a);
}

static void test_what_is_no_answer(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{}",
        "<html/>",
        "<methodResponse/>",
        ANSWER(""),
        ANSWER("<value><boolean>1</boolean></value>"),
        ANSWER("<value><string>1</string></value><value><string>x</string></value>"),
        "<methodResponse><fault/></methodResponse>",
        "<!DOCTYPE methodResponse>" GOOD,
        "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><methodResponse/>",
        GOOD "<more/>",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct kb_one_answer a;
        assert_false(read_answer(texts[i], &a));
        kb_one_answer_finish(&a);
    }
    for (size_t len = 0; len < strlen(GOOD); len++) {
        struct kb_one_answer a;
        kb_auto_free char *part = kb_printf("%.*s", (int)len, GOOD); /* ends where it ends */
        assert_false(kb_one_answer_read(part, len, &a));
        kb_one_answer_finish(&a);
    }
}

/* --- XML -------------------------------------------------------------------------------------- */

static bool parses(const char *text)
{
    kb_auto(kb_xml_finish) xmlDoc *doc = kb_xml_parse(text, strlen(text));
    return doc != NULL;
}

static void test_xml_that_reaches_out(void **state)
{
    (void)state;
    assert_true(parses("<a>&lt;!DOCTYPE a&gt;<![CDATA[<!DOCTYPE a>]]>&#65;</a>"));
    assert_false(parses("<!DOCTYPE a><a/>"));
    assert_false(parses("<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>"));
    assert_false(parses("<!DOCTYPE a [<!ENTITY % e SYSTEM \"file:///etc/passwd\"> %e;]><a/>"));
    assert_false(parses("<a>&nbsp;</a>"));
    assert_false(parses("<a/><a/>"));
    assert_false(parses("<a>\x01</a>"));
    kb_auto(kb_buf_finish) struct kb_buf deep = {0};
    for (int i = 0; i < 300; i++)
        kb_buf_add_str(&deep, "<a>");
    for (int i = 0; i < 300; i++)
        kb_buf_add_str(&deep, "</a>");
    assert_null(kb_xml_parse(deep.data, deep.len));
    /* An entity of its own, named in an inclusion: nothing is fetched. */
    kb_auto(kb_xml_finish) xmlDoc *doc = NULL;
    static const char inclusion[] = "<a xmlns:xi=\"http://www.w3.org/2001/XInclude\"><xi:include "
                                    "href=\"/etc/passwd\" parse=\"text\"/></a>";
    doc = kb_xml_parse(inclusion, strlen(inclusion));
    kb_auto_free char *text = kb_xml_text(kb_xml_root(doc, "a"));
    assert_string_equal(text, "");
}

static void test_xml_is_read(void **state)
{
    (void)state;
    static const char text[] = "<a><n>-7</n><n>8</n><big>9999999999999999999</big><x>7a</x><e/>"
                               "<t>a<![CDATA[<b>]]>c</t></a>";
    kb_auto(kb_xml_finish) xmlDoc *doc = kb_xml_parse(text, strlen(text));
    const xmlNode *a = kb_xml_root(doc, "a");
    assert_non_null(a);
    assert_null(kb_xml_root(doc, "b"));
    assert_int_equal(kb_xml_number_of(a, "n", -10, 10, 0), -7);
    assert_int_equal(kb_xml_number_of(a, "n", 0, 10, 3), 3);
    assert_int_equal(kb_xml_number_of(a, "big", 0, INT64_MAX, 3), 3);
    assert_int_equal(kb_xml_number_of(a, "x", 0, 10, 3), 3);
    assert_int_equal(kb_xml_number_of(a, "e", 0, 10, 3), 3);
    assert_int_equal(kb_xml_number_of(NULL, "n", 0, 10, 3), 3);
    assert_null(kb_xml_next(kb_xml_next(kb_xml_child(a, "n"), "n"), "n"));
    kb_auto_free char *t = kb_xml_text_of(a, "t"), *e = kb_xml_text_of(a, "e");
    assert_string_equal(t, "a<b>c");
    assert_string_equal(e, "");
    assert_null(kb_xml_text_of(a, "none"));
}

/* --- machines --------------------------------------------------------------------------------- */

#define VM(state, more)                                                                            \
    "<VM><ID>7</ID><UNAME>alice</UNAME><GNAME>users</GNAME><NAME><![CDATA[web]]></NAME>" state     \
    "<TEMPLATE><GRAPHICS>" more "</GRAPHICS></TEMPLATE><HISTORY_RECORDS><HISTORY><SEQ>1</SEQ>"     \
    "<HOSTNAME>new</HOSTNAME></HISTORY><HISTORY><SEQ>0</SEQ><HOSTNAME>old</HOSTNAME></HISTORY>"    \
    "</HISTORY_RECORDS></VM>"
#define RUNNING "<STATE>3</STATE><LCM_STATE>3</LCM_STATE>"
#define SPICE "<TYPE>spice</TYPE><PORT>5907</PORT><PASSWD><![CDATA[a&b]]></PASSWD>"

static struct kb_one_vm read_vm(const char *text)
{
    struct kb_one_vm v;
    kb_auto(kb_xml_finish) xmlDoc *doc = kb_xml_parse(text, strlen(text));
    kb_one_vm_read(kb_xml_root(doc, "VM"), &v);
    return v;
}

static void test_a_machine(void **state)
{
    (void)state;
    struct kb_one_vm v = read_vm(VM(RUNNING, SPICE "<LISTEN>0.0.0.0</LISTEN>"));
    const struct kb_console *c = v.console;
    assert_non_null(c);
    assert_string_equal(c->uuid, "7");
    assert_string_equal(c->name, "web");
    assert_string_equal(c->owner, "alice");
    assert_string_equal(c->project, "users");
    assert_string_equal(c->state, "RUNNING");
    assert_string_equal(c->hypervisor, "new");
    assert_null(c->hypervisor_ip);
    assert_int_equal(c->insecure_port, 5907);
    assert_string_equal(kb_secret_text(&v.ticket), "a&b");
    assert_false(v.unreachable);
    kb_one_vm_finish(&v);
}

static void test_listening(void **state)
{
    (void)state;
    static const struct {
        const char *text, *address;
        bool unreachable;
    } cases[] = {
        {VM(RUNNING, SPICE), NULL, false},
        {VM(RUNNING, SPICE "<LISTEN/>"), NULL, false},
        {VM(RUNNING, SPICE "<LISTEN>::</LISTEN>"), NULL, false},
        {VM(RUNNING, SPICE "<LISTEN>10.1.2.3</LISTEN>"), "10.1.2.3", false},
        {VM(RUNNING, SPICE "<LISTEN>127.0.0.1</LISTEN>"), NULL, true},
        {VM(RUNNING, SPICE "<LISTEN>::1</LISTEN>"), NULL, true},
        {VM(RUNNING, SPICE "<LISTEN>localhost</LISTEN>"), NULL, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kb_one_vm v = read_vm(cases[i].text);
        assert_non_null(v.console);
        assert_int_equal(v.unreachable, cases[i].unreachable);
        if (cases[i].address)
            assert_string_equal(v.console->hypervisor_ip, cases[i].address);
        else
            assert_null(v.console->hypervisor_ip);
        kb_one_vm_finish(&v);
    }
}

static void test_machines_without_a_display(void **state)
{
    (void)state;
    static const char *const texts[] = {
        VM("<STATE>8</STATE><LCM_STATE>0</LCM_STATE>", SPICE),
        VM("<STATE>8</STATE><LCM_STATE>3</LCM_STATE>", SPICE),
        VM("<STATE>3</STATE><LCM_STATE>2</LCM_STATE>", SPICE),
        VM("<STATE>3</STATE><LCM_STATE>13</LCM_STATE>", SPICE),
        VM("<STATE>3</STATE><LCM_STATE>9999</LCM_STATE>", SPICE),
        VM("<STATE>3</STATE>", SPICE),
        VM(RUNNING, "<TYPE>VNC</TYPE><PORT>5907</PORT>"),
        VM(RUNNING, "<TYPE>SPICE</TYPE>"),
        VM(RUNNING, "<TYPE>SPICE</TYPE><PORT>65536</PORT>"),
        VM(RUNNING, "<PORT>5907</PORT>"),
        "<VM><ID>7</ID>" RUNNING "<TEMPLATE><GRAPHICS>" SPICE "</GRAPHICS></TEMPLATE></VM>",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct kb_one_vm v = read_vm(texts[i]);
        assert_string_equal(v.id, "7");
        assert_null(v.console);
        kb_one_vm_finish(&v);
    }
    static const char *const none[] = {"<VM/>", "<VM><ID/></VM>", "<VM><ID>a</ID></VM>",
                                       "<VM><ID>1234567890123456789</ID></VM>", "<V/>"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        struct kb_one_vm v = read_vm(none[i]);
        assert_null(v.id);
        kb_one_vm_finish(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_what_is_no_answer),
        cmocka_unit_test(test_xml_that_reaches_out),
        cmocka_unit_test(test_xml_is_read),
        cmocka_unit_test(test_a_machine),
        cmocka_unit_test(test_listening),
        cmocka_unit_test(test_machines_without_a_display),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
