/* The agent filter between a client and a server that keep the accounts of real ones. Every
 * conversation is also held with each message cut at each of its bytes: what arrives must be the
 * same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#define MUST(what) assert_true(what)
#include "agent_rig.h"
#include "base/mem.h"

#include <sodium.h>

#define C KB_FROM_CLIENT
#define S KB_FROM_SERVER

/* A line of a conversation: an agent message, body as hex with blanks and 'text'. expect: what the
 * other side gets in its place, NULL: the same, "": nothing; back: what its sender gets. Both as
 * "TYPE BODY", messages divided by "|". */
struct line {
    enum kb_direction d;
    uint32_t type;
    const char *body, *expect, *back;
};

static void add_body(struct kb_buf *b, const char *text)
{
    while (*text && *text != '|') {
        if (*text == ' ') {
            text++;
        } else if (*text == '\'') {
            const char *end = strchr(++text, '\'');
            kb_buf_add(b, text, (size_t)(end - text));
            text = end + 1;
        } else {
            char digits[3] = {text[0], text[1], 0};
            uint8_t byte = (uint8_t)strtoul(digits, NULL, 16);
            kb_buf_add(b, &byte, 1);
            text += 2;
        }
    }
}

static void add_message(struct kb_buf *b, uint32_t type, const char *body)
{
    struct kb_buf bytes = {0};
    add_body(&bytes, body);
    kb_buf_add_u32(b, 1);
    kb_buf_add_u32(b, type);
    kb_buf_add_u32(b, 0);
    kb_buf_add_u32(b, 0);
    kb_buf_add_u32(b, (uint32_t)bytes.len);
    kb_buf_add(b, bytes.data, bytes.len);
    kb_buf_finish(&bytes);
}

static void add_expected(struct kb_buf *b, const char *text)
{
    while (text && *text) {
        char *end;
        uint32_t type = (uint32_t)strtoul(text, &end, 10);
        add_message(b, type, end);
        text = strchr(end, '|');
        if (text)
            text++;
    }
}

/* Says a message in chunks of at most `most`, the first of `first`. */
static bool say(struct agent_rig *r, enum kb_direction d, struct kb_span bytes, size_t first,
                size_t most)
{
    bool good = true;
    size_t next = first;
    while (bytes.len && good) {
        good = rig_chunk(r, d, kb_span_take_most(&bytes, next));
        next = most;
    }
    return good;
}

static void hold(const struct kb_rules *rules, const struct line *lines, size_t count, size_t cut,
                 size_t most)
{
    struct agent_rig r;
    struct kb_buf expect[KB_DIRECTIONS] = {{0}};
    rig_open(&r, rules);
    for (size_t i = 0; i < count; i++) {
        const struct line *l = &lines[i];
        struct kb_buf message = {0};
        add_message(&message, l->type, l->body);
        assert_true(say(&r, l->d, kb_buf_span(&message), cut, most));
        if (l->expect)
            add_expected(&expect[l->d], l->expect);
        else
            kb_buf_add(&expect[l->d], message.data, message.len);
        add_expected(&expect[kb_other(l->d)], l->back);
        kb_buf_finish(&message);
        for (int d = 0; d < KB_DIRECTIONS; d++) {
            size_t len = expect[d].len;
            if (r.got[d].len != len || (len && memcmp(r.got[d].data, expect[d].data, len) != 0))
                fail_msg("line %zu, direction %d, cut at %zu: %zu bytes instead of %zu", i, d, cut,
                         r.got[d].len, expect[d].len);
        }
    }
    for (int d = 0; d < KB_DIRECTIONS; d++)
        kb_buf_finish(&expect[d]);
    rig_close(&r);
}

static void hold_all_cuts(const struct kb_rules *rules, const struct line *lines, size_t count)
{
    hold(rules, lines, count, KB_AGENT_CHUNK_MAX, KB_AGENT_CHUNK_MAX);
    hold(rules, lines, count, 1, 1);
    for (size_t cut = 1; cut < 120; cut++)
        hold(rules, lines, count, cut, KB_AGENT_CHUNK_MAX);
}
#define HOLD(rules, lines) hold_all_cuts(rules, lines, sizeof(lines) / sizeof *(lines))

