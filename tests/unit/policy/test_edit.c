/* The edits: what each rule does to its messages, that streams stay valid, and that no cut changes
 * anything. */
#include "policy/edit.h"

#include <spice/enums.h>
#include <spice/protocol.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* One channel between two peers: what comes out on either side, and which rules acted. */
struct channel {
    unsigned type;
    struct kb_grammar_walk grammar;
    struct kb_stream streams[KB_DIRECTIONS];
    struct kb_edit_session session;
    struct kb_edit *edit;
    struct kb_content content;
    struct kb_rules *rules;
    struct kb_buf out[KB_DIRECTIONS];
    unsigned acted[KB_RULE_COUNT][KB_RULE_ACTIONS];
    bool over;
};

static void on_rule(void *owner, enum kb_rule rule, enum kb_rule_action action, enum kb_direction d,
                    const char *detail)
{
    struct channel *c = owner;
    (void)d;
    (void)detail;
    c->acted[rule][action]++;
}

static void open_channel(struct channel *c, unsigned type, unsigned id)
{
    *c = (struct channel){.type = type, .rules = kb_rules_create()};
    c->content.on_rule = on_rule;
    c->content.owner = c;
    kb_grammar_init(&c->grammar, type, false);
    /* What INIT does is test_grammar.c's. */
    c->grammar.state = type == KB_CHANNEL_PORT ? 0 : KB_GRAMMAR_OPEN | KB_GRAMMAR_STARTED;
    for (int d = 0; d < KB_DIRECTIONS; d++)
        kb_stream_init(&c->streams[d], &c->grammar, (enum kb_direction)d);
    c->edit = kb_edit_create(type, id, &c->session);
    assert_non_null(c->edit);
}

static void close_channel(struct channel *c)
{
    /* The lists of these tests are not the rules' own. */
    c->rules->enforced.ports = c->rules->all.ports = (struct kb_names_lists){0};
    kb_edit_destroy(c->edit, &c->content);
    kb_content_finish(&c->content);
    for (int d = 0; d < KB_DIRECTIONS; d++)
        kb_buf_finish(&c->out[d]);
    kb_rules_unref(c->rules);
}

static void take(struct channel *c, enum kb_direction d)
{
    kb_buf_add(&c->out[d], c->content.to[d].data, c->content.to[d].len);
    c->content.to[d].len = 0;
}

/* Bytes of one direction, at most `most` more at a time; as the relay does it. */
static void say(struct channel *c, enum kb_direction d, struct kb_span in, size_t most)
{
    size_t at = 0, have = 0;
    while (at < in.len && !c->over) {
        have = most < in.len - have ? have + most : in.len;
        struct kb_piece p;
        enum kb_reason why = KB_REASON_NONE;
        while (kb_stream_next(&c->streams[d], kb_span(in.data + at, have - at), &p, &why) ==
               KB_STREAM_PIECE) {
            enum kb_edit_step step =
                p.watched ? kb_edit_piece(c->edit, &c->content, c->rules, d, &p) : KB_EDIT_FORWARD;
            at += p.bytes.len;
            if (step == KB_EDIT_FORWARD)
                kb_buf_add(&c->out[d], p.bytes.data, p.bytes.len);
            take(c, d);
            take(c, kb_other(d));
            c->over = step == KB_EDIT_END;
            if (c->over)
                return;
        }
        assert_int_equal(why, KB_REASON_NONE);
    }
}

static void put(struct kb_buf *b, unsigned type, const void *body, size_t len)
{
    kb_buf_add_u16(b, (uint16_t)type);
    kb_buf_add_u32(b, (uint32_t)len);
    if (len)
        kb_buf_add(b, body, len);
}

static void assert_out(struct channel *c, enum kb_direction d, struct kb_buf *want)
{
    assert_int_equal(c->out[d].len, want->len);
    if (want->len)
        assert_memory_equal(c->out[d].data, want->data, want->len);
    c->out[d].len = 0;
    kb_buf_finish(want);
}

/* Rules enforced, observed, and as they are when nobody has any. */
enum mode { FREE, ENFORCED, OBSERVED, MODES };

