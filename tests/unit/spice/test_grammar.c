/* The grammar: complete by the installed protocol headers, exact in its limits and states, and
 * nothing slips through. */
#include "grammar_numbers.h"
#include "spice/grammar.h"
#include "spice/stream.h"

#include <spice/enums.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* Every SPICE_MSG_ and SPICE_MSGC_ of the header that the build found, by name and number
 * (grammar_numbers.py makes the list): where it belongs goes by its name. */
static const struct {
    const char *prefix;
    uint8_t channels[4];
} families[] = {
    {"MAIN_", {KB_CHANNEL_MAIN}},
    {"DISPLAY_", {KB_CHANNEL_DISPLAY}},
    {"INPUTS_", {KB_CHANNEL_INPUTS}},
    {"CURSOR_", {KB_CHANNEL_CURSOR}},
    {"PLAYBACK_", {KB_CHANNEL_PLAYBACK}},
    {"RECORD_", {KB_CHANNEL_RECORD}},
    {"SMARTCARD_", {KB_CHANNEL_SMARTCARD}},
    {"SPICEVMC_", {KB_CHANNEL_USBREDIR, KB_CHANNEL_PORT, KB_CHANNEL_WEBDAV}},
    {"PORT_", {KB_CHANNEL_PORT, KB_CHANNEL_WEBDAV}},
};

static void assert_row(unsigned channel, enum kb_direction d, unsigned number, const char *name)
{
    const struct kb_grammar_row *m = kb_grammar_find(channel, d, number);
    if (!m)
        fail_msg("no row for %s (%u) on %s", name, number, kb_channel_type_name(channel));
    assert_true(m->min <= m->max);
}

static void test_every_number_of_the_header(void **state)
{
    (void)state;
    unsigned of_a_channel = 0;
    for (size_t i = 0; i < sizeof grammar_numbers / sizeof *grammar_numbers; i++) {
        const struct grammar_number *n = &grammar_numbers[i];
        enum kb_direction d = n->from_client ? KB_FROM_CLIENT : KB_FROM_SERVER;
        bool found = false;
        for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
            if (strncmp(n->name, families[f].prefix, strlen(families[f].prefix)) != 0)
                continue;
            for (const uint8_t *c = families[f].channels; *c && c < families[f].channels + 4; c++)
                assert_row(*c, d, n->number, n->name);
            found = true;
            of_a_channel++;
        }
        /* What has no channel in its name is every channel's. */
        for (unsigned c = KB_CHANNEL_MAIN; !found && c < KB_CHANNEL_END; c++)
            assert_row(c, d, n->number, n->name);
    }
    /* 0.14.3 has these many; fewer would mean that the list is not read any more. */
    assert_true(of_a_channel >= 115);
    assert_true(sizeof grammar_numbers / sizeof *grammar_numbers >= 129);
}

/* And the other way: no row without a number in the header. */
static void test_no_row_too_many(void **state)
{
    (void)state;
    for (unsigned c = KB_CHANNEL_MAIN; c < KB_CHANNEL_END; c++) {
        for (int d = 0; d < KB_DIRECTIONS; d++) {
            for (unsigned type = 0; type <= 0xffff; type++) {
                bool known = false;
                for (size_t i = 0; i < sizeof grammar_numbers / sizeof *grammar_numbers; i++)
                    known = known || (grammar_numbers[i].number == type &&
                                      grammar_numbers[i].from_client == (d == KB_FROM_CLIENT));
                const struct kb_grammar_row *m = kb_grammar_find(c, (enum kb_direction)d, type);
                if (m && !known)
                    fail_msg("%s %u on %s is not in the header", m->name, type,
                             kb_channel_type_name(c));
                if (type > 1000 && type < 0xffff - 10)
                    type += 97;
            }
        }
    }
}

static void put_header(uint8_t *p, unsigned type, uint32_t size)
{
    kb_put_u16(p, (uint16_t)type);
    kb_put_u32(p + 2, size);
}