/* caps as little-endian hex: SELECTION 0x40, BY_DEMAND 0x20, SERIAL 0x20000. */
#define PLAIN_CAPS                                                                                 \
    {C, 6, "01000000 60000000"},                                                                   \
    {                                                                                              \
        S, 6, "00000000 60000000"                                                                  \
    }
#define SERIAL_CAPS                                                                                \
    {C, 6, "01000000 60000200"},                                                                   \
    {                                                                                              \
        S, 6, "00000000 60000200"                                                                  \
    }

static void test_everything_allowed(void **state)
{
    (void)state;
    static const struct line lines[] = {
        SERIAL_CAPS,
        {C, 7, "00000000 00000000 01000000 02000000"},
        {S, 8, "00000000 01000000"},
        {C, 4, "00000000 01000000 'text'"},
        {S, 7, "01000000 00000000 01000000"},
        {C, 8, "01000000 01000000"},
        {S, 4, "01000000 01000000 'out'"},
        {C, 9, "00000000"},
        {S, 9, "01000000"},
        {C, 2, "01000000 00000000 58020000 20030000 20000000 00000000 00000000"},
        {S, 3, "02000000 01000000"},
        {C, 1, "00000000 00000000 00000000 00"},
        {C, 5, "00000000 20000000"},
        {C, 14, "00040000"},
        {S, 15, "01000100 0000"},
    };
    struct kb_rules *rules = kb_rules_create();
    HOLD(rules, lines);
    kb_rules_unref(rules);
}

static void test_out_is_blocked(void **state)
{
    (void)state;
    static const struct line lines[] = {
        SERIAL_CAPS,
        {S, 7, "00000000 00000000 01000000", ""},
        /* The client asks all the same, and is told that there is nothing. */
        {C, 8, "00000000 01000000", "", "4 00000000 00000000"},
        {S, 4, "00000000 01000000 'secret'", ""},
        /* The guest counted its grab, the client did not: numbers are corrected. */
        {C, 7, "00000000 00000000 01000000", "7 00000000 01000000 01000000"},
        {S, 8, "00000000 01000000"},
        {C, 4, "00000000 01000000 'in'"},
        /* Nobody asked twice. */
        {C, 4, "00000000 01000000 'in'", ""},
        {S, 9, "00000000", ""},
        {C, 9, "00000000"},
    };
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.clipboard_out = rules->all.clipboard_out = false;
    HOLD(rules, lines);
    kb_rules_unref(rules);
}

static void test_in_is_blocked(void **state)
{
    (void)state;
    static const struct line lines[] = {
        SERIAL_CAPS,
        {C, 7, "00000000 00000000 01000000", ""},
        {S, 8, "00000000 01000000", "", "4 00000000 00000000"},
        {C, 4, "00000000 01000000 'secret'", ""},
        {S, 7, "00000000 00000000 01000000", "7 00000000 01000000 01000000"},
        {C, 8, "00000000 01000000"},
        {S, 4, "00000000 01000000 'out'"},
        /* A type that was not in the grab. */
        {C, 8, "00000000 02000000", "", "4 00000000 00000000"},
        {C, 8, "00000000 00000080", "", "4 00000000 00000000"},
    };
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.clipboard_in = rules->all.clipboard_in = false;
    HOLD(rules, lines);
    kb_rules_unref(rules);
}

static void test_nothing_allowed(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {C, 6, "01000000 ffff0300", "6 01000000 97fb0000"},
        {S, 6, "00000000 ffff0300", "6 00000000 97fb0000"},
        {C, 7, "01000000", ""},
        {S, 7, "01000000", ""},
        {S, 4, "01000000 'x'", ""},
        {C, 8, "01000000", "", "4 00000000"},
    };
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.clipboard_out = rules->all.clipboard_out = false;
    rules->enforced.clipboard_in = rules->all.clipboard_in = false;
    HOLD(rules, lines);
    kb_rules_unref(rules);
}