static void set(struct channel *c, enum mode mode, void (*forbid)(struct kb_limits *))
{
    if (mode == ENFORCED)
        forbid(&c->rules->enforced);
    if (mode != FREE)
        forbid(&c->rules->all);
    c->rules->observing = mode == OBSERVED;
}

static const size_t cuts[] = {SIZE_MAX, 1, 2, 5, 6, 7, 13};
#define CUTS (sizeof cuts / sizeof *cuts)

/* ---- view only ---- */

static void forbid_input(struct kb_limits *l)
{
    l->view_only = true;
}

static void test_view_only(void **state)
{
    (void)state;
    static const uint8_t zeros[16];
    static const struct {
        uint16_t type, size;
    } input[] = {{101, 4}, {102, 4}, {103, 2}, {104, 3}, {111, 10}, {112, 11}, {113, 3}, {114, 3}};
    for (enum mode mode = FREE; mode < MODES; mode++) {
        for (size_t cut = 0; cut < CUTS; cut++) {
            struct channel c;
            open_channel(&c, KB_CHANNEL_INPUTS, 0);
            set(&c, mode, forbid_input);
            struct kb_buf in = {0}, want = {0}, none = {0}, acks = {0};
            for (unsigned round = 0; round < 10; round++) {
                for (size_t i = 0; i < sizeof input / sizeof *input; i++) {
                    put(&in, input[i].type, zeros, input[i].size);
                    if (mode != ENFORCED)
                        put(&want, input[i].type, zeros, input[i].size);
                }
                put(&in, SPICE_MSGC_PONG, zeros, 12);
                put(&want, SPICE_MSGC_PONG, zeros, 12);
            }
            say(&c, KB_FROM_CLIENT, kb_buf_span(&in), cuts[cut]);
            /* Ten motions and ten positions are five bunches of four. */
            for (unsigned i = 0; mode == ENFORCED && i < 5; i++)
                put(&acks, SPICE_MSG_INPUTS_MOUSE_MOTION_ACK, NULL, 0);
            assert_out(&c, KB_FROM_CLIENT, &want);
            assert_out(&c, KB_FROM_SERVER, mode == ENFORCED ? &acks : &none);
            assert_int_equal(c.acted[KB_RULE_VIEW_ONLY][KB_RULE_BLOCKED],
                             mode == ENFORCED ? 80 : 0);
            assert_int_equal(c.acted[KB_RULE_VIEW_ONLY][KB_RULE_OBSERVED],
                             mode == OBSERVED ? 80 : 0);
            kb_buf_finish(&in);
            close_channel(&c);
        }
    }
}

/* However often the rules change, a client's motions are never more than two bunches ahead. */
static void test_motions_while_the_rules_change(void **state)
{
    (void)state;
    static const uint8_t zeros[10];
    struct channel c;
    open_channel(&c, KB_CHANNEL_INPUTS, 0);
    unsigned at_server = 0, acked = 0, sent = 0;
    for (unsigned i = 0; i < 1000; i++) {
        c.rules->enforced.view_only = i / 3 % 2 || i % 7 == 0;
        struct kb_buf in = {0};
        put(&in, SPICE_MSGC_INPUTS_MOUSE_MOTION, zeros, 10);
        say(&c, KB_FROM_CLIENT, kb_buf_span(&in), SIZE_MAX);
        kb_buf_finish(&in);
        sent++;
        at_server += c.out[KB_FROM_CLIENT].len > 0;
        acked += 4 * (unsigned)(c.out[KB_FROM_SERVER].len / KB_MINI_HEADER_SIZE);
        c.out[KB_FROM_CLIENT].len = c.out[KB_FROM_SERVER].len = 0;
        assert_true(sent - acked - at_server / 4 * 4 < 8);
    }
    close_channel(&c);
}

/* ---- which channels there are ---- */

static void forbid_some(struct kb_limits *l)
{
    l->cursor = l->usb = l->sound = false;
    l->screens = 1;
}

