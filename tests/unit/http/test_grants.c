/* What grants and exchanges give, as JSON and as the file that viewers read. */
#include "client.h"

#include <glib.h>

#define ACCEPT_VV "Accept: application/x-virt-viewer\r\n"

static GKeyFile *load_vv(const struct answer *a)
{
    assert_string_equal(header(a, "content-type"), "application/x-virt-viewer;charset=UTF-8");
    GKeyFile *k = g_key_file_new();
    GError *error = NULL;
    if (!g_key_file_load_from_data(k, a->body, a->body_len, G_KEY_FILE_NONE, &error))
        fail_msg("%s\n%s", error->message, a->body);
    return k;
}

static enum kb_store_status redeem(const char *token, enum kb_reason *reason)
{
    struct kb_store_redeem_grant c = {.call.verb = KB_STORE_REDEEM_GRANT,
                                      .token_hash = kb_hash_of(token, strlen(token)),
                                      .client_address = "192.0.2.1"};
    enum kb_store_status status = kb_store_run(room.store, &c.call);
    *reason = c.reason;
    return status;
}

static char *password_of(GKeyFile *k)
{
    char *password = g_key_file_get_string(k, "virt-viewer", "password", NULL);
    assert_int_equal(strlen(password), KB_TOKEN_SIZE - 1);
    return password;
}

static void test_grant_as_file(void **state)
{
    (void)state;
    char *headers = key_of("user");
    char *both = kb_printf("%s%s", headers, ACCEPT_VV);
    const struct answer *a = ask("POST", "/api/v1/consoles/lab/u-2/grants", both, NULL);
    assert_int_equal(a->status, 201);
    assert_memory_equal(header(a, "content-disposition"), "attachment; filename=\"", 22);
    GKeyFile *k = load_vv(a);
    gsize keys;
    g_strfreev(g_key_file_get_groups(k, &keys));
    assert_int_equal(keys, 1);
    char *host = g_key_file_get_string(k, "virt-viewer", "host", NULL);
    assert_string_equal(host, "desktops.example.org");
    g_free(host);
    char *password = password_of(k);
    enum kb_reason reason;
    assert_int_equal(redeem(password, &reason), KB_STORE_OK);
    g_free(password);
    g_key_file_free(k);
    check_error(ask("POST", "/api/v1/consoles/lab/u-9/grants", both, NULL), 404,
                "console_not_found");
    free(headers);
    free(both);
}

/* The path of the exchange URL of a fresh grant. */
static char *exchange_path(const char *body)
{
    const struct answer *a = ask_admin("POST", "/api/v1/consoles/lab/u-1/grants", body);
    assert_int_equal(a->status, 201);
    const char *url = text_at(a->json, "exchange_url");
    assert_string_equal(url, text_at(a->json, "vv_url"));
    assert_true(*text_at(a->json, "grant_id"));
    assert_memory_equal(url, "https://desktops.example.org:8443/vv/", 37);
    return kb_strdup(url + 33);
}

static void test_exchange(void **state)
{
    (void)state;
    char *path = exchange_path("{\"user\":\"erin\"}");
    /* Who only looks does not use it up. */
    const struct answer *a = ask("HEAD", path, NULL, NULL);
    assert_int_equal(a->status, 200);
    assert_int_equal(a->body_len, 0);
    a = ask("GET", path, "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n", NULL);
    assert_int_equal(a->status, 200);
    assert_non_null(strstr(a->body, "<form method=\"post\">"));
    assert_non_null(strstr(a->body, "desk &#60;1&#62;"));
    assert_null(strstr(a->body, "<script"));
    assert_int_equal(ask("GET", path, "Sec-Purpose: prefetch\r\n", NULL)->status, 200);
    assert_null(strstr(ask("GET", path, "Purpose: preview\r\n", NULL)->body, "password"));

    /* Extra parameters are tolerated. */
    char *with_title = kb_printf("%s?title=My%%20desk&language=de", path);
    a = ask("GET", with_title, "Accept: */*\r\n", NULL);
    assert_int_equal(a->status, 200);
    check_security_headers(a);
    GKeyFile *k = load_vv(a);
    char *password = password_of(k),
         *title = g_key_file_get_string(k, "virt-viewer", "title", NULL);
    assert_string_equal(title, "desk <1> - erin");
    enum kb_reason reason;
    assert_int_equal(redeem(password, &reason), KB_STORE_OK);
    assert_null(strstr(path, password)); /* two secrets, never one */
    g_free(password);
    g_free(title);
    g_key_file_free(k);

    check_error(ask("GET", path, NULL, NULL), 404, "token_used");
    check_error(ask("POST", path, NULL, NULL), 404, "token_used");
    a = ask("GET", path, "Accept: text/html\r\n", NULL);
    assert_int_equal(a->status, 404);
    assert_non_null(strstr(a->body, "<h1>"));
    assert_int_equal(ask("HEAD", path, NULL, NULL)->status, 404);
    check_error(ask("GET", "/vv/unknown.vv", NULL, NULL), 404, "token_unknown");
    free(path);
    free(with_title);
}

