/* The sources thread with a store made of this file: loading, reloading, failing, opening. */
#include "base/auto.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "source/source.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* --- a store that remembers what it was told -------------------------------------------------- */

/* Written by the sources thread; read by the test after a call that waits for that thread. */
static struct {
    struct kb_buf calls, events;
    bool broken;
} store;

enum kb_store_status kb_store_run(struct kb_store *s, struct kb_store_call *call)
{
    (void)s;
    if (call->verb == KB_STORE_SYNC_CONSOLES) {
        struct kb_store_sync_consoles *c = (struct kb_store_sync_consoles *)call;
        kb_buf_printf(&store.calls, "sync %s:", c->source);
        for (size_t i = 0; i < c->count; i++)
            kb_buf_printf(&store.calls, " %s=%s", c->rows[i].uuid, c->rows[i].name);
        kb_buf_add_str(&store.calls, "\n");
    } else if (call->verb == KB_STORE_RETAIN_SOURCES) {
        struct kb_store_retain_sources *c = (struct kb_store_retain_sources *)call;
        kb_buf_add_str(&store.calls, "retain");
        for (size_t i = 0; i < c->count; i++)
            kb_buf_printf(&store.calls, " %s", c->sources[i]);
        kb_buf_add_str(&store.calls, "\n");
    } else {
        kb_buf_printf(&store.calls, "call %d\n", (int)call->verb);
    }
    return store.broken ? KB_STORE_FAILED : KB_STORE_OK;
}

void kb_store_audit(struct kb_store *s, const struct kb_audit_event *e)
{
    (void)s;
    kb_buf_printf(&store.events, "%s %s %s %s\n", e->event, e->source, e->reason, e->detail);
}

static void assert_text(struct kb_buf *b, const char *expected)
{
    kb_buf_add(b, "", 1);
    assert_string_equal((const char *)b->data, expected);
    b->len = 0;
}

/* --- the thread that asks --------------------------------------------------------------------- */

struct fixture {
    struct kb_sources *sources;
    struct kb_worker loop; /* stands for a data loop */
};

static int setup(void **state)
{
    struct fixture *f = kb_zalloc(sizeof *f);
    assert_true(kb_secret_start());
    kb_worker_init(&f->loop);
    kb_worker_start(&f->loop, "loop");
    f->sources = kb_sources_create(NULL);
    store.broken = false;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    kb_sources_destroy(f->sources);
    kb_worker_stop(&f->loop);
    kb_buf_finish(&store.calls);
    kb_buf_finish(&store.events);
    free(f);
    return 0;
}

struct asked {
    struct kb_source_open open;
    struct kb_latch latch;
};

static void opened(struct kb_source_open *o)
{
    kb_latch_count_down(&((struct asked *)o)->latch);
}

static enum kb_reason open_console(struct fixture *f, const char *source, const char *uuid,
                                   struct kb_target **target)
{
    struct asked a = {.open = {.reply_to = &f->loop.box, .done = opened}};
    kb_copy_str(a.open.source, sizeof a.open.source, source);
    kb_copy_str(a.open.uuid, sizeof a.open.uuid, uuid);
    kb_latch_init(&a.latch, 1);
    kb_source_open(f->sources, &a.open);
    kb_latch_wait(&a.latch);
    assert_int_equal(a.open.target != NULL, a.open.reason == KB_REASON_NONE);
    *target = a.open.target;
    return a.open.reason;
}

struct moved {
    struct kb_source_move move;
    struct kb_latch latch;
};

static void moved(struct kb_source_move *m)
{
    kb_latch_count_down(&((struct moved *)m)->latch);
}