/* Says one message with a body of zeros to a channel; what the stream answers. */
static enum kb_reason say(struct kb_grammar_walk *g, enum kb_direction d, unsigned type,
                          uint32_t size)
{
    static uint8_t text[KB_MINI_HEADER_SIZE + KB_STREAM_HELD_MAX];
    struct kb_stream s;
    struct kb_piece p;
    enum kb_reason why = KB_REASON_NONE;
    put_header(text, type, size);
    size_t here = size < KB_STREAM_HELD_MAX ? size : KB_STREAM_HELD_MAX;
    memset(text + 6, 0, here);
    kb_stream_init(&s, g, d);
    switch (kb_stream_next(&s, kb_span(text, 6 + here), &p, &why)) {
    case KB_STREAM_PIECE:
        assert_int_equal(s.messages, 1);
        return p.breach;
    case KB_STREAM_BAD:
        assert_int_equal(s.messages, 0);
        return why;
    case KB_STREAM_MORE:
        break;
    }
    fail();
    return KB_REASON_NONE;
}

/* Both ends of every row's lengths, and one beyond. */
static void test_lengths(void **state)
{
    (void)state;
    for (unsigned c = KB_CHANNEL_MAIN; c < KB_CHANNEL_END; c++) {
        for (int dir = 0; dir < KB_DIRECTIONS; dir++) {
            enum kb_direction d = (enum kb_direction)dir;
            for (unsigned type = 0; type < 400; type++) {
                const struct kb_grammar_row *m = kb_grammar_find(c, d, type);
                struct kb_grammar_walk g;
                kb_grammar_init(&g, c, false);
                if (!m) {
                    assert_int_equal(say(&g, d, type, 0), KB_REASON_MESSAGE_UNKNOWN);
                    continue;
                }
                g.state = m->needs & (uint8_t)~KB_GRAMMAR_NEVER;
                enum kb_reason good =
                    m->needs & KB_GRAMMAR_NEVER ? KB_REASON_MESSAGE_OUT_OF_PLACE : KB_REASON_NONE;
                struct kb_grammar_walk at_start = g;
                assert_int_equal(say(&g, d, type, m->min), good);
                g = at_start;
                assert_int_equal(say(&g, d, type, m->max + 1), KB_REASON_MESSAGE_TOO_LONG);
                if (m->min > 0)
                    assert_int_equal(say(&g, d, type, m->min - 1), KB_REASON_MESSAGE_TOO_SHORT);
                /* Nobody has been given it, so nothing has changed. */
                assert_int_equal(g.state, at_start.state);
                assert_int_equal(say(&g, d, type, m->max), good);
                /* No length of one message is beyond what the channel carries at all. */
                bool migrate_data = type == (dir == KB_FROM_CLIENT ? 5 : 2);
                assert_true(migrate_data || m->max <= kb_grammar[c][d].longest);
            }
        }
    }
}

#define C KB_FROM_CLIENT
#define S KB_FROM_SERVER
#define GOOD KB_REASON_NONE
#define LATE KB_REASON_MESSAGE_OUT_OF_PLACE

