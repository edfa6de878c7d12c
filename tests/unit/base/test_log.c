/* Log lines as they leave the process: a pipe is stderr, and what comes out of it is looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/log.h"

#include "base/auto.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static int true_stderr = -1, reading = -1;

static void capture(void)
{
    int ends[2];
    fflush(stderr);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    true_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    reading = ends[0];
}

/* All that was written, to its end: stderr is the terminal's again and the pipe has no writer. */
static char *captured(void)
{
    dup2(true_stderr, STDERR_FILENO);
    close(true_stderr);
    struct kb_buf all = {0};
    char part[4096];
    ssize_t n;
    while ((n = read(reading, part, sizeof part)) > 0)
        kb_buf_add(&all, part, (size_t)n);
    close(reading);
    return kb_buf_steal(&all);
}

static void log_some(void)
{
    kb_log(KB_LOG_INFO, "test.event", KB_STR("name", "web 1\n\"\xff"), KB_STR("absent", NULL),
           KB_STR("empty", ""), KB_STR("word", "plain"), KB_UINT("big", UINT64_MAX),
           KB_INT("small", INT64_MIN));
}

static void test_json(void **state)
{
    (void)state;
    capture();
    kb_log_start(KB_LOG_JSON, KB_LOG_INFO);
    log_some();
    kb_log_stop();
    kb_auto_free char *text = captured();
    const char *fields = strchr(text, ',');
    assert_int_equal(strncmp(text, "{\"time\":\"20", 11), 0);
    assert_string_equal(fields, ",\"level\":\"info\",\"event\":\"test.event\","
                                "\"name\":\"web 1\\u000a\\\"\xef\xbf\xbd\",\"empty\":\"\","
                                "\"word\":\"plain\",\"big\":18446744073709551615,"
                                "\"small\":-9223372036854775808}\n");
}

static void test_text(void **state)
{
    (void)state;
    capture();
    kb_log_start(KB_LOG_TEXT, KB_LOG_INFO);
    log_some();
    kb_log(KB_LOG_ERROR, "test.two", KB_STR("k", "a=b"));
    kb_log_stop();
    kb_auto_free char *text = captured();
    /* After the time; no colour, since a pipe is no terminal. */
    assert_string_equal(strchr(text, ' '), strstr(text, " info    test.event"));
    assert_non_null(strstr(text, " info    test.event name=\"web 1\\u000a\\\"\xef\xbf\xbd\""
                                 " empty=\"\" word=plain big=18446744073709551615"
                                 " small=-9223372036854775808\n"));
    assert_non_null(strstr(text, " error   test.two k=\"a=b\"\n"));
    assert_null(strchr(text, '\033'));
}

static void test_auto_is_json(void **state)
{
    (void)state;
    capture();
    kb_log_start(KB_LOG_AUTO, KB_LOG_INFO);
    log_some();
    kb_log_stop();
    kb_auto_free char *text = captured();
    assert_int_equal(text[0], '{');
}

static void test_levels(void **state)
{
    (void)state;
    capture();
    kb_log_start(KB_LOG_JSON, KB_LOG_WARNING);
    kb_log(KB_LOG_INFO, "hidden", KB_INT("n", 1));
    kb_log(KB_LOG_WARNING, "shown", KB_INT("n", 2));
    kb_log_set_level(KB_LOG_DEBUG);
    kb_log(KB_LOG_DEBUG, "deep", KB_INT("n", 3));
    kb_log_set_level(KB_LOG_ERROR);
    kb_log(KB_LOG_WARNING, "hidden", KB_INT("n", 4));
    kb_log_stop();
    kb_auto_free char *text = captured();
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, "shown"));
    assert_non_null(strstr(text, "\"level\":\"debug\",\"event\":\"deep\""));
}

/* Before the start and after the stop lines are written by their caller. */
static void test_without_writer(void **state)
{
    (void)state;
    capture();
    kb_log_set_level(KB_LOG_INFO);
    kb_log(KB_LOG_INFO, "after", KB_INT("n", 1));
    kb_auto_free char *text = captured();
    assert_non_null(strstr(text, "\"event\":\"after\""));
}

/* Lines of many threads come whole, and each thread's in order. */
enum { THREADS = 4, LINES = 500 };

static void *log_many(void *arg)
{
    const int *id = arg;
    for (int i = 0; i < LINES; i++)
        kb_log(KB_LOG_INFO, "many", KB_INT("thread", *id), KB_INT("line", i));
    return NULL;
}

struct drain {
    struct kb_buf all;
};

static void *drain_pipe(void *arg)
{
    struct drain *d = arg;
    char part[4096];
    ssize_t n;
    while ((n = read(reading, part, sizeof part)) > 0)
        kb_buf_add(&d->all, part, (size_t)n);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    uint64_t dropped = kb_log_dropped();
    capture();
    struct drain d = {0};
    pthread_t drainer, threads[THREADS];
    int ids[THREADS];
    assert_int_equal(pthread_create(&drainer, NULL, drain_pipe, &d), 0);
    kb_log_start(KB_LOG_JSON, KB_LOG_INFO);
    for (int i = 0; i < THREADS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, &ids[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    kb_log_stop();
    dup2(true_stderr, STDERR_FILENO); /* the pipe's last writer: the drainer sees the end */
    close(true_stderr);
    pthread_join(drainer, NULL);
    close(reading);
    assert_int_equal(kb_log_dropped(), dropped);
    kb_auto_free char *text = kb_buf_steal(&d.all);
    int next[THREADS] = {0}, lines = 0;
    for (const char *at = text; *at; lines++) {
        const char *fields = strstr(at, "\"event\":\"many\",\"thread\":");
        const char *end = strchr(at, '\n');
        assert_true(fields && end && fields < end);
        int thread, line;
        assert_int_equal(
            sscanf(fields, "\"event\":\"many\",\"thread\":%d,\"line\":%d}", &thread, &line), 2);
        assert_true(thread >= 0 && thread < THREADS);
        assert_int_equal(line, next[thread]);
        next[thread]++;
        at = end + 1;
    }
    assert_int_equal(lines, THREADS * LINES);
}

/* Nobody reads: the caller never waits, what does not fit is counted, and what was taken comes. */
static void test_full(void **state)
{
    (void)state;
    uint64_t dropped = kb_log_dropped();
    capture();
    kb_log_start(KB_LOG_JSON, KB_LOG_INFO);
    enum { MANY = 20000 };
    for (int i = 0; i < MANY; i++)
        kb_log(KB_LOG_INFO, "flood", KB_INT("n", i));
    dropped = kb_log_dropped() - dropped;
    assert_true(dropped > 0 && dropped < MANY);
    struct drain d = {0};
    pthread_t drainer;
    assert_int_equal(pthread_create(&drainer, NULL, drain_pipe, &d), 0);
    kb_log_stop();
    dup2(true_stderr, STDERR_FILENO);
    close(true_stderr);
    pthread_join(drainer, NULL);
    close(reading);
    kb_auto_free char *text = kb_buf_steal(&d.all);
    size_t lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines + dropped, MANY);
}

int main(void)
{
    /* The journal is what the test's own stderr may be; the pipe is not. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),           cmocka_unit_test(test_text),
        cmocka_unit_test(test_auto_is_json),   cmocka_unit_test(test_levels),
        cmocka_unit_test(test_without_writer), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