/* NULL: refused. */
static struct kb_target *move_console(struct fixture *f, struct kb_target *from, const char *host,
                                      uint16_t port, uint16_t tls_port, enum kb_reason reason)
{
    struct moved m = {.move = {.reply_to = &f->loop.box, .done = moved}};
    kb_copy_str(m.move.source, sizeof m.move.source, from->source);
    kb_copy_str(m.move.uuid, sizeof m.move.uuid, from->uuid);
    kb_copy_str(m.move.host, sizeof m.move.host, host);
    m.move.port = port;
    m.move.tls_port = tls_port;
    m.move.from = from;
    kb_latch_init(&m.latch, 1);
    kb_source_move(f->sources, &m.move);
    kb_latch_wait(&m.latch);
    assert_string_equal(kb_reason_name(m.move.reason), kb_reason_name(reason));
    assert_int_equal(m.move.target != NULL, reason == KB_REASON_NONE);
    return m.move.target;
}

static void assert_open(struct fixture *f, const char *source, const char *uuid,
                        enum kb_reason reason)
{
    struct kb_target *t;
    assert_string_equal(kb_reason_name(open_console(f, source, uuid, &t)), kb_reason_name(reason));
    kb_target_unref(t);
}

/* --- configurations --------------------------------------------------------------------------- */

static struct kb_source_config source_of(const char *name, size_t consoles)
{
    struct kb_source_config c = {
        .name = kb_strdup(name),
        .type = kb_strdup("static"),
        .consoles = kb_calloc(consoles, sizeof(struct kb_static_console)),
        .console_count = consoles,
    };
    for (size_t i = 0; i < consoles; i++) {
        c.consoles[i].uuid = kb_printf("u%zu", i);
        c.consoles[i].name = kb_printf("n%zu", i);
        c.consoles[i].hypervisor_ip = kb_strdup("192.0.2.1");
        c.consoles[i].insecure_port = 5900;
    }
    return c;
}

static struct kb_source_config bad_source(const char *name, const char *error)
{
    return (struct kb_source_config){.name = kb_strdup(name), .error = kb_strdup(error)};
}