/* Conversations: who says what, and what becomes of it. Number 0 ends one. */
static const struct {
    unsigned channel;
    struct line {
        enum kb_direction d;
        unsigned type;
        uint32_t size;
        enum kb_reason why;
    } lines[10];
} conversations[] = {
    /* nothing before INIT, and no second one */
    {KB_CHANNEL_MAIN,
     {{S, 104, 4, LATE},
      {C, 104, 0, LATE},
      {S, 4, 12, GOOD},
      {S, 103, 32, GOOD},
      {C, 104, 0, GOOD},
      {S, 104, 4, GOOD},
      {S, 103, 32, LATE}}},
    /* no agent before AGENT_START */
    {KB_CHANNEL_MAIN,
     {{S, 103, 32, GOOD},
      {C, 107, 20, LATE},
      {C, 106, 4, GOOD},
      {C, 107, 20, GOOD},
      {S, 109, 20, GOOD}}},
    /* answers to a migration that nobody announced */
    {KB_CHANNEL_MAIN,
     {{S, 103, 32, GOOD},
      {C, 102, 0, LATE},
      {C, 103, 0, LATE},
      {C, 111, 0, LATE},
      {S, 101, 20, GOOD},
      {C, 102, 0, GOOD},
      {S, 102, 0, GOOD},
      {C, 111, 0, LATE}}},
    {KB_CHANNEL_MAIN,
     {{S, 2, 4, LATE}, {C, 4, 0, LATE}, {S, 1, 4, GOOD}, {C, 4, 0, GOOD}, {S, 2, 4, GOOD}}},
    /* the new server of a seamless migration */
    {KB_CHANNEL_MAIN,
     {{C, 110, 4, GOOD},
      {S, 117, 0, GOOD},
      {S, 104, 4, GOOD},
      {C, 5, 9, GOOD},
      {C, 107, 20, GOOD},
      {S, 103, 32, LATE}}},
    /* display waits for the client's INIT */
    {KB_CHANNEL_DISPLAY,
     {{S, 304, 57, LATE},
      {C, 103, 1, LATE},
      {S, 3, 8, GOOD},
      {C, 1, 4, GOOD},
      {C, 101, 14, GOOD},
      {S, 304, 57, GOOD},
      {C, 101, 14, LATE}}},
    {KB_CHANNEL_DISPLAY, {{C, 5, 9, GOOD}, {S, 304, 57, GOOD}}},
    /* never: a file descriptor, and other messages in one where nobody puts them */
    {KB_CHANNEL_DISPLAY, {{C, 101, 14, GOOD}, {S, 320, 20, LATE}, {S, 321, 16, GOOD}}},
    {KB_CHANNEL_MAIN, {{S, 103, 32, GOOD}, {S, 8, 2, LATE}}},
    {KB_CHANNEL_INPUTS,
     {{C, 101, 4, GOOD},
      {S, 111, 0, LATE},
      {S, 101, 2, GOOD},
      {S, 111, 0, GOOD},
      {S, 101, 2, LATE}}},
    {KB_CHANNEL_CURSOR,
     {{S, 104, 4, LATE},
      {S, 101, 11, GOOD},
      {S, 104, 4, GOOD},
      {S, 101, 11, GOOD},
      {C, 101, 0, KB_REASON_MESSAGE_UNKNOWN}}},
    {KB_CHANNEL_PLAYBACK,
     {{S, 101, 9, LATE},
      {S, 102, 6, GOOD},
      {S, 103, 14, GOOD},
      {S, 101, 9, GOOD},
      {S, 104, 0, GOOD},
      {S, 101, 9, LATE}}},
    /* what was under way when the server said STOP */
    {KB_CHANNEL_RECORD,
     {{C, 101, 9, LATE},
      {S, 103, 1, GOOD},
      {S, 101, 10, GOOD},
      {C, 101, 9, GOOD},
      {S, 102, 0, GOOD},
      {C, 101, 9, GOOD}}},
    {KB_CHANNEL_USBREDIR,
     {{C, 101, 9, GOOD}, {S, 102, 9, GOOD}, {S, 201, 9, KB_REASON_MESSAGE_UNKNOWN}}},
    {KB_CHANNEL_PORT,
     {{S, 101, 9, LATE},
      {C, 101, 9, LATE},
      {C, 201, 1, LATE},
      {S, 201, 20, GOOD},
      {S, 101, 9, GOOD},
      {C, 101, 9, GOOD},
      {C, 201, 1, GOOD},
      {S, 202, 1, GOOD},
      {S, 201, 20, LATE}}},
    {KB_CHANNEL_WEBDAV, {{C, 101, 9, LATE}, {S, 201, 20, GOOD}, {C, 102, 9, GOOD}}},
    {KB_CHANNEL_TUNNEL, {{S, 101, 9, KB_REASON_MESSAGE_UNKNOWN}, {S, 4, 12, GOOD}}},
};

static void test_conversations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof conversations / sizeof *conversations; i++) {
        for (int observed = 0; observed < 2; observed++) {
            struct kb_grammar_walk g;
            kb_grammar_init(&g, conversations[i].channel, observed);
            for (const struct line *l = conversations[i].lines; l->type; l++) {
                enum kb_reason why = say(&g, l->d, l->type, l->size);
                if (why != l->why)
                    fail_msg("conversation %zu: %u: %s", i, l->type, kb_reason_name(why));
                /* What is out of place and only observed has happened all the same. */
                if (observed && l->why != GOOD)
                    break;
            }
        }
    }
}

/* ---- LIST ---- */

/* As spice-server marshals it: an INVAL_LIST (or another) and a WAIT_FOR_CHANNELS behind it, named
 * in the other order, with sizes that end behind the LIST. */
