/* The webdav filter, fed with the frames of spice-webdavd and spice-gtk, by all cuts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define MUST(what) assert_true(what)
#include "policy/webdav.h"
#include "stream_rig.h"

#define FOLDER KB_FROM_CLIENT /* the client's answers travel from it */
#define GUEST KB_FROM_SERVER

#define FORBIDDEN "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
#define FORBIDDEN_CLOSE "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#define BAD "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#define TOO_LARGE "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#define NO_EXPECTATIONS                                                                            \
    "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define GET "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
#define PUT "PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345"

/* One frame: "" closes; NULL ends a list. */
struct line {
    enum kb_direction d;
    int64_t id;
    const char *text;
};

static void frame(struct kb_buf *b, int64_t id, struct kb_span bytes)
{
    kb_buf_add_u32(b, (uint32_t)id);
    kb_buf_add_u32(b, (uint32_t)((uint64_t)id >> 32));
    kb_buf_add_u16(b, (uint16_t)bytes.len);
    if (bytes.len)
        kb_buf_add(b, bytes.data, bytes.len);
}

/* What a receiver makes of frames: each connection's bytes, and <close>. */
static void demux(struct kb_span frames, int64_t id, struct kb_buf *to)
{
    while (frames.len) {
        assert_true(frames.len >= 10);
        size_t size = kb_get_u16(frames.data + 8);
        uint64_t at = kb_get_u32(frames.data) | (uint64_t)kb_get_u32(frames.data + 4) << 32;
        assert_true(frames.len >= 10 + size);
        if ((int64_t)at == id && size)
            kb_buf_add(to, frames.data + 10, size);
        else if ((int64_t)at == id)
            kb_buf_add_str(to, "<close>");
        kb_span_take_most(&frames, 10 + size);
    }
}

static void expect(struct stream_rig *r, enum kb_direction d, int64_t id, const char *text)
{
    struct kb_buf got = {0};
    demux(kb_buf_span(&r->got[d]), id, &got);
    kb_buf_add(&got, "", 1);
    assert_string_equal((char *)got.data, text);
    kb_buf_finish(&got);
}

static void feed(struct stream_rig *r, struct kb_webdav *w, enum kb_direction d,
                 struct kb_span bytes, size_t cut, size_t most)
{
    size_t next = cut;
    while (bytes.len) {
        struct kb_span part = kb_span_take_most(&bytes, next);
        assert_true(kb_webdav_feed(w, &r->c, r->rules, d, SPICE_MSG_SPICEVMC_DATA, part));
        stream_take(r);
        next = most;
    }
}

struct talk {
    const struct line *said; /* each text also cut into two frames */
    size_t count;
    int64_t ids[2];
    const char *to_folder[2], *to_guest[2];
};

static void hold(const struct kb_rules *rules, const struct talk *t, size_t cut, size_t most,
                 size_t split)
{
    struct stream_rig r;
    struct kb_webdav *w = kb_webdav_create();
    stream_open(&r, rules);
    for (size_t i = 0; i < t->count; i++) {
        struct kb_buf b = {0};
        struct kb_span text = kb_span_str(t->said[i].text);
        if (split && split < text.len)
            frame(&b, t->said[i].id, kb_span_take_most(&text, split));
        frame(&b, t->said[i].id, text);
        feed(&r, w, t->said[i].d, kb_buf_span(&b), cut, most);
        kb_buf_finish(&b);
    }
    for (int i = 0; i < 2; i++) {
        if (!t->ids[i])
            continue;
        expect(&r, GUEST, t->ids[i], t->to_folder[i]);
        expect(&r, FOLDER, t->ids[i], t->to_guest[i]);
    }
    kb_webdav_destroy(w);
    stream_close(&r);
}

static void hold_all_cuts(enum kb_folders folders, const struct talk *t)
{
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.folders = rules->all.folders = (uint8_t)folders;
    hold(rules, t, SIZE_MAX, SIZE_MAX, 0);
    hold(rules, t, 1, 1, 0);
    for (size_t cut = 1; cut < 200; cut++) {
        hold(rules, t, cut, SIZE_MAX, 0);
        hold(rules, t, SIZE_MAX, SIZE_MAX, cut);
    }
    kb_rules_unref(rules);
}

