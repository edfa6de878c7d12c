/* Leases of machines: who may take a name, for how long, and what cannot be a machine. */
#include "source/lease.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define SECOND UINT64_C(1000000)
#define HOUR_MS INT64_C(3600000)

static char source_name[] = "desks", source_type[] = "registered";
static const struct kb_source_config config = {.name = source_name, .type = source_type};

struct say {
    const char *name, *holder, *agent, *ip;
    uint16_t port;
    int64_t ms;
    const char *ticket;
};

static struct kb_source_lease ask_of(struct say s)
{
    struct kb_source_lease l = {
        .holder = s.holder ? s.holder : "apikey:a",
        .agent = s.agent ? s.agent : "one",
        .from = "192.0.2.7",
        .ms = s.ms ? s.ms : 10000,
        .machine.uuid = kb_strdup(s.name),
        .machine.hypervisor_ip = kb_strdup(s.ip),
        .machine.insecure_port = s.port ? s.port : 5900,
    };
    kb_secret_set(&l.machine.ticket, s.ticket);
    return l;
}

#define PUT(leases, now, ...) put(leases, now, (struct say){__VA_ARGS__})
static enum kb_lease_answer put(struct kb_leases *l, uint64_t now, struct say s)
{
    struct kb_source_lease ask = ask_of(s);
    kb_leases_put(l, &ask, true, HOUR_MS, now);
    kb_source_lease_finish(&ask);
    return ask.answer;
}

#define END(leases, ...) end(leases, (struct say){__VA_ARGS__})
static enum kb_lease_answer end(struct kb_leases *l, struct say s)
{
    struct kb_source_lease ask = ask_of(s);
    if (s.holder && !*s.holder)
        ask.holder = NULL;
    kb_leases_end(l, &ask);
    kb_source_lease_finish(&ask);
    return ask.answer;
}

/* The names that are listed, and when the next lease ends. */
static void assert_listed(struct kb_leases *l, uint64_t now, const char *names, uint64_t next)
{
    struct kb_console *map = NULL;
    assert_int_equal(kb_leases_list(l, &config, now, &map), next);
    char found[256] = "";
    for (struct kb_console *c = map; c; c = c->hh.next) {
        size_t len = strlen(found);
        snprintf(found + len, sizeof found - len, "%s%s", len ? " " : "", c->uuid);
    }
    assert_string_equal(found, names);
    kb_consoles_destroy(&map);
}

static void test_life(void **state)
{
    (void)state;
    struct kb_leases *l = kb_leases_create();
    assert_listed(l, 0, "", 0);
    assert_int_equal(PUT(l, SECOND, "a"), KB_LEASE_NEW);
    assert_int_equal(PUT(l, SECOND, "b", .ms = 20000), KB_LEASE_NEW);
    assert_listed(l, SECOND, "a b", 11 * SECOND);
    assert_int_equal(PUT(l, 5 * SECOND, "a"), KB_LEASE_RENEWED);
    assert_listed(l, 11 * SECOND, "a b", 15 * SECOND);
    assert_listed(l, 15 * SECOND - 1, "a b", 15 * SECOND);
    assert_listed(l, 15 * SECOND, "b", 21 * SECOND);
    assert_int_equal(PUT(l, 16 * SECOND, "a"), KB_LEASE_NEW);
    assert_int_equal(END(l, "b"), KB_LEASE_ENDED);
    assert_int_equal(END(l, "b"), KB_LEASE_NOT_THERE);
    assert_listed(l, 17 * SECOND, "a", 26 * SECOND);
    kb_leases_destroy(l);
}

/* What is listed changes when the machine says something else, its ticket included; not when it
 * merely renews. */
static void test_what_changes(void **state)
{
    (void)state;
    struct kb_leases *l = kb_leases_create();
    const struct {
        struct say say;
        bool changed;
    } turns[] = {
        {{"a", .ticket = "one"}, true},
        {{"a", .ticket = "one", .ms = 50000}, false},
        {{"a", .ticket = "two"}, true},
        {{"a", .ticket = "two", .port = 5901}, true},
        {{"a", .ticket = "two", .port = 5901, .ip = "192.0.2.7"}, false},
        {{"a", .port = 5901}, true},
        {{"a", .port = 5901}, false},
    };
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
        struct kb_source_lease ask = ask_of(turns[i].say);
        assert_int_equal(kb_leases_put(l, &ask, true, HOUR_MS, SECOND), turns[i].changed);
        kb_source_lease_finish(&ask);
    }
    struct kb_console *map = NULL;
    kb_leases_list(l, &config, SECOND, &map);
    assert_string_equal(map->target->host, "192.0.2.7");
    assert_int_equal(map->target->port, 5901);
    assert_string_equal(kb_secret_text(&map->target->ticket), "");
    kb_consoles_destroy(&map);
    kb_leases_destroy(l);
}

