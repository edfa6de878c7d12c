/* Consoles: taking over a source's list, hostile names, looking and paging. */
#include "fixture.h"

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static struct kb_store_sync_consoles sync_rows(struct fixture *f, const char *source,
                                               const struct kb_console_row *rows, size_t count)
{
    struct kb_store_sync_consoles c = {
        .call.verb = KB_STORE_SYNC_CONSOLES, .source = source, .rows = rows, .count = count};
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    return c;
}

static struct kb_store_get_console get(struct fixture *f, const char *source, const char *uuid)
{
    struct kb_store_get_console c = {
        .call.verb = KB_STORE_GET_CONSOLE, .source = source, .uuid = uuid};
    RUN(f, c);
    return c;
}

static void test_sync(void **state)
{
    struct fixture *f = *state;
    struct kb_console_row rows[] = {
        {.uuid = text("c"), .name = text("three"), .unix_socket = text("/run/c")},
        {.uuid = text("a"),
         .name = text("one"),
         .hypervisor = text("hv"),
         .hypervisor_ip = text("192.0.2.1"),
         .host_subject = text("CN=hv"),
         .insecure_port = 5900,
         .secure_port = 65535},
        {.uuid = text("b"), .name = text("two")},
    };
    struct kb_store_sync_consoles c = sync_rows(f, "lab", rows, 3);
    assert_int_equal(c.added, 3);
    assert_int_equal(c.changed + c.removed, 0);
    assert_int_equal(count_events(f, "console.added"), 3);

    struct kb_store_get_console g = get(f, "lab", "a");
    assert_int_equal(g.call.status, KB_STORE_OK);
    assert_string_equal(g.row.source, "lab");
    assert_string_equal(g.row.uuid, "a");
    assert_string_equal(g.row.name, "one");
    assert_string_equal(g.row.hypervisor, "hv");
    assert_string_equal(g.row.hypervisor_ip, "192.0.2.1");
    assert_string_equal(g.row.host_subject, "CN=hv");
    assert_null(g.row.unix_socket);
    assert_int_equal(g.row.insecure_port, 5900);
    assert_int_equal(g.row.secure_port, 65535);
    assert_int_equal(g.row.first_seen, test_now);
    assert_int_equal(g.row.last_seen, test_now);
    kb_console_row_finish(&g.row);

    /* Nothing changed: nothing is said, but it was seen. */
    int64_t first = test_now;
    test_now += 1000;
    c = sync_rows(f, "lab", rows, 3);
    assert_int_equal(c.added + c.changed + c.removed, 0);
    g = get(f, "lab", "a");
    assert_int_equal(g.row.first_seen, first);
    assert_int_equal(g.row.last_seen, test_now);
    kb_console_row_finish(&g.row);

    /* One changed, one gone, one new; another source is another world. */
    sync_one(f, "other", "b", "two");
    rows[1].name = text("ONE");
    rows[1].secure_port = 0;
    rows[2].uuid = text("d");
    c = sync_rows(f, "lab", rows, 3);
    assert_int_equal(c.added, 1);
    assert_int_equal(c.changed, 1);
    assert_int_equal(c.removed, 1);
    struct kb_audit_event e = only_event(f, "console.changed");
    assert_string_equal(e.console, "a");
    assert_string_equal(e.console_name, "ONE");
    assert_string_equal(e.detail, "name secure_port");
    e = only_event(f, "console.removed");
    assert_string_equal(e.console, "b");
    assert_string_equal(e.console_name, "two");
    assert_string_equal(e.source, "lab");
    assert_int_equal(get(f, "lab", "b").call.status, KB_STORE_NOT_FOUND);
    g = get(f, "other", "b");
    assert_int_equal(g.call.status, KB_STORE_OK);
    kb_console_row_finish(&g.row);

    c = sync_rows(f, "lab", NULL, 0);
    assert_int_equal(c.removed, 3);
}

static void test_retain_sources(void **state)
{
    struct fixture *f = *state;
    sync_one(f, "lab", "u1", "web1");
    sync_one(f, "old", "u2", "web2");
    sync_one(f, "older", "u3", "web3");
    struct kb_store_retain_sources c = {.call.verb = KB_STORE_RETAIN_SOURCES,
                                        .sources = (const char *[]){"lab", "new"},
                                        .count = 2};
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    assert_int_equal(c.removed, 2);
    assert_int_equal(count_events(f, "console.removed"), 2);
    assert_int_equal(get(f, "old", "u2").call.status, KB_STORE_NOT_FOUND);
    struct kb_store_get_console g = get(f, "lab", "u1");
    assert_int_equal(g.call.status, KB_STORE_OK);
    kb_console_row_finish(&g.row);
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    assert_int_equal(c.removed, 0);
}