/* The button of the page posts, and gets the file. */
static void test_exchange_by_button(void **state)
{
    (void)state;
    char *path = exchange_path(NULL);
    const struct answer *a = ask("POST", path,
                                 "Accept: text/html,*/*\r\n"
                                 "Content-Type: application/x-www-form-urlencoded\r\n",
                                 "");
    assert_int_equal(a->status, 200);
    g_key_file_free(load_vv(a));
    free(path);
}

static void test_exchange_for_an_address(void **state)
{
    (void)state;
    char *path = exchange_path("{\"client_address\":\"::ffff:192.0.2.50\"}");
    check_error(ask_from("192.0.2.51", "GET", path, NULL, NULL), 403, "token_address");
    assert_int_equal(ask_from("192.0.2.50", "GET", path, NULL, NULL)->status, 200);
    free(path);
}

static void test_grant_wishes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"start_within\":\"0\"}",
        "{\"start_within\":60}",
        "{\"client_address\":\"nowhere\"}",
        "{\"policy\":\"none such\"}",
        "{\"reusable\":\"yes\"}",
        "{\"user\":\"a\\nb\"}",
        "{\"usr\":\"a\"}",
        "{\"max_session\":\"-1s\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_error(ask_admin("POST", "/api/v1/consoles/lab/u-1/grants", bad[i]), 422,
                    "invalid_field");
    static const char *const too_much[] = {"{\"user\":\"somebody\"}", "{\"start_within\":\"2m\"}",
                                           "{\"reusable\":true}"};
    char *user = key_of("user");
    for (size_t i = 0; i < sizeof too_much / sizeof *too_much; i++)
        check_error(ask("POST", "/api/v1/consoles/lab/u-1/grants", user, too_much[i]), 403,
                    "forbidden");
    assert_int_equal(ask("POST", "/api/v1/consoles/lab/u-1/grants", user,
                         "{\"start_within\":\"30s\",\"max_session\":\"1h\"}")
                         ->status,
                     201);
    char *auditor = key_of("auditor");
    check_error(ask("POST", "/api/v1/consoles/lab/u-1/grants", auditor, NULL), 403, "forbidden");
    free(user);
    free(auditor);
}

/* A broker sees and revokes its own grants, nobody else's. */
static void test_grants_of_brokers(void **state)
{
    (void)state;
    char *one = key_of("broker"), *two = key_of("broker"), *user = key_of("user");
    const struct answer *a =
        ask("POST", "/api/v1/consoles/lab/u-1/grants", one, "{\"user\":\"frank\"}");
    char *path = kb_printf("/api/v1/grants/%s", text_at(a->json, "grant_id"));
    char *exchange = kb_strdup(text_at(a->json, "exchange_url") + 33);
    a = ask("GET", "/api/v1/grants", one, NULL);
    assert_int_equal(json_array_size(json_object_get(a->json, "items")), 1);
    const json_t *grant = json_array_get(json_object_get(a->json, "items"), 0);
    assert_string_equal(text_at(grant, "user"), "frank");
    assert_string_equal(text_at(grant, "state"), "open");
    a = ask("GET", "/api/v1/grants", two, NULL);
    assert_int_equal(json_array_size(json_object_get(a->json, "items")), 0);
    check_error(ask("GET", "/api/v1/grants", user, NULL), 403, "forbidden");
    check_error(ask("DELETE", path, two, NULL), 404, "grant_not_found");
    assert_int_equal(ask("DELETE", path, one, NULL)->status, 204);
    check_error(ask("GET", exchange, NULL, NULL), 404, "token_revoked");
    a = ask("GET", "/api/v1/grants", one, NULL);
    grant = json_array_get(json_object_get(a->json, "items"), 0);
    assert_string_equal(text_at(grant, "state"), "revoked");
    free(one);
    free(two);
    free(user);
    free(path);
    free(exchange);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grant_as_file),      cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_exchange_by_button), cmocka_unit_test(test_exchange_for_an_address),
        cmocka_unit_test(test_grant_wishes),       cmocka_unit_test(test_grants_of_brokers),
    };
    return cmocka_run_group_tests(tests, room_open, room_close);
}