static void test_text_only(void **state)
{
    (void)state;
    static const struct line lines[] = {
        PLAIN_CAPS,
        {C, 7, "00000000 02000000 01000000 06000000", "7 00000000 01000000"},
        {S, 8, "00000000 02000000", "", "4 00000000 00000000"},
        {S, 8, "00000000 01000000"},
        {C, 4, "00000000 02000000 'PNG'", ""},
        {C, 4, "00000000 01000000 'text'"},
        /* Only an image: the offer of the text no longer stands. */
        {C, 7, "00000000 02000000", "9 00000000"},
        {C, 7, "00000000 02000000", ""},
        {S, 8, "00000000 01000000", "", "4 00000000 00000000"},
    };
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.clipboard_text_only = rules->all.clipboard_text_only = true;
    HOLD(rules, lines);
    kb_rules_unref(rules);
}

static void test_primary_and_size(void **state)
{
    (void)state;
    static const struct line lines[] = {
        PLAIN_CAPS,
        {C, 14, "ffffffff", "14 04000000"},
        {C, 14, "03000000"},
        {C, 7, "01000000 01000000", ""},
        {S, 7, "02000000 01000000", ""},
        {C, 7, "07000000 01000000", ""},
        {C, 7, "00000000 01000000"},
        {S, 8, "00000000 01000000"},
        {C, 4, "00000000 01000000 '1234'"},
        {S, 8, "00000000 01000000"},
        {C, 4, "00000000 01000000 '12345'", "4 00000000 00000000"},
        {S, 8, "00000000 01000000"},
        {C, 4, "00000000 00000000"}, /* the client has nothing after all */
    };
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.clipboard_primary = rules->all.clipboard_primary = false;
    rules->enforced.clipboard_max = rules->all.clipboard_max = 4;
    HOLD(rules, lines);
    kb_rules_unref(rules);
}

static void test_old_layout(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {C, 7, "01000000", ""}, /* before anything is agreed */
        {C, 6, "01000000 60000200"},
        {C, 7, "01000000", ""},
        {S, 6, "00000000 20000000"},
        {C, 7, "02000000 01000000", "7 01000000"},
        {S, 8, "01000000"},
        {C, 4, "01000000 'text'"},
        {S, 8, "02000000", "", "4 00000000"},
        {C, 9, ""},
    };
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.clipboard_text_only = rules->all.clipboard_text_only = true;
    HOLD(rules, lines);
    kb_rules_unref(rules);
}

#define START(id, name, size) id "'[vdagent-file-xfer]' 0a 'name=" name "' 0a 'size=" size "' 0a 00"

static void test_files(void **state)
{
    (void)state;
    static const char *const entries[] = {"*.txt", "!secret*"};
    static const struct kb_names names = {entries, 2};
    static const struct kb_names *lists[] = {&names};
    static const struct line lines[] = {
        {C, 6, "01000000 60400000"},
        {S, 6, "00000000 60000000"},
        {C, 10, START("01000000", "a.txt", "5")},
        {S, 11, "01000000 00000000"},
        {C, 12, "01000000 0300000000000000 'abc'"},
        {C, 12, "01000000 0200000000000000 'de'"},
        {S, 11, "01000000 03000000"},
        {S, 11, "01000000 03000000", ""},
        {C, 12, "01000000 0200000000000000 'de'", ""},
        /* Refused by name, by size, for what it is, and what follows goes nowhere. */
        {C, 10, START("02000000", "a.exe", "5"), "", "11 02000000 02000000 00 0a000000"},
        {C, 12, "02000000 0200000000000000 'MZ'", ""},
        {C, 10, START("02000000", "SECRET.txt", "5"), "", "11 02000000 02000000 00 0a000000"},
        {C, 10, START("03000000", "b.txt", "6"), "", "11 03000000 01000000"},
        {C, 10, START("03000000", "../b.txt", "6"), "", "11 03000000 02000000 00 0a000000"},
        {C, 10, START("03000000", "a.exe' 0a 'name=b.txt", "1"), "",
         "11 03000000 02000000 00 0a000000"},
        {C, 10, "03000000", "", "11 03000000 02000000 00 0a000000"},
        /* More than announced: both sides give it up. */
        {C, 10, START("04000000", "c.txt", "3")},
        {C, 12, "04000000 0400000000000000 'abcd'", "11 04000000 01000000", "11 04000000 01000000"},
        {C, 12, "04000000 0400000000000000 'abcd'", ""},
        /* A length inside that is not the message's. */
        {C, 10, START("05000000", "c.txt", "3")},
        {C, 12, "05000000 0300000000000000 'ab'", "11 05000000 01000000", "11 05000000 01000000"},
        /* Given up by the client. */
        {C, 10, START("06000000", "c.txt", "3")},
        {C, 11, "06000000 01000000"},
        {C, 12, "06000000 0100000000000000 'a'", ""},
        /* The guest sends no files. */
        {S, 10, START("07000000", "c.txt", "3"), ""},
        {S, 12, "07000000 0100000000000000 'a'", ""},
    };
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.files_names = rules->all.files_names = (struct kb_names_lists){lists, 1};
    rules->enforced.files_max = rules->all.files_max = 5;
    HOLD(rules, lines);
    rules->enforced.files_names = rules->all.files_names = (struct kb_names_lists){NULL, 0};
    kb_rules_unref(rules);
}