static void assert_name(struct fixture *f, const char *uuid, const char *name)
{
    struct kb_store_get_console g = get(f, "lab", uuid);
    assert_int_equal(g.call.status, KB_STORE_OK);
    assert_string_equal(g.row.name, name);
    kb_console_row_finish(&g.row);
}

static void test_hostile_names(void **state)
{
    struct fixture *f = *state;
    static char long_uuid[KB_NAME_SIZE + 1];
    memset(long_uuid, 'x', KB_NAME_SIZE);
    const char *longest = long_uuid + 1; /* one less: just fits */
    struct kb_console_row rows[] = {
        {.uuid = text("quotes"), .name = text("'; DROP TABLE consoles; --\"\\")},
        {.uuid = text("lines"), .name = text("a\nb\r\nc\t[virt-viewer]\x01\x7f%s%n")},
        {.uuid = text("rtl"),
         .name = text("\xe2\x80\xae"
                      "gpj.exe \xd7\xa9\xd7\x9c")},
        {.uuid = text("bad"), .name = text("\xff caf\xe9 \xc0\xaf \xed\xa0\x80 \xf0\x9f")},
        {.uuid = text("x\xff"), .name = text("first")},
        {.uuid = text("x\xfe"), .name = text("the same once it is clean")},
        {.uuid = text(""), .name = text("no uuid")},
        {.uuid = NULL, .name = text("none at all")},
        {.uuid = text(long_uuid), .name = text("too long")},
        {.uuid = text(longest), .name = text("just fits")},
        {.uuid = text("no-name"), .name = NULL},
    };
    struct kb_store_sync_consoles c = sync_rows(f, "lab", rows, sizeof rows / sizeof *rows);
    assert_int_equal(c.added, 7);
    assert_name(f, "quotes", rows[0].name);
    assert_name(f, "lines", rows[1].name);
    assert_name(f, "rtl", rows[2].name);
#define R "\xef\xbf\xbd"
    assert_name(f, "bad", R " caf" R " " R R " " R R R " " R R);
    assert_name(f, "no-name", "");
    assert_name(f, longest, "just fits");
    /* Found by the bytes that were given, and by what they became. */
    struct kb_store_get_console a = get(f, "lab", "x\xff"), b = get(f, "lab", "x" R);
    assert_int_equal(a.call.status, KB_STORE_OK);
    assert_int_equal(b.call.status, KB_STORE_OK);
    kb_console_row_finish(&a.row);
    kb_console_row_finish(&b.row);
    assert_int_equal(get(f, "lab' OR '1'='1", "quotes").call.status, KB_STORE_NOT_FOUND);
    /* The same again is no change, whatever the bytes. */
    c = sync_rows(f, "lab", rows, sizeof rows / sizeof *rows);
    assert_int_equal(c.added + c.changed + c.removed, 0);
}

static void assert_found(struct fixture *f, const char *source, const char *q, const char *names)
{
    struct kb_store_list_consoles c = {
        .call.verb = KB_STORE_LIST_CONSOLES, .source = source, .q = q, .limit = 100};
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    kb_auto(kb_buf_finish) struct kb_buf found = {0};
    for (size_t i = 0; i < c.count; i++)
        kb_buf_printf(&found, "%s%s", i ? " " : "", c.rows[i].name);
    kb_auto_free char *joined = kb_buf_steal(&found);
    assert_string_equal(joined, names);
    assert_null(c.next);
    kb_store_list_consoles_finish(&c);
}

static void test_looking(void **state)
{
    struct fixture *f = *state;
    const struct kb_console_row rows[] = {
        {.uuid = text("1-ABC"), .name = text("Web1")},
        {.uuid = text("2"), .name = text("B\xc3\x9cRO")},
        {.uuid = text("3"), .name = text("100%")},
        {.uuid = text("4"), .name = text("web_2")},
    };
    sync_rows(f, "lab", rows, 4);
    sync_one(f, "other", "5", "web9");
    assert_found(f, NULL, NULL, "100% B\xc3\x9cRO Web1 web9 web_2");
    assert_found(f, NULL, "", "100% B\xc3\x9cRO Web1 web9 web_2");
    assert_found(f, "lab", NULL, "100% B\xc3\x9cRO Web1 web_2");
    assert_found(f, "nowhere", NULL, "");
    assert_found(f, NULL, "wEB", "Web1 web9 web_2");
    assert_found(f, "other", "wEB", "web9");
    assert_found(f, NULL, "b\xc3\xbcro", "B\xc3\x9cRO");
    assert_found(f, NULL, "1-abc", "Web1");
    /* No wildcards, no SQL. */
    assert_found(f, NULL, "%", "100%");
    assert_found(f, NULL, "_", "web_2");
    assert_found(f, NULL, "*", "");
    assert_found(f, NULL, "' OR 1=1 --", "");
    assert_found(f, NULL, "\xff", "");
}

