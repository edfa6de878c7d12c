/* Real sessions, recorded by tests/e2e/record, said again: nothing in them is refused or observed,
 * and what goes on is what came, whatever the cuts.
 *
 * A file of tests/corpus is one channel: u8 type, u8 id, then messages in the order in which they
 * passed: u8 direction, u16 type, u32 size, u16 n, and the first n bytes of the body (all of it
 * where policies read it); the rest is zeros here. */
#include "policy/edit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define DATA 101 /* of usbredir and webdav */
#define ROW 9
#define BODY_MAX (4u << 20)

static bool seen[KB_CHANNEL_END][KB_DIRECTIONS][400];
static bool moved[KB_FACT_USB_UNPLUGGED + 1][KB_DIRECTIONS];
static const char *file;

static void on_rule(void *owner, enum kb_rule rule, enum kb_rule_action action, enum kb_direction d,
                    const char *detail)
{
    (void)owner;
    (void)action;
    fail_msg("%s: rule %s, %s: %s", file, kb_rule_name(rule), kb_direction_name(d), detail);
}

static void on_fact(void *owner, const struct kb_fact *fact)
{
    (void)owner;
    moved[fact->kind][fact->direction] = true;
}

static size_t load(const char *path, uint8_t *text, size_t size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t len = fread(text, 1, size, f);
    assert_true(len > 2 && len < size);
    fclose(f);
    return len;
}

struct channel {
    struct kb_grammar_walk grammar;
    struct kb_stream streams[KB_DIRECTIONS];
    struct kb_edit_session session;
    struct kb_edit *edit;
    struct kb_content content;
    struct kb_rules *rules;
    bool bytes; /* a stream of bytes inside messages, which may be cut anew */
    struct kb_buf said[KB_DIRECTIONS], heard[KB_DIRECTIONS]; /* these bytes */
};

/* What took the place of a message that nothing forbids: itself, but for tokens, of which the
 * agent's filter keeps some. */
static void compare(struct kb_buf *to, const uint8_t *text, size_t len)
{
    assert_int_equal(to->len, len);
    assert_int_equal(kb_get_u16(to->data), kb_get_u16(text));
    bool tokens = kb_get_u16(text) == 103 || kb_get_u16(text) == 110 || kb_get_u16(text) == 115;
    if (!tokens)
        assert_memory_equal(to->data, text, len);
    to->len = 0;
}

/* The bodies of whole messages, one behind the other. */
static void collect(struct kb_buf *bodies, struct kb_span messages)
{
    for (size_t at = 0; at < messages.len;) {
        size_t size = kb_get_u32(messages.data + at + 2);
        at += KB_MINI_HEADER_SIZE;
        assert_true(size <= messages.len - at);
        if (size)
            kb_buf_add(bodies, messages.data + at, size);
        at += size;
    }
}

/* One message in pieces of at most `most` bytes more at a time; what goes on must be it. */
static void say(struct channel *c, enum kb_direction d, const uint8_t *text, size_t len,
                size_t most)
{
    size_t at = 0, have = most < len ? most : len, out = 0;
    bool whole = true; /* went on as it was */
    bool bytes = c->bytes && kb_get_u16(text) == DATA;
    while (out < len) {
        struct kb_piece p;
        enum kb_reason why = KB_REASON_NONE;
        enum kb_stream_step step =
            kb_stream_next(&c->streams[d], kb_span(text + at, have - at), &p, &why);
        if (step == KB_STREAM_BAD)
            fail_msg("%s: %u of %u bytes: %s", file, kb_get_u16(text), kb_get_u32(text + 2),
                     kb_reason_name(why));
        if (step == KB_STREAM_MORE) {
            assert_true(have < len);
            have = most < len - have ? have + most : len;
            continue;
        }
        at += p.bytes.len;
        if (!p.watched || !c->edit ||
            kb_edit_piece(c->edit, &c->content, c->rules, d, &p) == KB_EDIT_FORWARD) {
            assert_memory_equal(p.bytes.data, text + out, p.bytes.len);
            out += p.bytes.len;
        } else {
            if (bytes) {
                collect(&c->heard[d], kb_buf_span(&c->content.to[d]));
                c->content.to[d].len = 0;
            } else {
                compare(&c->content.to[d], text, len);
            }
            out += p.bytes.len;
            whole = false;
        }
        assert_int_equal(c->content.to[kb_other(d)].len, 0);
    }
    assert_int_equal(c->streams[d].left, 0);
    if (bytes && !whole)
        collect(&c->said[d], kb_span(text, len));
}

/* Of folder sharing what the frames carry: they are cut anew, and where both sides have closed a
 * connection the second frame that says so goes nowhere (spice-gtk would begin a new one for it).
 * The recordings have one connection at a time. */
static void unpack_frames(struct kb_buf *frames)
{
    struct kb_buf inside = {0};
    for (size_t at = 0; at + 10 <= frames->len;) {
        size_t size = kb_get_u16(frames->data + at + 8);
        assert_true(size <= frames->len - at - 10);
        if (size)
            kb_buf_add(&inside, frames->data + at + 10, size);
        at += 10 + size;
    }
    kb_buf_finish(frames);
    *frames = inside;
}

/* Whether it is the second half of a channel, which was opened at another server. Main says at its
 * beginning that it is. */
static bool has_moved(unsigned channel_type)
{
    return strstr(file, "-to-") && strncmp(file, "switch", 6) != 0 &&
           channel_type != KB_CHANNEL_MAIN;
}

