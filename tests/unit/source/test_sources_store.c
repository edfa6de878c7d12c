/* The sources thread with the real store: what is configured is what the store lists. */
#include "base/auto.h"
#include "base/mem.h"
#include "source/source.h"
#include "store/store.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

struct fixture {
    char folder[64];
    struct kb_store *store;
    struct kb_sources *sources;
};

static void start(struct fixture *f)
{
    char *error = NULL;
    f->store = kb_store_create("sqlite:kerbside.db", f->folder, "node-1", &error);
    if (!f->store)
        fail_msg("%s", error);
    f->sources = kb_sources_create(f->store);
}

static void stop(struct fixture *f)
{
    kb_sources_destroy(f->sources);
    kb_store_destroy(f->store);
}

static int setup(void **state)
{
    struct fixture *f = kb_zalloc(sizeof *f);
    assert_true(kb_secret_start());
    kb_copy_str(f->folder, sizeof f->folder, "/tmp/kerbside-test-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    start(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    stop(f);
    DIR *d = opendir(f->folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        kb_auto_free char *path = kb_printf("%s/%s", f->folder, e->d_name);
        remove(path); /* refuses . and .. */
    }
    if (d)
        closedir(d);
    rmdir(f->folder);
    free(f);
    return 0;
}

static void load(struct fixture *f, const char *name, size_t consoles)
{
    struct kb_source_config *c = kb_zalloc(sizeof *c);
    c->name = kb_strdup(name);
    c->type = kb_strdup("static");
    c->consoles = kb_calloc(consoles, sizeof *c->consoles);
    c->console_count = consoles;
    for (size_t i = 0; i < consoles; i++) {
        c->consoles[i].uuid = kb_printf("u%zu", i);
        c->consoles[i].hypervisor = kb_strdup("hv1");
        c->consoles[i].hypervisor_ip = kb_strdup("192.0.2.1");
        c->consoles[i].host_subject = kb_strdup("CN=hv1");
        c->consoles[i].insecure_port = 5900;
        c->consoles[i].secure_port = (uint16_t)(5901 + i);
        kb_secret_set(&c->consoles[i].ticket, "sesame");
    }
    kb_sources_load(f->sources, c, 1);
}

static void assert_consoles(struct fixture *f, const char *expected)
{
    struct kb_store_list_consoles call = {.call.verb = KB_STORE_LIST_CONSOLES, .limit = 1000};
    kb_auto(kb_buf_finish) struct kb_buf text = {0};
    assert_int_equal(kb_store_run(f->store, &call.call), KB_STORE_OK);
    for (size_t i = 0; i < call.count; i++)
        kb_buf_printf(&text, "%s/%s %s %s %s %u %u\n", call.rows[i].source, call.rows[i].uuid,
                      call.rows[i].name, call.rows[i].hypervisor_ip, call.rows[i].host_subject,
                      call.rows[i].insecure_port, call.rows[i].secure_port);
    kb_store_list_consoles_finish(&call);
    kb_auto_free char *found = kb_buf_steal(&text);
    assert_string_equal(found, expected);
}

static void test_store_follows(void **state)
{
    struct fixture *f = *state;
    load(f, "a", 2);
    assert_consoles(f, "a/u0 u0 192.0.2.1 CN=hv1 5900 5901\na/u1 u1 192.0.2.1 CN=hv1 5900 5902\n");
    load(f, "a", 1);
    assert_consoles(f, "a/u0 u0 192.0.2.1 CN=hv1 5900 5901\n");
    load(f, "b", 1);
    assert_consoles(f, "b/u0 u0 192.0.2.1 CN=hv1 5900 5901\n");
    kb_sources_load(f->sources, NULL, 0);
    assert_consoles(f, "");
}

/* A source that left the configuration while nobody ran. */
static void test_removed_while_stopped(void **state)
{
    struct fixture *f = *state;
    load(f, "a", 2);
    stop(f);
    start(f);
    load(f, "b", 1);
    assert_consoles(f, "b/u0 u0 192.0.2.1 CN=hv1 5900 5901\n");
}

/* One that fails at start keeps what the store remembers. */
static void test_failed_after_restart(void **state)
{
    struct fixture *f = *state;
    load(f, "a", 1);
    stop(f);
    start(f);
    struct kb_source_config *c = kb_zalloc(sizeof *c);
    c->name = kb_strdup("a");
    c->error = kb_strdup("broken");
    kb_sources_load(f->sources, c, 1);
    assert_consoles(f, "a/u0 u0 192.0.2.1 CN=hv1 5900 5901\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_follows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_removed_while_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_after_restart, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
