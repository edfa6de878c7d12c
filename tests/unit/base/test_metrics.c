/* The metrics' text form, and counting from many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/auto.h"
#include "base/metrics.h"

#include <pthread.h>

static struct kb_family requests = {.name = "test_requests_total",
                                    .help = "Requests.",
                                    .kind = KB_COUNTER,
                                    .labels = {"route", "status"}};
static struct kb_family ratio = {
    .name = "test_ratio", .help = "A ratio.", .kind = KB_GAUGE, .scale = 1000};
static struct kb_family seconds = {
    .name = "test_a_seconds", .help = "Times.", .kind = KB_HISTOGRAM, .labels = {"call"}};

static char *render(void)
{
    struct kb_buf b = {0};
    kb_metrics_render(&b);
    return kb_buf_steal(&b);
}

static void assert_shows(const char *line)
{
    kb_auto_free char *text = render();
    if (!strstr(text, line))
        fail_msg("no \"%s\" in:\n%s", line, text);
}

static void test_counter(void **state)
{
    (void)state;
    struct kb_series *s = kb_metric(&requests, "/a", "200", NULL, NULL);
    assert_shows("# HELP test_requests_total Requests.\n# TYPE test_requests_total counter\n");
    assert_shows("test_requests_total{route=\"/a\",status=\"200\"} 0\n");
    kb_metric_add(s, 3);
    kb_metric_add(kb_metric(&requests, "/a", "404", NULL, NULL), 1);
    assert_ptr_equal(kb_metric(&requests, "/a", "200", NULL, NULL), s);
    assert_shows("test_requests_total{route=\"/a\",status=\"200\"} 3\n");
    assert_shows("test_requests_total{route=\"/a\",status=\"404\"} 1\n");
    /* Label values are escaped; a name with a newline cannot forge a line. */
    kb_metric(&requests, "a\"b\\c\nd 1", "x", NULL, NULL);
    assert_shows("test_requests_total{route=\"a\\\"b\\\\c\\nd 1\",status=\"x\"} 0\n");
}

static void test_gauge(void **state)
{
    (void)state;
    struct kb_series *s = kb_metric(&ratio, NULL, NULL, NULL, NULL);
    assert_shows("test_ratio 0\n");
    kb_metric_set(s, 250);
    assert_shows("test_ratio 0.25\n");
    kb_metric_add(s, -500);
    assert_shows("test_ratio -0.25\n");
}

static void test_histogram(void **state)
{
    (void)state;
    struct kb_series *s = kb_metric(&seconds, "x", NULL, NULL, NULL);
    kb_metric_observe(s, 0);
    kb_metric_observe(s, 500); /* a bound belongs to its bucket */
    kb_metric_observe(s, 501);
    kb_metric_observe(s, 20000000); /* beyond the last */
    assert_shows("# TYPE test_a_seconds histogram\n"
                 "test_a_seconds_bucket{call=\"x\",le=\"0.0005\"} 2\n"
                 "test_a_seconds_bucket{call=\"x\",le=\"0.001\"} 3\n");
    assert_shows("test_a_seconds_bucket{call=\"x\",le=\"10\"} 3\n"
                 "test_a_seconds_bucket{call=\"x\",le=\"+Inf\"} 4\n"
                 "test_a_seconds_sum{call=\"x\"} 20.001001\n"
                 "test_a_seconds_count{call=\"x\"} 4\n");
}

static void test_sorted(void **state)
{
    (void)state;
    kb_metric(&requests, "/a", "200", NULL, NULL);
    kb_metric(&ratio, NULL, NULL, NULL, NULL);
    kb_metric(&seconds, "x", NULL, NULL, NULL);
    kb_auto_free char *text = render();
    const char *a = strstr(text, "# HELP test_a_seconds"), *b = strstr(text, "# HELP test_ratio"),
               *c = strstr(text, "# HELP test_requests_total");
    assert_true(a && b && c && a < b && b < c);
}

static struct kb_family many = {
    .name = "test_many_total", .help = "Many.", .kind = KB_COUNTER, .labels = {"which"}};

static void *count(void *arg)
{
    (void)arg;
    static const char *const names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 20000; i++)
        kb_metric_add(kb_metric(&many, names[i % 4], NULL, NULL, NULL), 1);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < 50; i++) {
        kb_auto_free char *text = render(); /* a scrape in the middle of it all */
        assert_non_null(text);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_shows("test_many_total{which=\"a\"} 20000\n");
    assert_shows("test_many_total{which=\"d\"} 20000\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counter),   cmocka_unit_test(test_gauge),
        cmocka_unit_test(test_histogram), cmocka_unit_test(test_sorted),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