static size_t put_list(uint8_t *p, unsigned inner, unsigned resources)
{
    uint8_t *body = p + 6;
    size_t first = 2 + 2 * 4, size = 2 + 9 * (size_t)resources, second = first + 6 + size;
    kb_put_u16(body, 2);
    kb_put_u32(body + 2, (uint32_t)second);
    kb_put_u32(body + 6, (uint32_t)first);
    put_header(body + first, inner, 8 + 16 * resources);
    kb_put_u16(body + first + 6, (uint16_t)resources);
    memset(body + first + 8, 0, size - 2);
    put_header(body + second, SPICE_MSG_WAIT_FOR_CHANNELS, 24);
    memset(body + second + 6, 0, 11);
    body[second + 6] = 1;
    size_t len = second + 6 + 11;
    put_header(p, SPICE_MSG_LIST, (uint32_t)len);
    return 6 + len;
}

static enum kb_reason hear_list(const uint8_t *text, size_t len, bool observed)
{
    struct kb_grammar_walk g;
    struct kb_stream s;
    struct kb_piece p;
    enum kb_reason why = KB_REASON_NONE;
    kb_grammar_init(&g, KB_CHANNEL_DISPLAY, observed);
    g.state = KB_GRAMMAR_OPEN;
    kb_stream_init(&s, &g, KB_FROM_SERVER);
    /* Whole or not at all, however long it is. */
    for (size_t cut = 0; cut < len; cut += len < 200 ? 1 : 977)
        assert_int_equal(kb_stream_next(&s, kb_span(text, cut), &p, &why), KB_STREAM_MORE);
    if (kb_stream_next(&s, kb_span(text, len), &p, &why) == KB_STREAM_BAD)
        return why;
    assert_int_equal(p.bytes.len, len);
    assert_true(p.first && p.last);
    return p.breach;
}

static void test_list(void **state)
{
    (void)state;
    static uint8_t text[KB_MINI_HEADER_SIZE + KB_STREAM_HELD_MAX];
    assert_int_equal(hear_list(text, put_list(text, SPICE_MSG_DISPLAY_INVAL_LIST, 1), false),
                     KB_REASON_NONE);
    assert_int_equal(hear_list(text, put_list(text, SPICE_MSG_DISPLAY_INVAL_LIST, 10000), false),
                     KB_REASON_NONE);
    /* Nothing else hides in it, a LIST neither. */
    static const unsigned others[] = {SPICE_MSG_LIST,
                                      SPICE_MSG_DISPLAY_MONITORS_CONFIG,
                                      SPICE_MSG_DISPLAY_DRAW_COPY,
                                      SPICE_MSG_MIGRATE,
                                      0,
                                      65535};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        size_t len = put_list(text, others[i], 6);
        assert_int_equal(hear_list(text, len, false), KB_REASON_MESSAGE_MALFORMED);
        assert_int_equal(hear_list(text, len, true), KB_REASON_MESSAGE_MALFORMED);
    }
    /* Counts and offsets that lead outside. */
    size_t good = put_list(text, SPICE_MSG_DISPLAY_INVAL_LIST, 1);
    for (size_t len = 8; len < good; len++) {
        put_list(text, SPICE_MSG_DISPLAY_INVAL_LIST, 1);
        put_header(text, SPICE_MSG_LIST, (uint32_t)len - 6);
        assert_int_equal(hear_list(text, len, false), KB_REASON_MESSAGE_MALFORMED);
    }
    static const uint32_t wrong[] = {UINT32_MAX, UINT32_MAX - 5, 1u << 31, 1000};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put_list(text, SPICE_MSG_DISPLAY_INVAL_LIST, 1);
        kb_put_u32(text + 6 + 2, wrong[i]); /* an offset */
        assert_int_equal(hear_list(text, good, false), KB_REASON_MESSAGE_MALFORMED);
        put_list(text, SPICE_MSG_DISPLAY_INVAL_LIST, 1);
        kb_put_u16(text + 6 + 10 + 6, (uint16_t)(wrong[i] | 4)); /* a count of resources */
        assert_int_equal(hear_list(text, good, false), KB_REASON_MESSAGE_MALFORMED);
        put_list(text, SPICE_MSG_DISPLAY_INVAL_LIST, 1);
        text[6 + 10 + 6 + 11 + 6] = (uint8_t)(2 + i); /* a count of channels */
        assert_int_equal(hear_list(text, good, false), KB_REASON_MESSAGE_MALFORMED);
    }
}