static void test_pages(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 25 };
    struct kb_console_row rows[COUNT + 1];
    char names[COUNT + 1][16];
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "vm%02d", i / 2); /* names repeat */
        rows[i] = (struct kb_console_row){.uuid = kb_printf("u%02d", i), .name = names[i]};
    }
    sync_rows(f, "lab", rows, COUNT);
    int seen[COUNT] = {0};
    struct kb_store_list_consoles c = {.call.verb = KB_STORE_LIST_CONSOLES, .limit = 4};
    kb_auto_free char *next = NULL;
    int pages = 0;
    do {
        c.after = next;
        assert_int_equal(RUN(f, c), KB_STORE_OK);
        assert_int_equal(c.count, pages < COUNT / 4 ? 4 : COUNT % 4);
        for (size_t i = 0; i < c.count; i++)
            for (int k = 0; k < COUNT; k++)
                seen[k] += strcmp(c.rows[i].uuid, rows[k].uuid) == 0;
        free(next);
        next = kb_strdup(c.next);
        kb_store_list_consoles_finish(&c);
        if (pages++ == 2) { /* one that was shown goes, one comes before: nobody is skipped */
            rows[COUNT] = rows[0];
            rows[COUNT].uuid = text("new");
            rows[COUNT].name = text("aaa");
            sync_rows(f, "lab", rows + 1, COUNT);
        }
    } while (next);
    for (int k = 0; k < COUNT; k++)
        assert_int_equal(seen[k], 1);

    static const char *const bad[] = {"!", "AAA", "YQ", "YQBiAA", "YQBiAGMAZAA", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        c.after = bad[i];
        assert_int_equal(RUN(f, c), KB_STORE_NOT_FOUND);
        assert_int_equal(c.count, 0);
    }
    /* Limits are taken into 1..1000. */
    c.after = NULL;
    c.limit = 0;
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    assert_int_equal(c.count, 1);
    kb_store_list_consoles_finish(&c);
    c.limit = 4000000000u;
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    assert_int_equal(c.count, COUNT);
    kb_store_list_consoles_finish(&c);
    for (int i = 0; i < COUNT; i++)
        free(rows[i].uuid);
}

/* The uuids of the consoles that are listed, in a row; "*" after one that is in use. */
static void assert_listed(struct fixture *f, bool in_use, const char *wanted)
{
    struct kb_store_list_consoles c = {
        .call.verb = KB_STORE_LIST_CONSOLES, .in_use = in_use, .limit = 10};
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    char found[64] = "";
    for (size_t i = 0; i < c.count; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s%s ", c.rows[i].source,
                 c.rows[i].uuid, c.rows[i].in_use ? "*" : "");
    kb_store_list_consoles_finish(&c);
    assert_string_equal(found, wanted);
}

static void test_in_use(void **state)
{
    struct fixture *f = *state;
    sync_one(f, "lab", "u1", "a");
    sync_one(f, "off", "u1", "b");
    assert_listed(f, false, "labu1 offu1 ");
    create_grant(f, grant_call("token"), NULL);
    assert_listed(f, false, "labu1 offu1 "); /* a right is no session */
    struct kb_store_redeem_grant r = redeem(f, "token", "192.0.2.1");
    assert_int_equal(r.call.status, KB_STORE_OK);
    assert_listed(f, false, "labu1* offu1 ");
    assert_listed(f, true, "labu1* ");
    struct kb_store_get_console g = get(f, "lab", "u1");
    assert_true(g.row.in_use);
    kb_console_row_finish(&g.row);
    assert_int_equal(end_session(f, r.session.id), KB_STORE_OK);
    assert_listed(f, false, "labu1 offu1 ");
    assert_listed(f, true, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_sync),    TEST(test_retain_sources), TEST(test_hostile_names),
        TEST(test_looking), TEST(test_pages),          TEST(test_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