static void test_files_off(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {C, 6, "01000000 60400000"},
        {S, 6, "00000000 60000000", "6 00000000 60200000"},
        {C, 10, START("01000000", "a.txt", "5"), "", "11 01000000 07000000"},
        {C, 6, "00000000 60000000"}, /* a client that knows no such answer */
        {C, 10, START("02000000", "a.txt", "5"), "", "11 02000000 02000000"},
    };
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.files_in = rules->all.files_in = false;
    HOLD(rules, lines);
    kb_rules_unref(rules);
}

/* The fact: name, size and the hash of what passed. */
static void test_file_fact(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    struct agent_rig r;
    struct kb_buf start = {0}, data = {0};
    uint8_t bytes[70000], want[32];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31 >> 3);
    crypto_hash_sha256(want, bytes, sizeof bytes);
    rig_open(&r, rules);
    add_message(&start, 10, START("01000000", "a\\sb.bin", "70000"));
    assert_true(say(&r, C, kb_buf_span(&start), 2048, 2048));
    for (size_t at = 0; at < sizeof bytes; at += 35000) {
        data.len = 0;
        kb_buf_add_u32(&data, 1);
        kb_buf_add_u32(&data, 12);
        kb_buf_add_u32(&data, 0);
        kb_buf_add_u32(&data, 0);
        kb_buf_add_u32(&data, 12 + 35000);
        kb_buf_add_u32(&data, 1);
        kb_buf_add_u32(&data, 35000);
        kb_buf_add_u32(&data, 0);
        kb_buf_add(&data, bytes + at, 35000);
        assert_true(say(&r, C, kb_buf_span(&data), 77, 2000));
    }
    assert_int_equal(r.facts[KB_FACT_FILE], 0);
    start.len = 0;
    add_message(&start, 11, "01000000 03000000");
    assert_true(say(&r, S, kb_buf_span(&start), 2048, 2048));
    assert_int_equal(r.facts[KB_FACT_FILE], 1);
    assert_string_equal(r.last_name, "a b.bin");
    assert_true(r.last.complete && r.last.bytes == 70000 && r.last.size == 70000);
    assert_memory_equal(r.last.sha256, want, 32);
    kb_buf_finish(&start);
    kb_buf_finish(&data);
    rig_close(&r);
    kb_rules_unref(rules);
}

static void test_unfinished_file_fact(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    struct agent_rig r;
    struct kb_buf start = {0};
    rig_open(&r, rules);
    add_message(&start, 10, START("01000000", "a", "7"));
    assert_true(say(&r, C, kb_buf_span(&start), 2048, 2048));
    assert_true(rig_feed(&r, S, SPICE_MSG_MAIN_AGENT_DISCONNECTED, kb_span("\0\0\0\0", 4)));
    assert_int_equal(r.facts[KB_FACT_FILE], 1);
    assert_false(r.last.complete);
    kb_buf_finish(&start);
    rig_close(&r);
    kb_rules_unref(rules);
}