#define TALK(lines, ...)                                                                           \
    &(struct talk)                                                                                 \
    {                                                                                              \
        lines, sizeof(lines) / sizeof *(lines), __VA_ARGS__                                        \
    }

static void test_reading_passes(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {GUEST, 5, GET},
        {FOLDER, 5, OK},
        {GUEST, 5, "HEAD /a HTTP/1.1\r\n\r\n"},
        {FOLDER, 5, "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"},
        {GUEST, -9, "PROPFIND / HTTP/1.1\r\ncontent-length: 4\r\n\r\n<a/>"},
        {FOLDER, -9,
         "HTTP/1.1 207 Multi-Status\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"},
        {GUEST, 5, "OPTIONS * HTTP/1.1\r\n\r\n" GET},
        {FOLDER, 5, "HTTP/1.1 204 No Content\r\n\r\n" OK},
        {GUEST, 5, ""},
        {FOLDER, -9, ""},
        {GUEST, -9, GET}, /* under the number of a connection that the folder has closed */
        {FOLDER, -9, OK},
        {FOLDER, -9, ""},
        {GUEST, -9, ""}, /* which the folder knows */
    };
    hold_all_cuts(KB_FOLDERS_READ_ONLY,
                  TALK(lines, {5, -9},
                       {GET "HEAD /a HTTP/1.1\r\n\r\nOPTIONS * HTTP/1.1\r\n\r\n" GET "<close>",
                        "PROPFIND / HTTP/1.1\r\ncontent-length: 4\r\n\r\n<a/>" GET},
                       {OK "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
                           "HTTP/1.1 204 No Content\r\n\r\n" OK,
                        "HTTP/1.1 207 Multi-Status\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "2\r\nab\r\n0\r\n\r\n<close>" OK "<close>"}));
}

static void test_writing_is_refused(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {GUEST, 5, PUT GET},
        {FOLDER, 5, OK},
        {GUEST, 5,
         "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX: "
         "y\r\n\r\n"},
        {GUEST, 5, "DELETE /a HTTP/1.1\r\n\r\nLOCK /a HTTP/1.1\r\n\r\nget /a HTTP/1.1\r\n\r\n"},
        {GUEST, 5, GET},
        {FOLDER, 5, OK},
    };
    hold_all_cuts(
        KB_FOLDERS_READ_ONLY,
        TALK(lines, {5}, {GET GET}, {FORBIDDEN OK FORBIDDEN FORBIDDEN FORBIDDEN FORBIDDEN OK}));
}

/* Ours come in their turn, whatever the folder's answers look like. */
static void test_pipeline(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {GUEST, 5, GET PUT GET PUT},
        {FOLDER, 5, "HTTP/1.1 100 Continue\r\n\r\n" OK},
        {FOLDER, 5, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"},
    };
    hold_all_cuts(KB_FOLDERS_READ_ONLY,
                  TALK(lines, {5}, {GET GET},
                       {"HTTP/1.1 100 Continue\r\n\r\n" OK FORBIDDEN
                        "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n" FORBIDDEN}));
}

static void test_expectations(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {GUEST, 5, "PUT /a HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"},
        {GUEST, 5, "12345" GET},
        {GUEST, 6, "PROPFIND /a HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"},
        {GUEST, 6, "12345" GET},
    };
    hold_all_cuts(
        KB_FOLDERS_READ_ONLY,
        TALK(lines, {5, 6}, {"", ""}, {FORBIDDEN_CLOSE "<close>", NO_EXPECTATIONS "<close>"}));
}