static void test_channels_list(void **state)
{
    (void)state;
    static const uint8_t all[] = {12, 0, 0, 0, 3, 0, 2, 0, 2, 1, 4,  0, 4,  1,
                                  5,  0, 6, 0, 9, 0, 9, 1, 8, 0, 10, 3, 11, 0};
    static const uint8_t some[] = {6, 0, 0, 0, 3, 0, 2, 0, 6, 0, 8, 0, 10, 3, 11, 0};
    for (enum mode mode = FREE; mode < MODES; mode++) {
        for (size_t cut = 0; cut < CUTS; cut++) {
            struct channel c;
            open_channel(&c, KB_CHANNEL_MAIN, 0);
            set(&c, mode, forbid_some);
            struct kb_buf in = {0}, want = {0};
            put(&in, SPICE_MSG_MAIN_CHANNELS_LIST, all, sizeof all);
            put(&in, SPICE_MSG_MAIN_MULTI_MEDIA_TIME, all, 4);
            if (mode == ENFORCED)
                put(&want, SPICE_MSG_MAIN_CHANNELS_LIST, some, sizeof some);
            else
                put(&want, SPICE_MSG_MAIN_CHANNELS_LIST, all, sizeof all);
            put(&want, SPICE_MSG_MAIN_MULTI_MEDIA_TIME, all, 4);
            say(&c, KB_FROM_SERVER, kb_buf_span(&in), cuts[cut]);
            assert_out(&c, KB_FROM_SERVER, &want);
            assert_int_equal(c.session.displays, mode == ENFORCED ? 1 : 2);
            kb_buf_finish(&in);
            close_channel(&c);
        }
    }
}

static void test_a_list_that_lies(void **state)
{
    (void)state;
    static const uint8_t lie[] = {2, 0, 0, 0, 3, 0, 2};
    for (int observed = 0; observed < 2; observed++) {
        struct channel c;
        open_channel(&c, KB_CHANNEL_MAIN, 0);
        c.rules->grammar_observed = observed;
        struct kb_buf in = {0};
        put(&in, SPICE_MSG_MAIN_CHANNELS_LIST, lie, sizeof lie);
        say(&c, KB_FROM_SERVER, kb_buf_span(&in), SIZE_MAX);
        assert_int_equal(c.over, !observed);
        assert_int_equal(c.acted[KB_RULE_GRAMMAR_FORM][observed], 1);
        kb_buf_finish(&in);
        close_channel(&c);
    }
}

/* ---- screens ---- */

static void put_monitors(struct kb_buf *b, unsigned count, unsigned most, unsigned heads)
{
    uint8_t body[4 + 8 * 28];
    memset(body, 7, sizeof body);
    kb_put_u16(body, (uint16_t)count);
    kb_put_u16(body + 2, (uint16_t)most);
    put(b, SPICE_MSG_DISPLAY_MONITORS_CONFIG, body, 4 + (size_t)heads * 28);
}

static void test_screens(void **state)
{
    (void)state;
    static const struct {
        unsigned screens, displays, id, heads, left;
    } rows[] = {
        {0, 1, 0, 4, 4}, {1, 1, 0, 4, 1}, {2, 1, 0, 4, 2}, {4, 1, 0, 4, 4}, {3, 2, 0, 4, 2},
        {3, 2, 1, 4, 1}, {2, 2, 0, 2, 1}, {2, 0, 0, 2, 2}, {1, 3, 0, 2, 1}, {2, 1, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t cut = 0; cut < CUTS; cut++) {
            struct channel c;
            open_channel(&c, KB_CHANNEL_DISPLAY, rows[i].id);
            c.session.displays = rows[i].displays;
            c.rules->enforced.screens = c.rules->all.screens = rows[i].screens;
            struct kb_buf in = {0}, want = {0}, none = {0};
            put_monitors(&in, rows[i].heads, 8, rows[i].heads);
            unsigned most = rows[i].left == rows[i].heads && rows[i].left
                                ? rows[i].screens && rows[i].screens < 8 ? rows[i].screens : 8
                                : rows[i].left;
            if (!rows[i].heads)
                most = rows[i].screens;
            put_monitors(&want, rows[i].left, most, rows[i].left);
            say(&c, KB_FROM_SERVER, kb_buf_span(&in), cuts[cut]);
            assert_out(&c, KB_FROM_SERVER, &want);
            /* Nothing is ever put in between, on display. */
            assert_out(&c, KB_FROM_CLIENT, &none);
            assert_int_equal(c.acted[KB_RULE_SCREENS][KB_RULE_BLOCKED],
                             rows[i].left != rows[i].heads);
            kb_buf_finish(&in);
            close_channel(&c);
        }
    }
    struct channel c;
    open_channel(&c, KB_CHANNEL_DISPLAY, 0);
    struct kb_buf in = {0};
    put_monitors(&in, 3, 3, 2);
    say(&c, KB_FROM_SERVER, kb_buf_span(&in), SIZE_MAX);
    assert_true(c.over);
    kb_buf_finish(&in);
    close_channel(&c);
}