static void test_screens_and_resize(void **state)
{
    (void)state;
#define MONITOR(n) "5802000" n " 20030000 20000000 00000000 00000000"
    static const struct line clipped[] = {
        {C, 2, "02000000 01000000" MONITOR("1") MONITOR("2"), "2 01000000 01000000" MONITOR("1")},
        {C, 2, "02000000 02000000" MONITOR("1") MONITOR("2") "11111111 22222222",
         "2 01000000 02000000" MONITOR("1") "11111111"},
        {C, 2, "01000000 01000000" MONITOR("1")},
    };
    static const struct line off[] = {
        {C, 2, "02000000 01000000" MONITOR("1") MONITOR("2"), "", "3 02000000 01000000"},
        {C, 1, "00000000 00000000 00000000 00"},
    };
    static const struct line looking[] = {
        {C, 2, "02000000 01000000" MONITOR("1") MONITOR("2"), "", "3 02000000 01000000"},
        {C, 1, "00000000 00000000 00000000 00", ""},
    };
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.screens = rules->all.screens = 1;
    HOLD(rules, clipped);
    rules->enforced.resize = rules->all.resize = false;
    HOLD(rules, off);
    rules->enforced.view_only = rules->all.view_only = true;
    HOLD(rules, looking);
    kb_rules_unref(rules);
}

static void test_observed(void **state)
{
    (void)state;
    static const struct line lines[] = {
        SERIAL_CAPS,
        {C, 7, "00000000 00000000 01000000"},
        {S, 8, "00000000 01000000"},
        {C, 4, "00000000 01000000 'seen'"},
        {C, 10, START("01000000", "a.txt", "5")},
        {C, 2, "01000000 01000000" MONITOR("1")},
    };
    struct kb_rules *rules = kb_rules_create();
    rules->observing = true;
    rules->all.clipboard_in = rules->all.files_in = rules->all.resize = false;
    HOLD(rules, lines);
    struct agent_rig r;
    rig_open(&r, rules);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct kb_buf m = {0};
        add_message(&m, lines[i].type, lines[i].body);
        assert_true(say(&r, lines[i].d, kb_buf_span(&m), 2048, 2048));
        kb_buf_finish(&m);
    }
    assert_true(r.rules_hit[KB_RULE_CLIPBOARD_IN][KB_RULE_OBSERVED] > 0);
    assert_int_equal(r.rules_hit[KB_RULE_FILES_IN][KB_RULE_OBSERVED], 1);
    assert_int_equal(r.rules_hit[KB_RULE_RESIZE][KB_RULE_OBSERVED], 1);
    assert_int_equal(r.rules_hit[KB_RULE_CLIPBOARD_IN][KB_RULE_BLOCKED], 0);
    assert_int_equal(r.facts[KB_FACT_CLIPBOARD], 1);
    rig_close(&r);
    kb_rules_unref(rules);
}

/* What no honest client sends ends it; what no honest guest sends costs it its agent alone. */
static void test_unreadable(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    static const struct {
        uint32_t protocol, type, size;
    } heads[] = {
        {2, 4, 8}, {1, 4, 0xffffffff}, {1, 6, 9000}, {1, 6, 3}, {1, 14, 3}, {1, 2, 4}, {1, 12, 3},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        for (int d = 0; d < KB_DIRECTIONS; d++) {
            struct agent_rig r;
            uint8_t chunk[40] = {0};
            kb_put_u32(chunk, heads[i].protocol);
            kb_put_u32(chunk + 4, heads[i].type);
            kb_put_u32(chunk + 16, heads[i].size);
            rig_open(&r, rules);
            size_t len = 20 + (heads[i].size < 20 ? heads[i].size : 20);
            bool good = rig_chunk(&r, (enum kb_direction)d, kb_span(chunk, len));
            assert_int_equal(good, d == S);
            assert_int_equal(r.got[d].len, 0);
            assert_int_equal(r.rules_hit[KB_RULE_AGENT_FORM][KB_RULE_BLOCKED], 1);
            if (good) {
                struct kb_buf caps = {0};
                add_message(&caps, 6, "00000000 00000000");
                assert_true(rig_chunk(&r, S, kb_buf_span(&caps)));
                /* Another agent, another try; only where the first was dead is there none. */
                uint8_t tokens[4] = {RIG_TOKENS}, grant[4] = {255, 255, 255, 255};
                r.server_tokens = RIG_TOKENS;
                r.used = 0;
                rig_feed(&r, S, SPICE_MSG_MAIN_AGENT_CONNECTED_TOKENS, kb_span(tokens, 4));
                rig_feed(&r, C, SPICE_MSGC_MAIN_AGENT_START, kb_span(grant, 4));
                size_t before = r.got[S].len;
                assert_true(rig_chunk(&r, S, kb_buf_span(&caps)));
                assert_int_equal(r.got[S].len, before + caps.len);
                kb_buf_finish(&caps);
            }
            rig_close(&r);
        }
    }
    kb_rules_unref(rules);
}