/* Two readings of the same bytes are a way past us: none of these goes on. */
static void test_smuggling(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "GET /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        "PROPFIND /a HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "PROPFIND /a HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n",
        "PROPFIND /a HTTP/1.1\r\nContent-Length: +5\r\n\r\n12345",
        "PROPFIND /a HTTP/1.1\r\nContent-Length: 18446744073709551617\r\n\r\n",
        "PROPFIND /a HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "PROPFIND /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "PROPFIND /a HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n",
        "PROPFIND /a HTTP/1.1\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n",
        "GET /a HTTP/1.1\n\nPUT /a HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.1\r\nX: y\nPUT: z\r\n\r\n",
        "GET /a HTTP/1.1\r\nX: y\rz\r\n\r\n",
        "GET  /a HTTP/1.1\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET /a HTTP/2.0\r\n\r\n",
        "GET /a\r\n\r\n",
        "\r\nGET /a HTTP/1.1\r\n\r\n",
        " GET /a HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.1\r\n: empty\r\n\r\n",
        "GET /a HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
        "PROPFIND /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"\r\nabcde\r\n0\r\n\r\n",
        "PROPFIND /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n",
        "PROPFIND /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\nabcde\r\n0\r\n\r\n",
        "PROPFIND /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefg0\r\n\r\n",
        "PROPFIND /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1234567890abcdef0\r\n",
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        struct line lines[] = {{GUEST, 5, requests[i]}, {GUEST, 5, GET}};
        hold_all_cuts(KB_FOLDERS_READ_ONLY, TALK(lines, {5}, {""}, {BAD "<close>"}));
    }
}

static void test_too_large(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.folders = rules->all.folders = KB_FOLDERS_READ_ONLY;
    struct stream_rig r;
    struct kb_webdav *w = kb_webdav_create();
    struct kb_buf b = {0};
    static uint8_t filler[60000];
    stream_open(&r, rules);
    frame(&b, 5, kb_span_str("PROPFIND /a HTTP/1.1\r\nContent-Length: 70000\r\n\r\n"));
    frame(&b, 5, kb_span(filler, sizeof filler));
    feed(&r, w, GUEST, kb_buf_span(&b), 1000, 1000);
    expect(&r, FOLDER, 5, "");
    feed(&r, w, GUEST, kb_buf_span(&b), 1000, 1000);
    expect(&r, FOLDER, 5, TOO_LARGE "<close>");
    expect(&r, GUEST, 5, "");
    /* A head without an end. */
    b.len = 0;
    frame(&b, 6, kb_span_str("GET /"));
    memset(filler, 'a', sizeof filler);
    frame(&b, 6, kb_span(filler, sizeof filler));
    feed(&r, w, GUEST, kb_buf_span(&b), 1000, 1000);
    expect(&r, FOLDER, 6, BAD "<close>");
    kb_buf_finish(&b);
    kb_webdav_destroy(w);
    stream_close(&r);
    kb_rules_unref(rules);
}

/* Off: not even reading. Its channel is closed anyway. */
static void test_off(void **state)
{
    (void)state;
    static const struct line lines[] = {{GUEST, 5, GET}, {GUEST, 5, "OPTIONS * HTTP/1.1\r\n\r\n"}};
    hold_all_cuts(KB_FOLDERS_OFF, TALK(lines, {5}, {""}, {FORBIDDEN FORBIDDEN}));
}

static void test_on(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {GUEST, 5, PUT "PUT /b HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"},
        {FOLDER, 5, OK "HTTP/1.1 100 Continue\r\n\r\n"},
        {GUEST, 5, "ab" GET},
        {FOLDER, 5, OK OK},
        {FOLDER, 5, "nobody asked"},
    };
    hold_all_cuts(
        KB_FOLDERS_ON,
        TALK(lines, {5},
             {PUT "PUT /b HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab" GET},
             {OK "HTTP/1.1 100 Continue\r\n\r\n" OK OK "nobody asked"}));
}

/* Answers that cannot be followed go on; but then ours cannot come behind them. Behind one that
 * lasts as long as its connection there is nothing. */
static void test_blind_answers(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {GUEST, 5, GET},     {FOLDER, 5, "HTTP/1.1 200 OK\r\n\r\nto the end"},
        {GUEST, 5, PUT GET}, {FOLDER, 5, " of it"},
        {GUEST, 6, GET},     {FOLDER, 6, "what is this\r\n\r\nand this"},
        {GUEST, 6, PUT GET},
    };
    hold_all_cuts(KB_FOLDERS_READ_ONLY, TALK(lines, {5, 6}, {GET GET, GET "<close>"},
                                             {"HTTP/1.1 200 OK\r\n\r\nto the end of it",
                                              "what is this\r\n\r\nand this<close>"}));
}