static void test_channel_rules(void **state)
{
    (void)state;
    struct kb_rules *r = kb_rules_create();
    struct kb_limits *l = &r->enforced;
    assert_int_equal(kb_edit_channel_rule(l, KB_CHANNEL_DISPLAY, 9), KB_RULE_NONE);
    l->screens = 2;
    assert_int_equal(kb_edit_channel_rule(l, KB_CHANNEL_DISPLAY, 1), KB_RULE_NONE);
    assert_int_equal(kb_edit_channel_rule(l, KB_CHANNEL_DISPLAY, 2), KB_RULE_SCREENS);
    assert_int_equal(kb_edit_channel_rule(l, KB_CHANNEL_CURSOR, 2), KB_RULE_SCREENS);
    assert_int_equal(kb_edit_channel_rule(l, KB_CHANNEL_USBREDIR, 2), KB_RULE_NONE);
    l->usb = false;
    assert_int_equal(kb_edit_channel_rule(l, KB_CHANNEL_USBREDIR, 2), KB_RULE_CHANNEL);
    kb_rules_unref(r);
}

/* ---- ports ---- */

static const char *const entries[] = {"org.test.*"};
static const struct kb_names names = {entries, 1};
static const struct kb_names *const lists[] = {&names};

static void forbid_ports(struct kb_limits *l)
{
    l->ports.lists = (const struct kb_names **)(uintptr_t)lists;
    l->ports.count = 1;
}

static void put_init(struct kb_buf *b, const char *name)
{
    uint8_t body[9 + 64] = {0};
    size_t len = strlen(name) + 1;
    kb_put_u32(body, (uint32_t)len);
    kb_put_u32(body + 4, 9);
    body[8] = 1;
    memcpy(body + 9, name, len);
    put(b, SPICE_MSG_PORT_INIT, body, 9 + len);
}

static void test_ports(void **state)
{
    (void)state;
    static uint8_t large[40000];
    for (enum mode mode = FREE; mode < MODES; mode++) {
        for (int allowed = 0; allowed < 2; allowed++) {
            for (size_t cut = 0; cut < CUTS; cut++) {
                struct channel c;
                open_channel(&c, KB_CHANNEL_PORT, 0);
                set(&c, mode, forbid_ports);
                struct kb_buf in = {0}, want = {0}, none = {0};
                put_init(&in, allowed ? "org.test.echo" : "org.qemu.monitor.hmp.0");
                put(&in, SPICE_MSG_SPICEVMC_DATA, large, sizeof large);
                put(&in, SPICE_MSG_PORT_EVENT, large, 1);
                kb_buf_add(&want, in.data, in.len);
                say(&c, KB_FROM_SERVER, kb_buf_span(&in), cuts[cut]);
                bool blocked = mode == ENFORCED && !allowed;
                assert_int_equal(c.over, blocked);
                if (blocked)
                    kb_buf_finish(&want);
                assert_out(&c, KB_FROM_SERVER, blocked ? &none : &want);
                assert_int_equal(c.acted[KB_RULE_PORTS][KB_RULE_BLOCKED], blocked);
                /* INIT, data, event */
                assert_int_equal(c.acted[KB_RULE_PORTS][KB_RULE_OBSERVED],
                                 mode == OBSERVED && !allowed ? 3 : 0);
                kb_buf_finish(&in);
                close_channel(&c);
            }
        }
    }
}

