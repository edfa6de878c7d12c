/* KubeVirt's instances as consoles, and the events of a watch: applied, cut at every byte, and what
 * is none. */
#include "source/vmi.h"

#include "base/auto.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define EVENT(type, uid, version, phase)                                                           \
    "{\"type\":\"" type "\",\"object\":{\"metadata\":{\"uid\":\"" uid                              \
    "\",\"name\":\"web\",\"namespace\":\"desks\",\"resourceVersion\":\"" version                   \
    "\"},\"status\":{\"phase\":\"" phase "\",\"nodeName\":\"w1\"}}}\n"
#define BOOKMARK "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"90\"}}}\n"
#define ERROR(code)                                                                                \
    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"message\":\"too\\nold\",\"code\":" code \
    "}}\n"

struct fixture {
    struct kb_console *known;
    char *version;
    struct kb_vmi_watch watch;
};

static int setup(void **state)
{
    struct fixture *f = kb_zalloc(sizeof *f);
    f->version = kb_strdup("1");
    f->watch = (struct kb_vmi_watch){.serial = true, .known = &f->known, .version = &f->version};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    kb_consoles_destroy(&f->known);
    free(f->version);
    kb_vmi_watch_finish(&f->watch);
    free(f);
    return 0;
}

static enum kb_vmi_news take(struct fixture *f, const char *text)
{
    return kb_vmi_watch_take(&f->watch, text, strlen(text));
}

static void test_events(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(take(f, EVENT("ADDED", "u", "2", "Pending")), KB_VMI_SAME);
    assert_int_equal(take(f, EVENT("MODIFIED", "u", "3", "Running")), KB_VMI_CHANGED);
    const struct kb_console *c = kb_consoles_find(f->known, "u");
    const struct kb_console *s = kb_consoles_find(f->known, "u-serial");
    assert_true(c && s && HASH_COUNT(f->known) == 2);
    assert_string_equal(c->name, "web");
    assert_string_equal(c->project, "desks");
    assert_string_equal(c->hypervisor, "w1");
    assert_string_equal(c->extra, "desks/web");
    assert_true(c->protocol == KB_PROTOCOL_VNC && c->transport == KB_TRANSPORT_WEBSOCKET);
    assert_string_equal(s->name, "web (serial)");
    assert_int_equal(s->protocol, KB_PROTOCOL_SERIAL);
    assert_string_equal(f->version, "3");
    assert_int_equal(take(f, EVENT("MODIFIED", "u", "4", "Running")), KB_VMI_SAME);
    assert_int_equal(take(f, BOOKMARK), KB_VMI_SAME);
    assert_string_equal(f->version, "90");
    assert_int_equal(take(f, EVENT("DELETED", "u", "91", "Running")), KB_VMI_CHANGED);
    assert_int_equal(take(f, EVENT("DELETED", "u", "92", "Running")), KB_VMI_SAME);
    assert_true(f->watch.changed);
    assert_int_equal(HASH_COUNT(f->known), 0);
}

/* Wherever they are cut, all events are taken, and a change is told once. */
static void test_cut_at_every_byte(void **state)
{
    static const char all[] = EVENT("ADDED", "a", "2", "Running")
        EVENT("ADDED", "b", "3", "Running") BOOKMARK EVENT("DELETED", "a", "91", "Running");
    (void)state;
    for (size_t cut = 0; cut <= strlen(all); cut++) {
        struct fixture *f;
        setup((void **)&f);
        enum kb_vmi_news first = kb_vmi_watch_take(&f->watch, all, cut);
        enum kb_vmi_news second = kb_vmi_watch_take(&f->watch, all + cut, strlen(all) - cut);
        assert_true(first == KB_VMI_CHANGED || second == KB_VMI_CHANGED);
        assert_true(first != KB_VMI_BROKEN && second != KB_VMI_BROKEN);
        assert_non_null(kb_consoles_find(f->known, "b"));
        assert_int_equal(HASH_COUNT(f->known), 2);
        assert_string_equal(f->version, "91");
        teardown((void **)&f);
    }
}

static void test_errors(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(take(f, ERROR("410")), KB_VMI_EXPIRED);
    assert_int_equal(take(f, ERROR("500") EVENT("ADDED", "a", "2", "Running")), KB_VMI_BROKEN);
    assert_string_equal(f->watch.why, "too\nold");
    f->watch.line.len = 0; /* an end it is */
    assert_string_equal(f->version, "1");
    static const char *const texts[] = {
        "\n",
        "x\n",
        "{}\n",
        "[]\n",
        "{\"type\":7}\n",
        "{\"type\":\"ADDED\"}\n",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"uid\":\"u\"}}}\n",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"5\"}}}\n",
        "{\"type\":\"BOOKMARK\",\"object\":{}}\n",
        "{\"type\":\"ERROR\"}\n",
        EVENT("MODIFIED", "u", "", "Running")};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(take(f, texts[i]), KB_VMI_BROKEN);
        assert_true(f->watch.why[0]);
        f->watch.line.len = 0;
    }
    assert_true(!f->known && !f->watch.changed);
    assert_string_equal(f->version, "1");
    assert_int_equal(take(f, EVENT("ADDED", "a", "2", "Running") "x\n"), KB_VMI_BROKEN);
    assert_true(f->watch.changed);
}

static void test_an_event_without_end(void **state)
{
    struct fixture *f = *state;
    kb_auto_free char *much = kb_zalloc(1 << 20);
    memset(much, ' ', 1 << 20);
    enum kb_vmi_news news = KB_VMI_SAME;
    for (int i = 0; i < 9 && news == KB_VMI_SAME; i++)
        news = kb_vmi_watch_take(&f->watch, much, 1 << 20);
    assert_int_equal(news, KB_VMI_BROKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_events, setup, teardown),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_event_without_end, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
