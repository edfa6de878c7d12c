/* The API's description against the table of routes, both ways: every route is described with
 * its parameters and with whether it needs a login, and nothing is described that there is no
 * route for. What the answers look like is held against the running daemon by the integration
 * tests. */
#include "http/openapi.h"
#include "http/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <strings.h>

static json_t *document;

static int load(void **state)
{
    (void)state;
    json_error_t error;
    document = json_loads(kb_openapi, JSON_REJECT_DUPLICATES, &error);
    if (!document)
        fprintf(stderr, "openapi.json: %s at byte %d\n", error.text, error.position);
    return document ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    json_decref(document);
    return 0;
}

static json_t *operation_of(const struct kb_route *route)
{
    char method[16] = "";
    for (size_t i = 0; route->method[i] && i < sizeof method - 1; i++)
        method[i] = (char)(route->method[i] | 0x20);
    return json_object_get(json_object_get(json_object_get(document, "paths"), route->pattern),
                           method);
}

static void test_every_route_is_described(void **state)
{
    (void)state;
    for (size_t i = 0; i < kb_route_count; i++) {
        json_t *operation = operation_of(&kb_routes[i]);
        if (!operation)
            fail_msg("openapi.json lacks %s %s", kb_routes[i].method, kb_routes[i].pattern);
        json_t *security = json_object_get(operation, "security");
        bool open = security && json_array_size(security) == 0;
        if (open != kb_routes[i].open)
            fail_msg("openapi.json has the wrong security for %s %s", kb_routes[i].method,
                     kb_routes[i].pattern);
    }
}

static bool has_route(const char *method, const char *pattern)
{
    for (size_t i = 0; i < kb_route_count; i++)
        if (strcasecmp(kb_routes[i].method, method) == 0 &&
            strcmp(kb_routes[i].pattern, pattern) == 0)
            return true;
    return false;
}

static void test_nothing_else_is_described(void **state)
{
    (void)state;
    const char *pattern, *method;
    json_t *path, *operation;
    json_object_foreach(json_object_get(document, "paths"), pattern, path)
    {
        json_object_foreach(path, method, operation)
        {
            if (!has_route(method, pattern))
                fail_msg("openapi.json describes %s %s, which there is not", method, pattern);
        }
    }
}

/* "#/components/parameters/limit" */
static const json_t *resolve(const json_t *o)
{
    const char *ref = json_string_value(json_object_get(o, "$ref"));
    if (!ref)
        return o;
    const json_t *at = document;
    char part[64];
    for (ref++; *ref == '/'; ref += strlen(part) + 1) {
        snprintf(part, sizeof part, "%.*s", (int)strcspn(ref + 1, "/"), ref + 1);
        at = json_object_get(at, part);
    }
    assert_non_null(at);
    return at;
}

/* The names of a pattern are exactly the operation's parameters of the path. */
static void test_parameters_of_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < kb_route_count; i++) {
        const struct kb_route *route = &kb_routes[i];
        json_t *parameters = json_object_get(operation_of(route), "parameters"), *value;
        size_t at, described = 0, named = 0;
        json_array_foreach(parameters, at, value)
        {
            const json_t *p = resolve(value);
            if (strcmp(json_string_value(json_object_get(p, "in")), "path") != 0)
                continue;
            described++;
            char name[64];
            snprintf(name, sizeof name, "{%s}", json_string_value(json_object_get(p, "name")));
            if (!strstr(route->pattern, name))
                fail_msg("%s has no %s", route->pattern, name);
        }
        for (const char *p = route->pattern; (p = strchr(p, '{')); p++)
            named++;
        if (named != described)
            fail_msg("%s %s: %zu parameters, %zu are described", route->method, route->pattern,
                     named, described);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_route_is_described),
        cmocka_unit_test(test_nothing_else_is_described),
        cmocka_unit_test(test_parameters_of_paths),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