/* What has moved says its INIT again; it does not become another port, whatever is observed. */
static void test_a_port_that_moved(void **state)
{
    (void)state;
    for (int same = 0; same < 2; same++) {
        for (int observed = 0; observed < 2; observed++) {
            struct channel c;
            open_channel(&c, KB_CHANNEL_PORT, 0);
            c.grammar.observed = c.rules->grammar_observed = observed;
            struct kb_buf in = {0};
            put_init(&in, "org.test.echo");
            say(&c, KB_FROM_SERVER, kb_buf_span(&in), SIZE_MAX);
            kb_grammar_move(&c.grammar);
            size_t before = c.out[KB_FROM_SERVER].len;
            in.len = 0;
            put_init(&in, same ? "org.test.echo" : "org.test.else");
            say(&c, KB_FROM_SERVER, kb_buf_span(&in), SIZE_MAX);
            assert_int_equal(c.over, !same);
            assert_int_equal(c.out[KB_FROM_SERVER].len, before + (same ? in.len : 0));
            kb_buf_finish(&in);
            close_channel(&c);
        }
    }
}

/* A grammar that only observes lets data come before the name; a rule about names does not. */
static void test_a_port_without_a_name(void **state)
{
    (void)state;
    static const uint8_t inits[][12] = {
        {0, 0, 0, 0, 9, 0, 0, 0, 1},                /* no text */
        {3, 0, 0, 0, 9, 0, 0, 0, 1, 'a', 'b', 'c'}, /* without its NUL */
        {3, 0, 0, 0, 9, 0, 0, 0, 1, 'a', 0, 0},     /* with two */
        {4, 0, 0, 0, 9, 0, 0, 0, 1, 'a', 'b', 0},   /* beyond the end */
        {3, 0, 0, 0, 255, 255, 255, 255, 1, 'a', 'b', 0},
    };
    for (int limited = 0; limited < 2; limited++) {
        for (size_t i = 0; i < sizeof inits / sizeof *inits; i++) {
            for (int observed = 0; observed < 2; observed++) {
                struct channel c;
                open_channel(&c, KB_CHANNEL_PORT, 0);
                c.grammar.observed = c.rules->grammar_observed = observed;
                if (limited)
                    forbid_ports(&c.rules->enforced);
                struct kb_buf in = {0};
                put(&in, SPICE_MSG_PORT_INIT, inits[i], sizeof inits[i]);
                say(&c, KB_FROM_SERVER, kb_buf_span(&in), SIZE_MAX);
                assert_int_equal(c.over, limited || !observed);
                assert_true(!c.over || c.out[KB_FROM_SERVER].len == 0);
                kb_buf_finish(&in);
                close_channel(&c);
            }
        }
        for (int d = 0; d < KB_DIRECTIONS; d++) {
            struct channel c;
            open_channel(&c, KB_CHANNEL_PORT, 0);
            c.grammar.observed = c.rules->grammar_observed = true;
            if (limited)
                forbid_ports(&c.rules->enforced);
            struct kb_buf in = {0};
            put(&in, SPICE_MSG_SPICEVMC_DATA, "quit\n", 5);
            say(&c, (enum kb_direction)d, kb_buf_span(&in), SIZE_MAX);
            assert_int_equal(c.over, limited);
            assert_int_equal(c.out[d].len, limited ? 0 : in.len);
            kb_buf_finish(&in);
            close_channel(&c);
        }
    }
}