static void test_observed(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    rules->observing = true;
    rules->all.folders = KB_FOLDERS_READ_ONLY;
    struct stream_rig r;
    struct kb_webdav *w = kb_webdav_create();
    struct kb_buf b = {0};
    stream_open(&r, rules);
    frame(&b, 5, kb_span_str(PUT GET));
    feed(&r, w, GUEST, kb_buf_span(&b), 9, 9);
    expect(&r, GUEST, 5, PUT GET);
    assert_int_equal(r.rules_hit[KB_RULE_FOLDERS][KB_RULE_OBSERVED], 1);
    assert_int_equal(r.rules_hit[KB_RULE_FOLDERS][KB_RULE_BLOCKED], 0);
    kb_buf_finish(&b);
    kb_webdav_destroy(w);
    stream_close(&r);
    kb_rules_unref(rules);
}

/* The folder becomes read-only while a file is half written: its connection ends there. */
static void test_new_rules(void **state)
{
    (void)state;
    struct kb_rules *on = kb_rules_create(), *off = kb_rules_create();
    off->enforced.folders = off->all.folders = KB_FOLDERS_READ_ONLY;
    struct stream_rig r;
    struct kb_webdav *w = kb_webdav_create();
    struct kb_buf b = {0};
    stream_open(&r, on);
    frame(&b, 5, kb_span_str("PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\n12"));
    feed(&r, w, GUEST, kb_buf_span(&b), 90, 90);
    r.rules = off;
    b.len = 0;
    frame(&b, 5, kb_span_str("345" GET));
    feed(&r, w, GUEST, kb_buf_span(&b), 90, 90);
    expect(&r, GUEST, 5, "PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\n12<close>");
    expect(&r, FOLDER, 5, "<close>");
    kb_buf_finish(&b);
    kb_webdav_destroy(w);
    stream_close(&r);
    kb_rules_unref(on);
    kb_rules_unref(off);
}

/* A guest that opens and opens, and never closes; and one whose daemon begins anew. */
static void test_limits(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.folders = rules->all.folders = KB_FOLDERS_READ_ONLY;
    struct stream_rig r;
    struct kb_webdav *w = kb_webdav_create();
    struct kb_buf b = {0};
    stream_open(&r, rules);
    for (int i = 1; i <= KB_WEBDAV_CONNECTIONS + 1; i++) {
        b.len = 0;
        frame(&b, i, kb_span_str("G"));
        feed(&r, w, GUEST, kb_buf_span(&b), 90, 90);
        expect(&r, FOLDER, i, i <= KB_WEBDAV_CONNECTIONS ? "" : "<close>");
    }
    static const uint8_t opened[] = {0};
    assert_true(kb_webdav_feed(w, &r.c, rules, GUEST, SPICE_MSG_PORT_EVENT, kb_span(opened, 1)));
    static const uint8_t event[] = {202, 0, 1, 0, 0, 0, 0};
    assert_int_equal(r.c.to[GUEST].len, sizeof event);
    assert_memory_equal(r.c.to[GUEST].data, event, sizeof event);
    r.c.to[GUEST].len = 0;
    b.len = 0;
    frame(&b, 7, kb_span_str(GET));
    feed(&r, w, GUEST, kb_buf_span(&b), 90, 90);
    expect(&r, GUEST, 7, GET);
    assert_false(kb_webdav_feed(w, &r.c, rules, GUEST, SPICE_MSG_SPICEVMC_COMPRESSED_DATA,
                                kb_span(opened, 1)));
    kb_buf_finish(&b);
    kb_webdav_destroy(w);
    stream_close(&r);
    kb_rules_unref(rules);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading_passes),
        cmocka_unit_test(test_writing_is_refused),
        cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_smuggling),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_on),
        cmocka_unit_test(test_blind_answers),
        cmocka_unit_test(test_observed),
        cmocka_unit_test(test_new_rules),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
