/* Policies as the configuration gives them: every key, and where they are attached. */
#include "fixture.h"

#define SOURCES "sources: [{source: lab, type: static, consoles: []}]\n"

/* Fails unless the text loads without a problem. */
static struct kb_config *good(struct fixture *f, const char *text)
{
    struct kb_config *c = load(f, text);
    assert_problems(f, "");
    assert_non_null(c);
    return c;
}

static const struct kb_policy *policy(const struct kb_config *c, const char *name)
{
    const struct kb_policy *p = kb_policy_book_find(c->policies, name);
    assert_non_null(p);
    return p;
}

static void test_nothing(void **state)
{
    struct kb_config *c = good(*state, SOURCES);
    assert_int_equal(c->policies->count, 1);
    assert_int_equal(policy(c, "default")->says, 0);
    assert_int_equal(c->policies->attachment_count, 0);
    kb_config_destroy(c);
}

static void test_every_key(void **state)
{
    struct kb_config *c =
        good(*state, SOURCES
             "policies:\n"
             "  default: {sound: no}\n"
             "  all:\n"
             "    mode: observe\n"
             "    grammar: observe\n"
             "    clipboard: {in: false, out: false, primary: false, text_only: true, max_bytes: "
             "64KiB}\n"
             "    files: {in: false, max_size: 10MB, names: ['*.pdf', '!x*']}\n"
             "    folders: read_only\n"
             "    usb: {enabled: false, keyboards: false, filter: ['0x03,-1,-1,-1,0', "
             "'-1,-1,-1,-1,1|8,1,2,3,1']}\n"
             "    sound: false\n"
             "    microphone: false\n"
             "    smartcard: false\n"
             "    ports: []\n"
             "    resize: false\n"
             "    cursor: false\n"
             "    view_only: true\n"
             "    screens: 2\n"
             "    bandwidth: 10Mbit\n"
             "    hours: {open: [mon-fri 08:00-18:00, sat 10:00-12:00], zone: Europe/Berlin}\n"
             "    idle_timeout: 30m\n"
             "    max_session: 8h\n");
    const struct kb_policy *p = policy(c, "all");
    assert_true(p->observe);
    assert_int_equal(p->says, (1u << KB_FIELD_COUNT) - 1);
    const struct kb_limits *l = &p->limits;
    assert_int_equal(l->grammar, KB_GRAMMAR_OBSERVE);
    assert_false(l->clipboard_in || l->clipboard_out || l->clipboard_primary);
    assert_true(l->clipboard_text_only);
    assert_int_equal(l->clipboard_max, 65536);
    assert_false(l->files_in);
    assert_int_equal(l->files_max, 10000000);
    assert_int_equal(p->files_names.count, 2);
    assert_string_equal(p->files_names.entries[1], "!x*");
    assert_ptr_equal(l->files_names.lists[0], &p->files_names);
    assert_int_equal(l->folders, KB_FOLDERS_READ_ONLY);
    assert_false(l->usb || l->usb_keyboards);
    assert_int_equal(p->usb_filter.count, 3);
    assert_int_equal(p->usb_filter.rules[2].version, 3);
    assert_false(l->sound || l->microphone || l->smartcard || l->resize || l->cursor);
    assert_int_equal(p->ports.count, 0);
    assert_int_equal(l->ports.count, 1);
    assert_true(l->view_only);
    assert_int_equal(l->screens, 2);
    assert_int_equal(l->bandwidth, 1250000);
    assert_int_equal(p->hours.count, 6);
    assert_string_equal(p->hours.zone_name, "Europe/Berlin");
    assert_non_null(p->hours.zone);
    assert_int_equal(l->idle_timeout, 1800000);
    assert_int_equal(l->max_session, 28800000);

    p = policy(c, "default");
    assert_false(p->observe);
    assert_int_equal(p->says, 1u << KB_HAS_SOUND);
    assert_false(p->limits.sound);
    kb_config_destroy(c);
}

static void test_attached(void **state)
{
    struct kb_config *c =
        good(*state, "sources:\n" /* before the policies that they name */
                     "- source: lab\n"
                     "  policy: a\n"
                     "  policies: [{consoles: ['web-*', db], policy: b}]\n"
                     "  type: static\n"
                     "  consoles: [{uuid: u, hypervisor: h, insecure_port: 5900, policy: c}]\n"
                     "policies: {a: {}, b: {}, c: {}}\n"
                     "identity:\n"
                     "  roles: [{role: user, users: x, policy: a}]\n"
                     "  groups: [{groups: [g, h], policy: b}]\n");
    static const struct kb_attachment expected[] = {
        {"a", "lab", NULL, NULL}, {"b", "lab", NULL, "web-*\ndb"}, {"c", "lab", "u", NULL}};
    assert_int_equal(c->policies->attachment_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct kb_attachment *is = &c->policies->attachments[i];
        assert_string_equal(is->policy, expected[i].policy);
        assert_string_equal(is->source, expected[i].source);
        assert_string_equal(is->uuid ? is->uuid : "-", i == 2 ? "u" : "-");
        assert_string_equal(is->consoles ? is->consoles : "-", i == 1 ? "web-*\ndb" : "-");
    }
    assert_string_equal(c->identity.rules[0].policy, "a");
    assert_string_equal(c->identity.group_policies[0].groups, "g\nh");
    assert_string_equal(c->identity.group_policies[0].policy, "b");
    kb_config_destroy(c);
}

/* A source that is not loaded keeps its old consoles, so its policies must hold on. */
static void test_bad_source(void **state)
{
    struct kb_config *c = load(*state, "policies: {a: {}}\n"
                                       "sources:\n"
                                       "- {source: lab, type: static, tls: maybe, policy: a,\n"
                                       "   policies: [{consoles: x, policy: a}], consoles: []}\n");
    assert_non_null(c);
    assert_int_equal(c->bad_sources, 1);
    assert_int_equal(c->policies->attachment_count, 2);
    assert_string_equal(c->policies->attachments[0].source, "lab");
    kb_config_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_source, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
