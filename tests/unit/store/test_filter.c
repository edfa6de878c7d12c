/* Lists of which the caller may see some rows only: pages neither repeat nor lose any, and a filter
 * that wants next to nothing does not hold the reading thread. */
#include "fixture.h"

static struct kb_store_sync_consoles consoles_of(size_t count)
{
    struct kb_console_row *rows = kb_calloc(count, sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        rows[i].uuid = kb_printf("u%05zu", i);
        rows[i].name = kb_printf("n%05zu", i / 3); /* some share a name */
        rows[i].owner = i % 7 ? NULL : kb_strdup("alice");
    }
    return (struct kb_store_sync_consoles){
        .call.verb = KB_STORE_SYNC_CONSOLES, .source = "lab", .rows = rows, .count = count};
}

static void finish(struct kb_store_sync_consoles *c)
{
    for (size_t i = 0; i < c->count; i++)
        kb_console_row_finish((struct kb_console_row *)(uintptr_t)&c->rows[i]);
    free((void *)(uintptr_t)c->rows);
}

static bool every(const void *who, const struct kb_store_place *p)
{
    const unsigned *n = who;
    return strtoul(p->uuid + 1, NULL, 10) % *n == 0;
}

static bool owned(const void *who, const struct kb_store_place *p)
{
    return p->owner && strcmp(p->owner, who) == 0;
}

/* The number of rows on all pages; every one must be wanted, and come after the one before. */
static unsigned walk(struct fixture *f, struct kb_store_filter filter, unsigned limit,
                     unsigned *pages)
{
    kb_auto_free char *after = NULL, *last = NULL;
    unsigned rows = 0;
    *pages = 0;
    do {
        struct kb_store_list_consoles c = {
            .call.verb = KB_STORE_LIST_CONSOLES, .after = after, .limit = limit, .filter = filter};
        assert_int_equal(RUN(f, c), KB_STORE_OK);
        assert_true(c.count <= limit);
        for (size_t i = 0; i < c.count; i++) {
            const struct kb_console_row *r = &c.rows[i];
            const struct kb_store_place p = {r->source, r->uuid, r->name, r->owner};
            assert_true(filter.wants(filter.who, &p));
            assert_true(!last || strcmp(last, r->uuid) < 0);
            free(last);
            last = kb_strdup(r->uuid);
        }
        rows += (unsigned)c.count;
        ++*pages;
        free(after);
        after = c.next;
        c.next = NULL;
        kb_store_list_consoles_finish(&c);
        assert_true(*pages < 1000);
    } while (after);
    return rows;
}

static void test_pages(void **state)
{
    struct fixture *f = *state;
    struct kb_store_sync_consoles c = consoles_of(100);
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    unsigned pages;
    for (unsigned n = 1; n <= 101; n += n < 5 ? 1 : 16)
        for (unsigned limit = 1; limit <= 120; limit += limit < 5 ? 1 : 23)
            assert_int_equal(walk(f, (struct kb_store_filter){every, &n}, limit, &pages),
                             (99 + n) / n);
    /* Exactly full: the last page says so. */
    unsigned n = 10;
    assert_int_equal(walk(f, (struct kb_store_filter){every, &n}, 10, &pages), 10);
    assert_in_range(pages, 1, 2);
    assert_int_equal(walk(f, (struct kb_store_filter){owned, "alice"}, 4, &pages), 15);
    assert_int_equal(walk(f, (struct kb_store_filter){owned, "bob"}, 4, &pages), 0);
    assert_int_equal(pages, 1);
    finish(&c);
}

static void test_reach(void **state)
{
    struct fixture *f = *state;
    struct kb_store_sync_consoles c = consoles_of(45000);
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    unsigned pages, n = 44999;
    assert_int_equal(walk(f, (struct kb_store_filter){every, &n}, 100, &pages), 2);
    assert_int_equal(pages, 3); /* none has looked at all of them */
    finish(&c);
}

static bool in_lab(const void *who, const struct kb_store_place *p)
{
    (void)who;
    return strcmp(p->source, "lab") == 0 && p->name && strcmp(p->name, "web1") == 0;
}

static void test_grants(void **state)
{
    struct fixture *f = *state;
    char mine[KB_ID_SIZE] = "", other[KB_ID_SIZE] = "";
    sync_one(f, "lab", "u1", "web1");
    sync_one(f, "far", "u1", "web1");
    for (int i = 0; i < 20; i++) {
        char token[8];
        snprintf(token, sizeof token, "t%d", i);
        struct kb_store_create_grant c = grant_call(token);
        c.source = i % 2 ? "lab" : "far";
        create_grant(f, c, i % 2 ? mine : other);
        test_now++;
    }
    const struct kb_store_filter filter = {in_lab, NULL};
    unsigned rows = 0;
    kb_auto_free char *after = NULL;
    do {
        struct kb_store_list_grants l = {
            .call.verb = KB_STORE_LIST_GRANTS, .after = after, .limit = 3, .filter = filter};
        assert_int_equal(RUN(f, l), KB_STORE_OK);
        for (size_t i = 0; i < l.count; i++) {
            assert_string_equal(l.rows[i].source, "lab");
            assert_string_equal(l.rows[i].console_name, "web1");
        }
        rows += (unsigned)l.count;
        free(after);
        after = l.next;
        l.next = NULL;
        kb_store_list_grants_finish(&l);
    } while (after);
    assert_int_equal(rows, 10);

    struct kb_store_revoke_grant r = {
        .call.verb = KB_STORE_REVOKE_GRANT, .id = other, .actor = "op", .filter = filter};
    assert_int_equal(RUN(f, r), KB_STORE_NOT_FOUND);
    assert_true(r.unwanted);
    assert_int_equal(count_events(f, "grant.revoked"), 0);
    r.id = mine;
    assert_int_equal(RUN(f, r), KB_STORE_OK);
    assert_false(r.unwanted);
    r.id = other;
    r.filter = (struct kb_store_filter){0};
    assert_int_equal(RUN(f, r), KB_STORE_OK); /* it was not revoked before */
}

static void test_audit(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 30; i++) {
        struct kb_audit_event e = {.event = "channel.opened", .time = test_now + i / 4};
        kb_copy_str(e.source, sizeof e.source, i % 3 ? "far" : "lab");
        kb_copy_str(e.console_name, sizeof e.console_name, "web1");
        kb_store_audit(f->store, &e);
    }
    struct kb_store_ping ping = {.call.verb = KB_STORE_PING};
    assert_int_equal(RUN(f, ping), KB_STORE_OK);
    unsigned rows = 0;
    uint64_t last = UINT64_MAX;
    kb_auto_free char *after = NULL;
    do {
        struct kb_store_list_audit l = {
            .call.verb = KB_STORE_LIST_AUDIT, .after = after, .limit = 3, .filter = {in_lab, NULL}};
        assert_int_equal(RUN(f, l), KB_STORE_OK);
        for (size_t i = 0; i < l.count; i++) {
            assert_string_equal(l.rows[i].source, "lab");
            assert_true(l.ids[i] < last);
            last = l.ids[i];
        }
        rows += (unsigned)l.count;
        free(after);
        after = l.next;
        l.next = NULL;
        kb_store_list_audit_finish(&l);
    } while (after);
    assert_int_equal(rows, 10);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(test_pages), TEST(test_reach), TEST(test_grants),
                                       TEST(test_audit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