static void test_hostile_client(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    struct kb_buf two = {0};
    uint8_t longer[KB_AGENT_CHUNK_MAX + 1] = {1};
    struct agent_rig r;

    add_message(&two, 5, "00000000 00000000");
    add_message(&two, 5, "00000000 00000000");
    rig_open(&r, rules);
    assert_false(rig_chunk(&r, C, kb_buf_span(&two)));
    rig_close(&r);

    /* From the guest's side, which may join them, each goes on by itself. */
    two.len = 0;
    add_message(&two, 3, "02000000 01000000");
    add_message(&two, 3, "02000000 01000000");
    rig_open(&r, rules);
    assert_true(rig_chunk(&r, S, kb_buf_span(&two)));
    assert_int_equal(r.got[S].len, two.len);
    rig_close(&r);

    rig_open(&r, rules);
    assert_false(rig_chunk(&r, C, kb_span(longer, sizeof longer)));
    rig_close(&r);

    /* More chunks than tokens, with a server that gives none back. */
    rig_open(&r, rules);
    struct kb_buf one = {0};
    add_message(&one, 5, "00000000 00000000");
    for (int i = 0; i < RIG_TOKENS; i++) {
        r.client_tokens--;
        assert_true(rig_feed(&r, C, SPICE_MSGC_MAIN_AGENT_DATA, kb_buf_span(&one)));
    }
    assert_false(rig_feed(&r, C, SPICE_MSGC_MAIN_AGENT_DATA, kb_buf_span(&one)));
    rig_close(&r);

    /* For an agent that is gone: swallowed, not counted. */
    rig_open(&r, rules);
    assert_true(rig_feed(&r, S, SPICE_MSG_MAIN_AGENT_DISCONNECTED, kb_span("\0\0\0\0", 4)));
    for (int i = 0; i < 50; i++)
        assert_true(rig_feed(&r, C, SPICE_MSGC_MAIN_AGENT_DATA, kb_buf_span(&one)));
    assert_int_equal(r.got[C].len, 0);
    rig_close(&r);
    kb_buf_finish(&one);
    kb_buf_finish(&two);
    kb_rules_unref(rules);
}

/* A guest that asks and asks: answers come while there are tokens of ours, the rest when the server
 * gives them back, and never more than is kept. */
static void test_questions_without_end(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.clipboard_in = rules->all.clipboard_in = false;
    struct agent_rig r;
    struct kb_buf m = {0};
    rig_open(&r, rules);
    add_message(&m, 6, "01000000 60000000");
    assert_true(rig_chunk(&r, C, kb_buf_span(&m)));
    m.len = 0;
    add_message(&m, 6, "00000000 60000000");
    assert_true(rig_chunk(&r, S, kb_buf_span(&m)));
    size_t before = r.got[C].len;
    m.len = 0;
    add_message(&m, 8, "00000000 01000000");
    /* A server that is slow to give back. */
    for (int i = 0; i < 1000; i++)
        assert_true(rig_feed(&r, S, SPICE_MSG_MAIN_AGENT_DATA, kb_buf_span(&m)));
    assert_in_range((r.got[C].len - before) / 28, 1, KB_AGENT_RESERVE);
    assert_int_equal(kb_agent_reserve(r.a), 0);
    for (int i = 0; i < 200; i++)
        rig_give_back(&r);
    size_t answered = (r.got[C].len - before) / 28;
    assert_in_range(answered, 50, 200);
    /* The client never spoke, and the server gives back by fives: still, all that follows is
     * answered at once. */
    for (int i = 0; i < 50; i++) {
        assert_true(rig_chunk(&r, S, kb_buf_span(&m)));
        assert_int_equal((r.got[C].len - before) / 28, ++answered);
    }
    assert_int_equal(r.client_tokens + kb_agent_reserve(r.a), r.server_tokens);
    kb_buf_finish(&m);
    rig_close(&r);
    kb_rules_unref(rules);
}

