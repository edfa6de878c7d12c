/* The page's files: found by name, and asked about by tag. That they come whole and with which
 * headers is test_server.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/static.h"

#include <string.h>

static void test_find(void **state)
{
    (void)state;
    for (size_t i = 0; i < kb_static_file_count; i++) {
        const struct kb_static_file *file = &kb_static_files[i];
        assert_ptr_equal(kb_static_find(file->name), file);
        assert_true(file->size > 0);
        assert_int_equal(strlen(file->etag), 34);
        if (i > 0)
            assert_true(strcmp(file->name, kb_static_files[i - 1].name) > 0);
    }
    static const char *const none[] = {
        "", "index", "index.html2", "INDEX.HTML", "/index.html", "../index.html", "zzz"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(kb_static_find(none[i]));
    assert_string_equal(kb_static_find("app.js")->content_type, "text/javascript; charset=utf-8");
    assert_string_equal(kb_static_find("index.html")->content_type, "text/html; charset=utf-8");
}

static void test_is_fresh(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool fresh;
    } cases[] = {
        {"\"abc\"", true},
        {"W/\"abc\"", true},
        {"*", true},
        {"\"x\", \"abc\"", true},
        {"\"x\",W/\"y\" ,\t W/\"abc\"", true},
        {"\"a,b\", \"abc\"", true},
        {"\"abcd\"", false},
        {"\"ab\"", false},
        {"abc", false},
        {"\"x, \"abc", false},
        {"\"x,\"abc\"", false}, /* inside the quotes of another */
        {"", false},
        {" , ,", false},
        {"\"", false},
        {"W/", false},
        {NULL, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (kb_static_is_fresh(cases[i].header, "\"abc\"") != cases[i].fresh)
            fail_msg("If-None-Match: %s", cases[i].header ? cases[i].header : "(none)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_is_fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