/* A console that one may look at: what it says comes, what is typed does not go. */
static void test_view_only_ports(void **state)
{
    (void)state;
    static uint8_t large[40000];
    struct channel c;
    open_channel(&c, KB_CHANNEL_PORT, 0);
    forbid_input(&c.rules->enforced);
    struct kb_buf in = {0}, want = {0}, typed = {0}, left = {0};
    put_init(&in, "org.qemu.console.serial.0");
    put(&in, SPICE_MSG_SPICEVMC_DATA, "login: ", 7);
    kb_buf_add(&want, in.data, in.len);
    say(&c, KB_FROM_SERVER, kb_buf_span(&in), 3);
    static const uint8_t opened = SPICE_PORT_EVENT_OPENED, brk = SPICE_PORT_EVENT_BREAK;
    put(&typed, SPICE_MSGC_SPICEVMC_DATA, "root\n", 5);
    put(&typed, SPICE_MSGC_SPICEVMC_DATA, large, sizeof large); /* comes in pieces */
    put(&typed, SPICE_MSGC_PORT_EVENT, &brk, 1);
    put(&typed, SPICE_MSGC_PORT_EVENT, &opened, 1);
    put(&left, SPICE_MSGC_PORT_EVENT, &opened, 1);
    say(&c, KB_FROM_CLIENT, kb_buf_span(&typed), 1000);
    assert_out(&c, KB_FROM_SERVER, &want);
    assert_out(&c, KB_FROM_CLIENT, &left);
    assert_int_equal(c.acted[KB_RULE_VIEW_ONLY][KB_RULE_BLOCKED], 3);
    kb_buf_finish(&in);
    kb_buf_finish(&typed);
    close_channel(&c);
}

/* ---- the agent, of which the rest is test_agent.c's ---- */

static void forbid_resize(struct kb_limits *l)
{
    l->resize = false;
}

/* A client that is swallowed for ever never runs out of tokens. */
static void test_swallowed_agent_data_is_paid_back(void **state)
{
    (void)state;
    struct channel c;
    open_channel(&c, KB_CHANNEL_MAIN, 0);
    c.grammar.state = 0;
    forbid_resize(&c.rules->enforced);
    struct kb_buf server = {0}, start = {0};
    uint8_t init[32] = {0}, endless[4] = {255, 255, 255, 255}, monitors[20 + 8 + 20] = {1};
    kb_put_u32(init + 16, 1);
    kb_put_u32(init + 20, 10);
    put(&server, SPICE_MSG_MAIN_INIT, init, sizeof init);
    say(&c, KB_FROM_SERVER, kb_buf_span(&server), SIZE_MAX);
    uint32_t tokens = kb_get_u32(c.out[KB_FROM_SERVER].data + 6 + 20);
    assert_true(tokens > 0 && tokens <= 10);
    c.out[KB_FROM_SERVER].len = 0;
    put(&start, SPICE_MSGC_MAIN_AGENT_START, endless, 4);
    say(&c, KB_FROM_CLIENT, kb_buf_span(&start), SIZE_MAX);
    c.out[KB_FROM_CLIENT].len = 0;
    kb_put_u32(monitors + 4, 2); /* VD_AGENT_MONITORS_CONFIG */
    kb_put_u32(monitors + 16, 28);
    kb_put_u32(monitors + 20, 1);
    for (unsigned i = 0; i < 100; i++) {
        struct kb_buf in = {0};
        assert_true(tokens > 0);
        tokens--;
        put(&in, SPICE_MSGC_MAIN_AGENT_DATA, monitors, sizeof monitors);
        say(&c, KB_FROM_CLIENT, kb_buf_span(&in), 11);
        kb_buf_finish(&in);
        assert_false(c.over);
        assert_int_equal(c.out[KB_FROM_CLIENT].len, 0);
        struct kb_span back = kb_buf_span(&c.out[KB_FROM_SERVER]);
        for (size_t at = 0; at < back.len; at += 6 + kb_get_u32(back.data + at + 2))
            if (kb_get_u16(back.data + at) == SPICE_MSG_MAIN_AGENT_TOKEN)
                tokens += kb_get_u32(back.data + at + 6);
        c.out[KB_FROM_SERVER].len = 0;
    }
    assert_int_equal(c.acted[KB_RULE_RESIZE][KB_RULE_BLOCKED], 100);
    kb_buf_finish(&server);
    kb_buf_finish(&start);
    close_channel(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_view_only),
        cmocka_unit_test(test_motions_while_the_rules_change),
        cmocka_unit_test(test_channels_list),
        cmocka_unit_test(test_a_list_that_lies),
        cmocka_unit_test(test_screens),
        cmocka_unit_test(test_channel_rules),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_a_port_that_moved),
        cmocka_unit_test(test_a_port_without_a_name),
        cmocka_unit_test(test_view_only_ports),
        cmocka_unit_test(test_swallowed_agent_data_is_paid_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