/* ---- observed, and floods ---- */

static void test_observed(void **state)
{
    (void)state;
    struct kb_grammar_walk g;
    kb_grammar_init(&g, KB_CHANNEL_MAIN, true);
    assert_int_equal(say(&g, S, 9999, 12), KB_REASON_MESSAGE_UNKNOWN);
    assert_int_equal(say(&g, S, 106, 5), KB_REASON_MESSAGE_TOO_LONG);
    /* Longer than anything on the channel: refused all the same, as nobody would bear it. */
    struct kb_stream s;
    struct kb_piece p;
    enum kb_reason why = KB_REASON_NONE;
    uint8_t header[6];
    put_header(header, 9999, (256u << 10) + 1);
    kb_stream_init(&s, &g, S);
    assert_int_equal(kb_stream_next(&s, kb_span(header, 6), &p, &why), KB_STREAM_BAD);
    assert_int_equal(why, KB_REASON_MESSAGE_TOO_LONG);
    /* What has no row is shown to the policy. */
    put_header(header, 9999, 0);
    assert_int_equal(kb_stream_next(&s, kb_span(header, 6), &p, &why), KB_STREAM_PIECE);
    assert_true(p.watched);
}

/* A new server in the middle: it may open once more what it opens, and nothing else begins anew. */
static void test_moved(void **state)
{
    (void)state;
    struct kb_grammar_walk g;
    kb_grammar_init(&g, KB_CHANNEL_INPUTS, false);
    assert_int_equal(say(&g, S, 101, 2), GOOD);
    assert_int_equal(say(&g, S, 101, 2), LATE);
    assert_int_equal(say(&g, S, 1, 4), GOOD);
    kb_grammar_move(&g);
    assert_int_equal(say(&g, S, 2, 4), LATE);
    assert_int_equal(say(&g, S, 102, 2), GOOD);
    assert_int_equal(say(&g, S, 101, 2), GOOD);
    assert_int_equal(say(&g, S, 101, 2), LATE);

    kb_grammar_init(&g, KB_CHANNEL_PORT, false);
    assert_int_equal(say(&g, S, 201, 20), GOOD);
    kb_grammar_move(&g);
    assert_int_equal(say(&g, C, 101, 20), GOOD);
    assert_int_equal(say(&g, S, 201, 20), GOOD);
    assert_int_equal(say(&g, S, 201, 20), LATE);

    kb_grammar_init(&g, KB_CHANNEL_MAIN, false);
    assert_int_equal(say(&g, S, 103, 32), GOOD);
    kb_grammar_move(&g);
    assert_int_equal(say(&g, S, 103, 32), LATE);

    kb_grammar_init(&g, KB_CHANNEL_DISPLAY, false);
    assert_int_equal(say(&g, C, 101, 14), GOOD);
    kb_grammar_move(&g);
    assert_int_equal(say(&g, C, 101, 14), LATE);
}

static void test_flood(void **state)
{
    (void)state;
    struct kb_grammar_walk g;
    kb_grammar_init(&g, KB_CHANNEL_MAIN, false);
    assert_int_equal(say(&g, S, 103, 32), GOOD);
    for (uint32_t i = 0; i < kb_rate_max[KB_RATE_RARE]; i++)
        assert_int_equal(say(&g, C, 104, 0), GOOD);
    assert_int_equal(say(&g, C, 104, 0), KB_REASON_MESSAGE_FLOOD);
    /* The other direction and other classes have their own count; a new second begins anew. */
    assert_int_equal(say(&g, S, 104, 4), GOOD);
    assert_int_equal(say(&g, C, 105, 2), GOOD);
    kb_grammar_tick(&g);
    assert_int_equal(say(&g, C, 104, 0), GOOD);
    /* Streams have no such limit. */
    kb_grammar_init(&g, KB_CHANNEL_DISPLAY, false);
    assert_int_equal(say(&g, C, 101, 14), GOOD);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(say(&g, S, 315, 4), GOOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_number_of_the_header),
        cmocka_unit_test(test_no_row_too_many),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_conversations),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_observed),
        cmocka_unit_test(test_moved),
        cmocka_unit_test(test_flood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
