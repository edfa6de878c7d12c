/* The pace against links that are computed: a bottleneck with a rate, a queue before it, and a path
 * of so many milliseconds. The hypervisor has always something to send, unless a test says not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proxy/pace.h"

#include <string.h>

#define TICK_US 1000
#define PAST 4096 /* ticks; longer than any path here */

struct link {
    struct kb_pace pace;
    uint64_t rate; /* bytes a second */
    unsigned path_ms;
    uint64_t tick, sent, served;
    uint64_t served_at[PAST]; /* by tick; acknowledged a path later */
    unsigned queue_ms_at[PAST];
    double rtt_ms, least_ms;
};

static struct kb_pace_facts facts_of(const struct link *l)
{
    uint64_t acked = l->tick >= l->path_ms ? l->served_at[(l->tick - l->path_ms) % PAST] : 0;
    return (struct kb_pace_facts){
        .now_us = 5000000 + l->tick * TICK_US,
        .acked = acked,
        .unacked = l->sent - acked,
        .rtt_us = (uint32_t)(l->rtt_ms * 1000),
        .least_rtt_us = (uint32_t)(l->least_ms * 1000),
    };
}

static void start(struct link *l, uint64_t rate, unsigned path_ms)
{
    memset(l, 0, sizeof *l);
    l->rate = rate;
    l->path_ms = path_ms;
    l->rtt_ms = l->least_ms = path_ms;
    struct kb_pace_facts f = facts_of(l);
    kb_pace_init(&l->pace, &f);
}

/* One millisecond; wants: the hypervisor has so much to send in it at most. */
static void tick(struct link *l, uint64_t wants)
{
    l->tick++;
    uint64_t can = l->served + l->rate * TICK_US / 1000000;
    l->served = can < l->sent ? can : l->sent;
    l->served_at[l->tick % PAST] = l->served;
    l->queue_ms_at[l->tick % PAST] = (unsigned)((l->sent - l->served) * 1000 / l->rate);
    if (l->tick > l->path_ms) { /* as TCP smooths, several acknowledgements a millisecond */
        double now = l->path_ms + l->queue_ms_at[(l->tick - l->path_ms) % PAST];
        l->rtt_ms += (now - l->rtt_ms) / 4;
    }
    /* As the gate does it: asks, sends what there is room for, and asks again if none is left. */
    for (uint64_t room = 1; wants && room;) {
        struct kb_pace_facts f = facts_of(l);
        if (f.unacked + wants >= l->pace.limit)
            kb_pace_update(&l->pace, &f);
        room = f.unacked < l->pace.limit ? l->pace.limit - f.unacked : 0;
        room = room < wants ? room : wants;
        l->sent += room;
        wants -= room;
    }
}

static void run(struct link *l, unsigned ms, uint64_t wants)
{
    for (unsigned i = 0; i < ms; i++)
        tick(l, wants);
}

/* Bytes a second over so many milliseconds. */
static uint64_t throughput(struct link *l, unsigned ms, uint64_t wants)
{
    uint64_t before = l->served;
    run(l, ms, wants);
    return (l->served - before) * 1000 / ms;
}

#define ALWAYS ((uint64_t)1 << 40)

static void assert_between(uint64_t value, double least, double most)
{
    if ((double)value < least || (double)value > most)
        fail_msg("%llu is not between %.0f and %.0f", (unsigned long long)value, least, most);
}

static const struct {
    uint64_t rate;
    unsigned path_ms;
} links[] = {
    {1250000, 80}, {6250000, 80}, {6250000, 20},  {500000, 150},
    {125000, 40},  {125000, 300}, {12500000, 10}, {125000000, 20},
};

