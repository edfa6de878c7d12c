/* Reading the fields of a body: what is refused, and what the refusal names. */
#include "http/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct body {
    const char *name, *password;
    bool flag;
    int64_t life, when;
    uint16_t port;
};

static json_t *kept; /* texts point into it */

static int drop_kept(void **state)
{
    (void)state;
    json_decref(kept);
    kept = NULL;
    return 0;
}

static bool read_body(const char *text, struct body *b, char problem[256])
{
    const struct kb_json_field fields[] = {
        {"name", KB_JSON_TEXT, true, 8, &b->name},
        {"password", KB_JSON_SECRET, false, 8, &b->password},
        {"flag", KB_JSON_BOOL, false, 0, &b->flag},
        {"life", KB_JSON_DURATION, false, 0, &b->life},
        {"when", KB_JSON_TIME, false, 0, &b->when},
        {"port", KB_JSON_PORT, false, 0, &b->port},
    };
    json_decref(kept);
    kept = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(kept);
    *b = (struct body){.life = 7, .when = 7, .flag = true};
    problem[0] = '\0';
    return kb_json_read(kept, fields, 6, problem, 256);
}

static void test_good(void **state)
{
    (void)state;
    struct body b;
    char problem[256];
    assert_true(read_body("{\"name\":\"a\",\"password\":\" x\\n\",\"flag\":false,\"life\":\"2m\","
                          "\"when\":\"1970-01-01T00:00:01Z\",\"port\":65535}",
                          &b, problem));
    assert_string_equal(b.name, "a");
    assert_string_equal(b.password, " x\n");
    assert_false(b.flag);
    assert_int_equal(b.life, 120000);
    assert_int_equal(b.when, 1000);
    assert_int_equal(b.port, 65535);
    assert_true(read_body("{\"name\":\"a\",\"flag\":null,\"life\":null}", &b, problem));
    assert_true(b.flag);
    assert_int_equal(b.life, 7);
    assert_null(b.password);
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {"[]", "object"},
        {"1", "object"},
        {"{}", "\"name\" is missing"},
        {"{\"name\":null}", "\"name\" is missing"},
        {"{\"name\":\"a\",\"nmae\":1}", "\"nmae\" is not a known field"},
        {"{\"name\":\"a\",\"a\\nb\":1}", "\"a\\u000ab\" is not a known field"},
        {"{\"name\":1}", "\"name\" must be a text"},
        {"{\"name\":\"\"}", "\"name\" is empty"},
        {"{\"name\":\"123456789\"}", "\"name\" is empty, too long"},
        {"{\"name\":\"a\\nb\"}", "\"name\""},
        {"{\"name\":\"a\",\"password\":\"\"}", "\"password\" is empty"},
        {"{\"name\":\"a\",\"password\":\"123456789\"}", "\"password\" is empty or too long"},
        {"{\"name\":\"a\",\"flag\":\"true\"}", "\"flag\" must be true or false"},
        {"{\"name\":\"a\",\"flag\":1}", "\"flag\" must be true or false"},
        {"{\"name\":\"a\",\"port\":0}", "\"port\" must be a port"},
        {"{\"name\":\"a\",\"port\":65536}", "\"port\" must be a port"},
        {"{\"name\":\"a\",\"port\":\"1\"}", "\"port\" must be a port"},
        {"{\"name\":\"a\",\"port\":1.0}", "\"port\" must be a port"},
        {"{\"name\":\"a\",\"life\":60}", "\"life\" must be a duration"},
        {"{\"name\":\"a\",\"life\":\"60\"}", "\"life\" must be a duration"},
        {"{\"name\":\"a\",\"when\":\"now\"}", "\"when\" must be a time"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct body b;
        char problem[256];
        if (read_body(cases[i].text, &b, problem))
            fail_msg("%s", cases[i].text);
        if (!strstr(problem, cases[i].problem))
            fail_msg("%s: %s", cases[i].text, problem);
    }
}

static void test_values(void **state)
{
    (void)state;
    json_t *j = json_pack("[o, o, o, o, o]", kb_json_text(NULL), kb_json_text("a\xff"),
                          kb_json_time(0), kb_json_time(1000), kb_json_duration(90000));
    char *text = json_dumps(j, JSON_COMPACT);
    assert_string_equal(text, "[null,\"a\xef\xbf\xbd\",null,\"1970-01-01T00:00:01.000Z\",\"90s\"]");
    free(text);
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, drop_kept);
}
