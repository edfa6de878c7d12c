/* A console's record as JSON: what is taken, what is refused, and why. */
#include "source/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct kb_console *read_record(const char *text, bool local, const char **why)
{
    static char name[] = "inventory";
    struct kb_source_config config = {.name = name};
    json_t *record = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(record);
    struct kb_console *c = kb_record_read(&config, record, local, why);
    json_decref(record);
    return c;
}

static void test_whole(void **state)
{
    (void)state;
    const char *why;
    struct kb_console *c = read_record(
        "{\"uuid\": \"u\", \"name\": \"n\", \"project\": \"p\", \"owner\": \"o\", \"state\": "
        "\"up\","
        " \"hypervisor\": \"hv\", \"hypervisor_ip\": \"192.0.2.1\", \"insecure_port\": 5900,"
        " \"secure_port\": \"5901\", \"ticket\": \"t\", \"host_subject\": \"CN=hv\","
        " \"protocol\": \"spice\", \"more\": {}}",
        false, &why);
    assert_non_null(c);
    assert_string_equal(c->uuid, "u");
    assert_string_equal(c->name, "n");
    assert_string_equal(c->project, "p");
    assert_string_equal(c->owner, "o");
    assert_string_equal(c->state, "up");
    assert_string_equal(c->target->host, "192.0.2.1");
    assert_string_equal(c->target->tls_name, "hv");
    assert_int_equal(c->target->port, 5900);
    assert_int_equal(c->target->tls_port, 5901);
    assert_int_equal(c->target->tls, KB_TLS_REQUIRE);
    assert_string_equal(c->target->host_subject, "CN=hv");
    assert_string_equal(kb_secret_text(&c->target->ticket), "t");
    kb_console_destroy(c);
}

static void test_sockets_are_local(void **state)
{
    (void)state;
    const char *why;
    static const char text[] = "{\"uuid\": \"u\", \"unix_socket\": \"/s\"}";
    struct kb_console *c = read_record(text, true, &why);
    assert_non_null(c);
    assert_int_equal(c->target->transport, KB_TRANSPORT_UNIX);
    assert_int_equal(c->target->tls, KB_TLS_PLAIN);
    kb_console_destroy(c);
    assert_null(read_record(text, false, &why));
    assert_string_equal(why, "it names a unix_socket, which is this machine's alone to name");
}

static void test_refused(void **state)
{
    (void)state;
#define WAY "\"hypervisor_ip\": \"192.0.2.1\", \"insecure_port\": 1"
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"7", "it is no object"},
        {"null", "it is no object"},
        {"{}", "it has no uuid"},
        {"{\"uuid\": \"\", " WAY "}", "it has no uuid"},
        {"{\"uuid\": \"..\", " WAY "}", "its uuid is . or .."},
        {"{\"uuid\": \"a/b\", " WAY "}", "its uuid has a slash or a control character"},
        {"{\"uuid\": \"u\", \"insecure_port\": 1}",
         "it has neither hypervisor_ip, hypervisor nor unix_socket"},
        {"{\"uuid\": \"u\", \"hypervisor\": \"h\", \"insecure_port\": 65536}",
         "it has neither insecure_port, secure_port nor unix_socket"},
        {"{\"uuid\": \"u\", \"hypervisor\": \"h\", \"insecure_port\": \"5900x\"}",
         "it has neither insecure_port, secure_port nor unix_socket"},
        {"{\"uuid\": \"u\", \"protocol\": \"rdp\", " WAY "}",
         "its protocol is none of spice, vnc, serial"},
        {"{\"uuid\": \"u\", \"ticket\": "
         "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\", " WAY "}",
         "its ticket is longer than 59 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *why = NULL;
        assert_null(read_record(cases[i].text, false, &why));
        assert_string_equal(why, cases[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_sockets_are_local),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