/* The link is kept busy, and little more than its product is under way. */
static void test_links(void **state)
{
    (void)state;
    static struct link l;
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        start(&l, links[i].rate, links[i].path_ms);
        run(&l, 10000, ALWAYS);
        assert_true(l.pace.filled);
        double product = (double)links[i].rate * links[i].path_ms / 1000;
        double slack = (double)links[i].rate * 0.004;
        assert_between(l.pace.rate, (double)links[i].rate * 0.97, (double)links[i].rate * 1.05);
        if (links[i].rate >= 16000000) /* not felt */
            assert_between(l.pace.limit, 1 << 20, product * 1.35 + slack * 1.1);
        else if (product * 1.2 > 32768)
            assert_between(l.pace.limit, product * 1.2, product * 1.35 + slack * 1.1);
        else
            assert_between(l.pace.limit, 32768, 32768 + product);
        assert_between(throughput(&l, 10000, ALWAYS), (double)links[i].rate * 0.98,
                       (double)links[i].rate * 1.01);
    }
}

/* The queue that the limit itself makes does not become part of the path, however long it lasts. */
static void test_lasts(void **state)
{
    (void)state;
    static struct link l;
    start(&l, 1250000, 80);
    run(&l, 10000, ALWAYS);
    assert_between(throughput(&l, 300000, ALWAYS), 1250000 * 0.99, 1250000 * 1.01);
    assert_between(l.pace.limit, 0.7 * 100000, 1.4 * 100000);
}

/* A hypervisor with little to say, or with pauses, tells nothing of the link: what was learnt
 * stays. */
static void test_a_quiet_hypervisor(void **state)
{
    (void)state;
    static struct link l;
    start(&l, 1250000, 80);
    run(&l, 10000, ALWAYS);
    run(&l, 20000, 100); /* 100 KB/s */
    assert_between(l.pace.rate, 1250000 * 0.97, 1250000 * 1.05);
    for (int burst = 0; burst < 20; burst++) {
        run(&l, 30, 20000);
        run(&l, 970, 0);
    }
    assert_between(l.pace.rate, 1250000 * 0.9, 1250000 * 1.05);
    assert_between(l.pace.limit, 100000, 200000);
}

static void test_a_link_that_changes(void **state)
{
    (void)state;
    static struct link l;
    start(&l, 6250000, 40);
    run(&l, 5000, ALWAYS);
    l.rate = 1250000; /* slower: within a few round trips, queues and all */
    run(&l, 8000, ALWAYS);
    assert_between(l.pace.limit, 50000, 1250000 * 0.12);
    l.rate = 12500000; /* faster: it grows by a quarter a round */
    run(&l, 4000, ALWAYS);
    assert_between(throughput(&l, 1000, ALWAYS), 12500000 * 0.97, 12500000 * 1.01);
}

/* Another way through the world, twice as long; TCP's least still remembers the short one. */
static void test_a_path_that_grows(void **state)
{
    (void)state;
    static struct link l;
    start(&l, 1250000, 80);
    run(&l, 5000, ALWAYS);
    l.path_ms = 150;
    run(&l, 60000, ALWAYS);
    assert_between(throughput(&l, 10000, ALWAYS), 1250000 * 0.9, 1250000 * 1.01);
}

/* While nothing is known and while the rate still grows nobody is held up for long. */
static void test_the_beginning(void **state)
{
    (void)state;
    static struct link l;
    start(&l, 12500000, 80);
    assert_int_equal(l.pace.limit, 128 << 10);
    assert_int_equal(l.pace.rate, 0);
    assert_false(l.pace.filled);
    run(&l, 800, ALWAYS);
    assert_between(throughput(&l, 200, ALWAYS), 12500000 * 0.95, 12500000 * 1.01);
}

/* A rate that grows because the hypervisor's leg grows: believed without reaching the limit. */
static void test_growth_below_the_limit(void **state)
{
    (void)state;
    struct kb_pace p;
    struct kb_pace_facts f = {.now_us = 1, .unacked = 1000, .rtt_us = 1000, .least_rtt_us = 1000};
    kb_pace_init(&p, &f);
    for (int i = 0; i < 10; i++) {
        f.now_us += 10000;
        f.acked += (uint64_t)100000 << i;
        kb_pace_update(&p, &f);
        assert_int_equal(p.rate, (uint64_t)10000000 << i);
    }
    f.now_us += 10000;
    f.acked += 10;
    kb_pace_update(&p, &f);
    assert_int_equal(p.rate, (uint64_t)10000000 << 9);
    assert_false(p.filled);
}