static void load(struct fixture *f, size_t count, ...)
{
    struct kb_source_config *configs = kb_calloc(count, sizeof *configs);
    va_list args;
    va_start(args, count);
    for (size_t i = 0; i < count; i++)
        configs[i] = va_arg(args, struct kb_source_config);
    va_end(args);
    kb_sources_load(f->sources, configs, count);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void test_open(void **state)
{
    struct fixture *f = *state;
    struct kb_source_config c = source_of("lab", 2);
    struct kb_static_console *k = &c.consoles[1];
    c.tls = KB_TLS_PREFER;
    c.ca_cert = kb_strdup("PEM");
    k->hypervisor = kb_strdup("hv1");
    k->secure_port = 5901;
    k->host_subject = kb_strdup("CN=hv1");
    kb_secret_set(&k->ticket, "sesame");
    load(f, 1, c);
    assert_text(&store.calls, "retain lab\nsync lab: u0=n0 u1=n1\n");
    assert_text(&store.events, "source.ok lab  \n");

    struct kb_target *t;
    assert_int_equal(open_console(f, "lab", "u1", &t), KB_REASON_NONE);
    assert_string_equal(t->source, "lab");
    assert_string_equal(t->uuid, "u1");
    assert_string_equal(t->name, "n1");
    assert_string_equal(t->host, "192.0.2.1");
    assert_string_equal(t->tls_name, "hv1");
    assert_null(t->unix_socket);
    assert_int_equal(t->port, 5900);
    assert_int_equal(t->tls_port, 5901);
    assert_int_equal(t->tls, KB_TLS_PREFER);
    assert_string_equal(t->ca_pem, "PEM");
    assert_string_equal(t->host_subject, "CN=hv1");
    assert_string_equal(kb_secret_text(&t->ticket), "sesame");
    kb_target_unref(t);

    assert_int_equal(open_console(f, "lab", "u0", &t), KB_REASON_NONE);
    assert_null(t->tls_name);
    assert_null(t->host_subject);
    assert_string_equal(kb_secret_text(&t->ticket), "");
    kb_target_unref(t);

    assert_open(f, "lab", "u2", KB_REASON_CONSOLE_GONE);
    assert_open(f, "lab", "", KB_REASON_CONSOLE_GONE);
    assert_open(f, "bal", "u0", KB_REASON_CONSOLE_GONE);
}

/* u0 is on hv1, which is elsewhere by the map; u1 on hv2; u2 on a socket; u3 on hv1 too. */
static struct kb_source_config cluster(void)
{
    struct kb_source_config c = source_of("lab", 4);
    c.tls = KB_TLS_REQUIRE;
    c.ca_cert = kb_strdup("PEM");
    c.address_map = kb_calloc(1, sizeof *c.address_map);
    c.address_count = 1;
    c.address_map[0].from = kb_strdup("10.1.0.0/16");
    c.address_map[0].to = kb_strdup("192.0.2.1");
    static const char *const hosts[] = {"hv1", "hv2", NULL, "hv1"};
    for (size_t i = 0; i < 4; i++) {
        struct kb_static_console *k = &c.consoles[i];
        free(k->hypervisor_ip);
        k->hypervisor_ip = kb_strdup(i == 1 ? "198.51.100.2" : "10.1.0.1");
        k->hypervisor = kb_strdup(hosts[i]);
        k->insecure_port = 0;
        k->secure_port = (uint16_t)(5901 + i);
        k->host_subject = kb_strdup(i == 1 ? "CN=hv2" : NULL);
        kb_secret_set(&k->ticket, "sesame");
    }
    c.consoles[2].unix_socket = kb_strdup("/run/spice.sock");
    return c;
}

/* What a hypervisor says of another host counts as far as the source has said it too. */
static void test_move(void **state)
{
    struct fixture *f = *state;
    struct kb_target *t, *u2;
    load(f, 1, cluster());
    store.calls.len = store.events.len = 0;
    assert_int_equal(open_console(f, "lab", "u0", &t), KB_REASON_NONE);
    assert_int_equal(open_console(f, "lab", "u2", &u2), KB_REASON_NONE);
    static const char *const names[] = {"hv2", "HV2", "198.51.100.2"};
    for (size_t i = 0; i < 3; i++) {
        struct kb_target *to = move_console(f, t, names[i], 5900, 5950, KB_REASON_NONE);
        assert_string_equal(to->host, "198.51.100.2");
        assert_string_equal(to->tls_name, "hv2");
        assert_string_equal(to->host_subject, "CN=hv2");
        assert_string_equal(to->ca_pem, "PEM");
        assert_int_equal(to->tls, KB_TLS_REQUIRE);
        assert_int_equal(to->port, 5900);
        assert_int_equal(to->tls_port, 5950);
        assert_string_equal(kb_secret_text(&to->ticket), "sesame");
        assert_string_equal(to->uuid, "u0");
        kb_target_unref(to);
    }
    /* Where it is, by a name that the map changes. */
    struct kb_target *to = move_console(f, t, "10.1.7.7", 0, 5960, KB_REASON_NONE);
    assert_string_equal(to->host, "192.0.2.1");
    kb_target_unref(to);
    static const struct {
        const char *host;
        uint16_t port, tls_port;
    } refused[] = {
        {"hv3", 5900, 5901},      {"hv2.example.org", 5900, 5950}, {"", 5900, 5950},
        {"hv2", 0, 5902},         /* u1's */ {"hv1", 0, 5904},     /* u3's */ {"hv2", 0, 0},
        {"203.0.113.9", 0, 5950},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        move_console(f, t, refused[i].host, refused[i].port, refused[i].tls_port,
                     KB_REASON_MIGRATION_REFUSED);
    move_console(f, u2, "hv2", 0, 5950, KB_REASON_MIGRATION_REFUSED);
    load(f, 1, source_of("lab", 0));
    store.calls.len = store.events.len = 0;
    move_console(f, t, "hv2", 0, 5950, KB_REASON_CONSOLE_GONE);
    kb_target_unref(t);
    kb_target_unref(u2);
}

static void test_hosts_and_names(void **state)
{
    struct fixture *f = *state;
    struct kb_source_config c = source_of("lab", 3);
    /* by name alone */
    free(c.consoles[0].hypervisor_ip);
    c.consoles[0].hypervisor_ip = NULL;
    c.consoles[0].hypervisor = kb_strdup("hv1");
    free(c.consoles[0].name);
    c.consoles[0].name = NULL;
    /* name and address are the same */
    c.consoles[1].hypervisor = kb_strdup("192.0.2.1");
    /* a socket goes before an address */
    c.consoles[2].hypervisor = kb_strdup("hv3");
    c.consoles[2].unix_socket = kb_strdup("/run/u2");
    load(f, 1, c);
    assert_text(&store.calls, "retain lab\nsync lab: u0=u0 u1=n1 u2=n2\n");

    struct kb_target *t;
    assert_int_equal(open_console(f, "lab", "u0", &t), KB_REASON_NONE);
    assert_string_equal(t->name, "u0");
    assert_string_equal(t->host, "hv1");
    assert_null(t->tls_name);
    kb_target_unref(t);
    assert_int_equal(open_console(f, "lab", "u1", &t), KB_REASON_NONE);
    assert_string_equal(t->host, "192.0.2.1");
    assert_null(t->tls_name);
    kb_target_unref(t);
    assert_int_equal(open_console(f, "lab", "u2", &t), KB_REASON_NONE);
    assert_string_equal(t->unix_socket, "/run/u2");
    assert_null(t->host);
    kb_target_unref(t);
}

static void test_tls(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum kb_tls_mode source;
        uint16_t plain, secure;
        bool socket;
        enum kb_tls_mode target;
    } cases[] = {
        {KB_TLS_UNSET, 1, 0, false, KB_TLS_PLAIN},     {KB_TLS_UNSET, 1, 2, false, KB_TLS_REQUIRE},
        {KB_TLS_UNSET, 0, 2, false, KB_TLS_REQUIRE},   {KB_TLS_UNSET, 0, 2, true, KB_TLS_PLAIN},
        {KB_TLS_REQUIRE, 1, 0, false, KB_TLS_REQUIRE}, {KB_TLS_REQUIRE, 0, 0, true, KB_TLS_PLAIN},
        {KB_TLS_PREFER, 1, 2, false, KB_TLS_PREFER},   {KB_TLS_PLAIN, 1, 2, false, KB_TLS_PLAIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kb_source_config c = source_of("lab", 1);
        c.tls = cases[i].source;
        c.consoles[0].insecure_port = cases[i].plain;
        c.consoles[0].secure_port = cases[i].secure;
        c.consoles[0].unix_socket = kb_strdup(cases[i].socket ? "/s" : NULL);
        load(f, 1, c);
        struct kb_target *t;
        assert_int_equal(open_console(f, "lab", "u0", &t), KB_REASON_NONE);
        assert_int_equal(t->tls, cases[i].target);
        kb_target_unref(t);
    }
}

static void test_reload(void **state)
{
    struct fixture *f = *state;
    struct kb_source_config c = source_of("a", 2);
    kb_secret_set(&c.consoles[0].ticket, "old");
    load(f, 2, c, source_of("b", 1));
    assert_text(&store.calls, "retain a b\nsync a: u0=n0 u1=n1\nsync b: u0=n0\n");
    assert_text(&store.events, "source.ok a  \nsource.ok b  \n");
    struct kb_target *held;
    assert_int_equal(open_console(f, "a", "u0", &held), KB_REASON_NONE);

    /* One console and one source go, one source comes, a ticket changes. */
    c = source_of("a", 1);
    kb_secret_set(&c.consoles[0].ticket, "new");
    load(f, 2, source_of("c", 0), c);
    assert_text(&store.calls, "retain a c\nsync c:\nsync a: u0=n0\n");
    assert_text(&store.events, "source.ok c  \n");
    assert_open(f, "a", "u1", KB_REASON_CONSOLE_GONE);
    assert_open(f, "b", "u0", KB_REASON_CONSOLE_GONE);
    struct kb_target *t;
    assert_int_equal(open_console(f, "a", "u0", &t), KB_REASON_NONE);
    assert_string_equal(kb_secret_text(&t->ticket), "new");
    kb_target_unref(t);

    /* A session that was set up before keeps what it was given. */
    assert_string_equal(kb_secret_text(&held->ticket), "old");
    kb_target_unref(held);

    load(f, 0);
    assert_text(&store.calls, "retain\n");
    struct kb_source_view *views;
    assert_int_equal(kb_sources_list(f->sources, &views), 0);
    kb_source_views_free(views, 0);
}

static void assert_view(const struct kb_source_view *v, const char *name, const char *error,
                        bool ever_good, size_t consoles)
{
    assert_string_equal(v->name, name);
    if (error)
        assert_string_equal(v->error, error);
    else
        assert_null(v->error);
    assert_int_equal(v->last_good != 0, ever_good);
    assert_int_equal(v->stale_since != 0, error != NULL);
    assert_int_equal(v->consoles, consoles);
}

static void test_failing(void **state)
{
    struct fixture *f = *state;
    load(f, 2, bad_source("z", "first"), source_of("a", 1));
    assert_text(&store.calls, "retain z a\nsync a: u0=n0\n");
    assert_text(&store.events, "source.failed z source_failed first\nsource.ok a  \n");
    assert_open(f, "z", "u0", KB_REASON_SOURCE_FAILED); /* who knows whether it is there */
    assert_open(f, "a", "u0", KB_REASON_NONE);

    load(f, 2, source_of("z", 1), bad_source("a", "then"));
    assert_text(&store.calls, "retain z a\nsync z: u0=n0\n");
    assert_text(&store.events, "source.ok z  \nsource.failed a source_failed then\n");
    assert_open(f, "z", "u0", KB_REASON_NONE);
    assert_open(f, "a", "u0", KB_REASON_NONE); /* the last good list */
    assert_open(f, "a", "u1", KB_REASON_CONSOLE_GONE);

    struct kb_source_view *views;
    size_t count = kb_sources_list(f->sources, &views);
    assert_int_equal(count, 2);
    assert_view(&views[0], "a", "then", true, 1);
    assert_view(&views[1], "z", NULL, true, 1);
    assert_string_equal(views[1].type, "static");
    int64_t since = views[0].stale_since;
    kb_source_views_free(views, count);

    /* Still failing: told once, stale since then. */
    load(f, 1, bad_source("a", "again"));
    assert_text(&store.events, "");
    count = kb_sources_list(f->sources, &views);
    assert_int_equal(count, 1);
    assert_view(&views[0], "a", "again", true, 1);
    assert_int_equal(views[0].stale_since, since);
    kb_source_views_free(views, count);

    load(f, 1, source_of("a", 2));
    assert_text(&store.events, "source.ok a  \n");
    count = kb_sources_list(f->sources, &views);
    assert_view(&views[0], "a", NULL, true, 2);
    kb_source_views_free(views, count);
}

static void refresh(struct fixture *f, const char *name, const char *error, size_t consoles)
{
    struct kb_source_view *view;
    assert_int_equal(kb_sources_refresh(f->sources, name, &view), 1);
    assert_string_equal(view->name, name);
    if (error)
        assert_string_equal(view->error, error);
    else
        assert_null(view->error);
    assert_int_equal(view->consoles, consoles);
    kb_source_views_free(view, 1);
}

static void test_refresh(void **state)
{
    struct fixture *f = *state;
    load(f, 2, source_of("a", 2), bad_source("z", "first"));
    assert_text(&store.calls, "retain a z\nsync a: u0=n0 u1=n1\n");
    refresh(f, "a", NULL, 2);
    assert_text(&store.calls, "sync a: u0=n0 u1=n1\n");
    assert_open(f, "a", "u1", KB_REASON_NONE);
    /* What the configuration says is wrong stays wrong until it is loaded again. */
    refresh(f, "z", "first", 0);
    load(f, 2, bad_source("a", "then"), source_of("z", 0));
    assert_text(&store.calls, "retain a z\nsync z:\n");
    refresh(f, "a", "then", 2);
    assert_text(&store.calls, "");
    struct kb_source_view *view;
    assert_int_equal(kb_sources_refresh(f->sources, "nothing", &view), 0);
    assert_null(view);
}

static void test_unknown_type(void **state)
{
    struct fixture *f = *state;
    struct kb_source_config c = source_of("a", 1);
    free(c.type);
    c.type = kb_strdup("cloud");
    load(f, 1, c);
    assert_text(&store.events,
                "source.failed a source_failed this version has no driver for the source's type\n");
    assert_open(f, "a", "u0", KB_REASON_SOURCE_FAILED);
    assert_true(kb_source_type_known("static"));
    assert_false(kb_source_type_known("cloud"));
}

/* What the store did not take can be opened all the same, and says that it failed. */
static void test_broken_store(void **state)
{
    struct fixture *f = *state;
    store.broken = true;
    load(f, 1, source_of("a", 1));
    assert_text(&store.events,
                "source.failed a source_failed the store did not take the source's consoles\n");
    assert_open(f, "a", "u0", KB_REASON_NONE);
    store.broken = false;
    load(f, 1, source_of("a", 1));
    assert_text(&store.events, "source.ok a  \n");
}

static void test_metrics(void **state)
{
    struct fixture *f = *state;
    load(f, 3, source_of("m1", 3), bad_source("m2", "x"), source_of("m3", 1));
    load(f, 2, source_of("m1", 2), bad_source("m2", "x"));
    kb_auto(kb_buf_finish) struct kb_buf text = {0};
    kb_metrics_render(&text);
    kb_auto_free char *all = kb_buf_steal(&text);
    static const char *const lines[] = {
        "\nkerbside_source_up{source=\"m1\"} 1\n",
        "\nkerbside_source_up{source=\"m2\"} 0\n",
        "\nkerbside_source_up{source=\"m3\"} 0\n",
        "\nkerbside_source_consoles{source=\"m1\"} 2\n",
        "\nkerbside_source_consoles{source=\"m2\"} 0\n",
        "\nkerbside_source_consoles{source=\"m3\"} 0\n",
        "\nkerbside_source_refresh_seconds{source=\"m1\"} ",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!strstr(all, lines[i]))
            fail_msg("no %s in\n%s", lines[i], all);
}

/* --- many at once ----------------------------------------------------------------------------- */

#define OPENS 500

struct asker {
    struct fixture *f;
    pthread_t thread;
    unsigned good, gone;
};

static void *ask(void *arg)
{
    struct asker *a = arg;
    for (unsigned i = 0; i < OPENS; i++) {
        struct kb_target *t;
        enum kb_reason r = open_console(a->f, "lab", i % 2 ? "u1" : "u0", &t);
        if (r == KB_REASON_NONE && strcmp(t->uuid, i % 2 ? "u1" : "u0") == 0)
            a->good++;
        if (r == KB_REASON_CONSOLE_GONE)
            a->gone++;
        kb_target_unref(t);
    }
    return NULL;
}

static void test_opens_during_reloads(void **state)
{
    struct fixture *f = *state;
    struct asker askers[3] = {{.f = f}, {.f = f}, {.f = f}};
    load(f, 1, source_of("lab", 2));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    for (size_t i = 0; i < 50; i++)
        load(f, 1, source_of("lab", 1 + i % 2));
    for (size_t i = 0; i < 3; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_int_equal(askers[i].good + askers[i].gone, OPENS);
        assert_true(askers[i].good >= OPENS / 2); /* u0 is always there */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_move, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hosts_and_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refresh, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_type, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_store, setup, teardown),
        cmocka_unit_test_setup_teardown(test_metrics, setup, teardown),
        cmocka_unit_test_setup_teardown(test_opens_during_reloads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