static void replay(const uint8_t *text, size_t len, size_t most)
{
    static uint8_t message[KB_MINI_HEADER_SIZE + BODY_MAX];
    struct channel c = {.rules = kb_rules_create(),
                        .content = {.on_rule = on_rule, .on_fact = on_fact}};
    kb_grammar_init(&c.grammar, text[0], false);
    for (int d = 0; d < KB_DIRECTIONS; d++)
        kb_stream_init(&c.streams[d], &c.grammar, (enum kb_direction)d);
    if (has_moved(text[0])) {
        c.grammar.state |= KB_GRAMMAR_OPEN;
        kb_grammar_move(&c.grammar);
    }
    c.edit = kb_edit_create(text[0], text[1], &c.session);
    c.bytes = text[0] == KB_CHANNEL_USBREDIR || text[0] == KB_CHANNEL_WEBDAV;
    for (size_t at = 2; at < len;) {
        assert_true(len - at >= ROW);
        enum kb_direction d = text[at] ? KB_FROM_SERVER : KB_FROM_CLIENT;
        unsigned type = kb_get_u16(text + at + 1), kept = kb_get_u16(text + at + 7);
        uint32_t size = kb_get_u32(text + at + 3);
        assert_true(size <= BODY_MAX && kept <= size && len - at - ROW >= kept);
        memset(message, 0, KB_MINI_HEADER_SIZE + size);
        kb_put_u16(message, (uint16_t)type);
        kb_put_u32(message + 2, size);
        memcpy(message + KB_MINI_HEADER_SIZE, text + at + ROW, kept);
        say(&c, d, message, KB_MINI_HEADER_SIZE + size, most);
        seen[text[0]][d][type] = true;
        at += ROW + kept;
    }
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        if (text[0] == KB_CHANNEL_WEBDAV) {
            unpack_frames(&c.heard[d]);
            unpack_frames(&c.said[d]);
        }
        if (c.heard[d].len != c.said[d].len)
            fail_msg("%s: %zu of %zu bytes %s", file, c.heard[d].len, c.said[d].len,
                     kb_direction_name((enum kb_direction)d));
        if (c.said[d].len)
            assert_memory_equal(c.heard[d].data, c.said[d].data, c.said[d].len);
        kb_buf_finish(&c.heard[d]);
        kb_buf_finish(&c.said[d]);
    }
    kb_edit_destroy(c.edit, &c.content);
    kb_content_finish(&c.content);
    kb_rules_unref(c.rules);
}

/* What the recordings must hold, or they prove little. */
static const struct {
    uint8_t channel;
    enum kb_direction d;
    uint16_t type;
} wanted[] = {
    {KB_CHANNEL_MAIN, KB_FROM_CLIENT, 107}, /* agent */
    {KB_CHANNEL_MAIN, KB_FROM_SERVER, 111}, /* migration, both ways to do it */
    {KB_CHANNEL_MAIN, KB_FROM_SERVER, 116},
    {KB_CHANNEL_MAIN, KB_FROM_SERVER, 117},
    {KB_CHANNEL_MAIN, KB_FROM_SERVER, 2},
    {KB_CHANNEL_DISPLAY, KB_FROM_CLIENT, 5},
    {KB_CHANNEL_DISPLAY, KB_FROM_CLIENT, 102}, /* streams */
    {KB_CHANNEL_DISPLAY, KB_FROM_SERVER, 122},
    {KB_CHANNEL_DISPLAY, KB_FROM_SERVER, 123},
    {KB_CHANNEL_DISPLAY, KB_FROM_SERVER, 8}, /* a cache that two screens share */
    {KB_CHANNEL_DISPLAY, KB_FROM_SERVER, 317},
    {KB_CHANNEL_INPUTS, KB_FROM_CLIENT, 112},
    {KB_CHANNEL_CURSOR, KB_FROM_SERVER, 101},
    {KB_CHANNEL_PLAYBACK, KB_FROM_SERVER, 101}, /* sound both ways */
    {KB_CHANNEL_RECORD, KB_FROM_CLIENT, 101},
    {KB_CHANNEL_SMARTCARD, KB_FROM_CLIENT, 101},
    {KB_CHANNEL_USBREDIR, KB_FROM_CLIENT, 101},
    {KB_CHANNEL_USBREDIR, KB_FROM_SERVER, 101},
    {KB_CHANNEL_PORT, KB_FROM_SERVER, 201},
    {KB_CHANNEL_PORT, KB_FROM_CLIENT, 101},
    {KB_CHANNEL_WEBDAV, KB_FROM_CLIENT, 101},
    {KB_CHANNEL_WEBDAV, KB_FROM_SERVER, 101},
};

static void test_real_sessions(void **state)
{
    (void)state;
    static uint8_t text[1 << 20];
    const char *folder = getenv("KB_CORPUS");
    assert_non_null(folder);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    unsigned files = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char path[4096];
        if (e->d_name[0] == '.')
            continue;
        file = e->d_name;
        snprintf(path, sizeof path, "%s/%s", folder, file);
        size_t len = load(path, text, sizeof text);
        replay(text, len, SIZE_MAX);
        replay(text, len, 1460);
        if (len < 1000)
            replay(text, len, 7);
        files++;
    }
    closedir(dir);
    assert_true(files >= 60);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!seen[wanted[i].channel][wanted[i].d][wanted[i].type])
            fail_msg("no recording has %u on %s", wanted[i].type,
                     kb_channel_type_name(wanted[i].channel));
    assert_true(moved[KB_FACT_CLIPBOARD][KB_FROM_CLIENT] &&
                moved[KB_FACT_CLIPBOARD][KB_FROM_SERVER]);
    assert_true(moved[KB_FACT_FILE][KB_FROM_CLIENT]);
    assert_true(moved[KB_FACT_USB_PLUGGED][KB_FROM_CLIENT]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