/* A hypervisor that could send at the link's rate and comes late: its window grows, not for ever.
 * One that has little to say is left alone. */
static void test_a_narrow_leg(void **state)
{
    (void)state;
    static const struct {
        uint64_t rate; /* on a link with 1.25 MB/s */
        size_t factor;
    } rows[] = {{500000, 1}, {700000, 8}, {1200000, 8}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static struct link l;
        start(&l, 1250000, 80);
        run(&l, 10000, ALWAYS);
        size_t window = kb_pace_window(&l.pace, 100);
        assert_between(window, 5000, 5500);
        struct kb_pace_facts f = facts_of(&l);
        f.unacked = 10000;
        for (int round = 0; round < 100; round++) {
            f.now_us += 300000; /* longer than any round that could be a full one */
            f.acked += rows[i].rate * 3 / 10;
            kb_pace_update(&l.pace, &f);
        }
        assert_int_equal(kb_pace_window(&l.pace, 100), window * rows[i].factor);
    }
}

static void test_wait(void **state)
{
    (void)state;
    static const struct {
        uint64_t limit, rate, unacked, wait_us;
    } rows[] = {
        {160000, 1000000, 159999, 0},     {160000, 1000000, 160000, 10000},
        {160000, 1000000, 200000, 50000}, {160000, 10000000, 160000, 1000},
        {160000, 0, 159999, 0},           {160000, 0, 160000, 1000},
        {160000, 0, 99999999, 1000},      {32768, 1, 32768, 2048000000},
        {160000, 1000000000, 160000, 10},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kb_pace p = {.limit = rows[i].limit, .rate = rows[i].rate};
        assert_int_equal(kb_pace_wait_us(&p, rows[i].unacked), rows[i].wait_us);
    }
}

static void test_window(void **state)
{
    (void)state;
    static const struct {
        uint64_t rate;
        uint32_t server_rtt_us;
        size_t window;
    } rows[] = {
        {0, 0, 4096},          {0, 100000, 4096},         {1250000, 100, 5250},
        {6250000, 100, 26250}, {6250000, 1000, 37500},    {1250000, 20000, 55000},
        {125000000, 100, 0},   {1250000, 100000, 255000}, {15999999, 0, 63999},
        {1, 4000000000, 8000}, {125000, 100, 4096},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kb_pace p = {.rate = rows[i].rate};
        assert_int_equal(kb_pace_window(&p, rows[i].server_rtt_us), rows[i].window);
    }
}

/* Clocks that stand still and clients that acknowledge nothing: no division by zero, no limit of
 * nothing. */
static void test_odd_facts(void **state)
{
    (void)state;
    struct kb_pace p;
    struct kb_pace_facts f = {0};
    kb_pace_init(&p, &f);
    for (int i = 0; i < 1000; i++) {
        f.unacked = (uint64_t)i << 40;
        f.now_us += i % 3 ? 0 : 20000000;
        kb_pace_update(&p, &f);
        assert_true(p.limit >= 32768);
    }
    f.acked = UINT64_MAX / 2;
    f.rtt_us = f.least_rtt_us = UINT32_MAX;
    f.now_us += 1;
    kb_pace_update(&p, &f);
    assert_true(p.limit >= 32768);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_lasts),
        cmocka_unit_test(test_a_quiet_hypervisor),
        cmocka_unit_test(test_a_link_that_changes),
        cmocka_unit_test(test_a_path_that_grows),
        cmocka_unit_test(test_the_beginning),
        cmocka_unit_test(test_growth_below_the_limit),
        cmocka_unit_test(test_a_narrow_leg),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_odd_facts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