static void test_one_name_two_agents(void **state)
{
    (void)state;
    struct kb_leases *l = kb_leases_create();
    assert_int_equal(PUT(l, SECOND, "a"), KB_LEASE_NEW);
    assert_int_equal(PUT(l, SECOND, "a", .agent = "two"), KB_LEASE_TAKEN);
    assert_int_equal(PUT(l, SECOND, "a", .holder = "apikey:b"), KB_LEASE_TAKEN);
    assert_int_equal(END(l, "a", .agent = "two"), KB_LEASE_TAKEN);
    assert_int_equal(END(l, "a", .holder = "apikey:b"), KB_LEASE_TAKEN);
    assert_listed(l, SECOND, "a", 11 * SECOND);
    /* Who came too late gets it when the lease is over, also if nobody listed since. */
    assert_int_equal(PUT(l, 11 * SECOND, "a", .agent = "two"), KB_LEASE_NEW);
    assert_int_equal(PUT(l, 11 * SECOND, "a"), KB_LEASE_TAKEN);
    assert_int_equal(END(l, "a", .holder = "", .agent = ""), KB_LEASE_ENDED);
    kb_leases_destroy(l);
}

static void test_bounds(void **state)
{
    (void)state;
    struct kb_leases *l = kb_leases_create();
    static const struct {
        int64_t asked, given;
    } cases[] = {{1, KB_LEASE_MIN_MS},
                 {60000, 60000},
                 {HOUR_MS + 1, HOUR_MS},
                 {INT64_MAX, HOUR_MS},
                 {-5, KB_LEASE_MIN_MS}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kb_source_lease ask = ask_of((struct say){"a", .ms = cases[i].asked});
        kb_leases_put(l, &ask, true, HOUR_MS, SECOND);
        assert_int_equal(ask.granted, cases[i].given);
        kb_source_lease_finish(&ask);
    }
    for (unsigned i = 1; i < KB_LEASES_MAX; i++) {
        kb_auto_free char *name = kb_printf("m%u", i);
        assert_int_equal(PUT(l, SECOND, name), KB_LEASE_NEW);
    }
    assert_int_equal(PUT(l, SECOND, "more"), KB_LEASE_FULL);
    assert_int_equal(PUT(l, SECOND, "a"), KB_LEASE_RENEWED);
    assert_int_equal(END(l, "m1"), KB_LEASE_ENDED);
    assert_int_equal(PUT(l, SECOND, "more"), KB_LEASE_NEW);
    kb_leases_destroy(l);
}

static void test_refused(void **state)
{
    (void)state;
    struct kb_leases *l = kb_leases_create();
    static const struct {
        const char *name, *ip, *host;
        bool portless, any;
        enum kb_lease_answer answer;
    } cases[] = {
        {"a", "192.0.2.7", NULL, .answer = KB_LEASE_NEW},
        {"b", "::ffff:192.0.2.7", "b.example.org", .answer = KB_LEASE_NEW},
        {"c", "192.0.2.8", NULL, .answer = KB_LEASE_REFUSED},
        {"c", "192.0.2.8", NULL, .any = true, .answer = KB_LEASE_NEW},
        {"d", "c.example.org", NULL, .answer = KB_LEASE_REFUSED},
        {"d", "c.example.org", NULL, .any = true, .answer = KB_LEASE_NEW},
        {"e", "c example", NULL, .any = true, .answer = KB_LEASE_REFUSED},
        {"e", "", NULL, .any = true, .answer = KB_LEASE_REFUSED},
        {"e", NULL, "e/f", .answer = KB_LEASE_REFUSED},
        {"e", NULL, "e\n", .answer = KB_LEASE_REFUSED},
        {"e", .portless = true, .answer = KB_LEASE_REFUSED},
        {"", .answer = KB_LEASE_REFUSED},
        {"..", .answer = KB_LEASE_REFUSED},
        {"a/b", .answer = KB_LEASE_REFUSED},
        {"a\x01", .answer = KB_LEASE_REFUSED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kb_source_lease ask = ask_of((struct say){cases[i].name, .ip = cases[i].ip});
        ask.machine.hypervisor = kb_strdup(cases[i].host);
        if (cases[i].portless)
            ask.machine.insecure_port = 0;
        kb_leases_put(l, &ask, !cases[i].any, HOUR_MS, SECOND);
        if (ask.answer != cases[i].answer)
            fail_msg("case %zu: %d %s", i, (int)ask.answer, ask.why);
        assert_int_equal(*ask.why != '\0', ask.answer == KB_LEASE_REFUSED);
        kb_source_lease_finish(&ask);
    }
    kb_leases_destroy(l);
}

static void test_taken_over(void **state)
{
    (void)state;
    struct kb_leases *old = kb_leases_create(), *next = kb_leases_create();
    PUT(old, SECOND, "a", .ticket = "t");
    kb_leases_take(next, old);
    assert_listed(old, SECOND, "", 0);
    assert_listed(next, SECOND, "a", 11 * SECOND);
    kb_leases_destroy(old);
    assert_int_equal(PUT(next, 2 * SECOND, "a", .ticket = "t"), KB_LEASE_RENEWED);
    kb_leases_destroy(next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_what_changes),
        cmocka_unit_test(test_one_name_two_agents),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