/* A client that counts what the server may send: swallowed chunks are paid back to the server, our
 * own are not asked for. */
static void test_finite_grant(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.clipboard_out = rules->all.clipboard_out = false;
    struct kb_agent *a = kb_agent_create();
    struct kb_content c = {0};
    uint8_t init[32] = {0}, four[4] = {5};
    struct kb_buf m = {0};
    kb_put_u32(init + 20, RIG_TOKENS);
    kb_agent_feed(a, &c, rules, S, SPICE_MSG_MAIN_INIT, kb_span(init, sizeof init));
    kb_agent_feed(a, &c, rules, C, SPICE_MSGC_MAIN_AGENT_START, kb_span(four, 4));
    add_message(&m, 10, "00"); /* nothing that a guest sends */
    c.to[C].len = c.to[S].len = 0;
    assert_true(kb_agent_feed(a, &c, rules, S, SPICE_MSG_MAIN_AGENT_DATA, kb_buf_span(&m)));
    assert_int_equal(c.to[S].len, 0);
    static const uint8_t one_token[] = {108, 0, 4, 0, 0, 0, 1, 0, 0, 0};
    assert_int_equal(c.to[C].len, sizeof one_token);
    assert_memory_equal(c.to[C].data, one_token, sizeof one_token);
    /* Ours: the answer to a transfer. Of the two tokens that come back one is for it. */
    m.len = 0;
    add_message(&m, 10, "01000000");
    assert_true(kb_agent_feed(a, &c, rules, C, SPICE_MSGC_MAIN_AGENT_DATA, kb_buf_span(&m)));
    c.to[C].len = 0;
    kb_put_u32(four, 2);
    assert_true(kb_agent_feed(a, &c, rules, C, SPICE_MSGC_MAIN_AGENT_TOKEN, kb_span(four, 4)));
    assert_memory_equal(c.to[C].data, one_token, sizeof one_token);
    kb_buf_finish(&m);
    kb_content_finish(&c);
    kb_agent_destroy(a);
    kb_rules_unref(rules);
}

/* Grabs that cross, one of them blocked: the counts stay together. */
static void test_crossing_grabs(void **state)
{
    (void)state;
    static const struct line lines[] = {
        SERIAL_CAPS,
        {S, 7, "00000000 00000000 01000000"},
        /* Said before the guest's came: blocked. The client drops the guest's, as it would. */
        {C, 7, "00000000 00000000 01000000", ""},
        {S, 7, "00000000 01000000 01000000"},
        {C, 7, "00000000 02000000 01000000", ""},
        {S, 7, "00000000 02000000 01000000", "7 00000000 03000000 01000000"},
    };
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.clipboard_in = rules->all.clipboard_in = false;
    HOLD(rules, lines);
    kb_rules_unref(rules);
}

static int start(void **state)
{
    (void)state;
    return sodium_init() < 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_allowed),
        cmocka_unit_test(test_out_is_blocked),
        cmocka_unit_test(test_in_is_blocked),
        cmocka_unit_test(test_nothing_allowed),
        cmocka_unit_test(test_text_only),
        cmocka_unit_test(test_primary_and_size),
        cmocka_unit_test(test_old_layout),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_files_off),
        cmocka_unit_test(test_file_fact),
        cmocka_unit_test(test_unfinished_file_fact),
        cmocka_unit_test(test_screens_and_resize),
        cmocka_unit_test(test_observed),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_hostile_client),
        cmocka_unit_test(test_questions_without_end),
        cmocka_unit_test(test_finite_grant),
        cmocka_unit_test(test_crossing_grabs),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
