/* The usbredir filter, fed with packets as usbredirhost and QEMU make them, by all cuts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define MUST(what) assert_true(what)
#include "policy/usbredir.h"
#include "stream_rig.h"

#define C KB_FROM_CLIENT
#define S KB_FROM_SERVER
#define ALL_CAPS 0xffu /* as usbredir 0.13 */

enum { HELLO, CONNECT, DISCONNECT, RESET, INTERFACES, ENDPOINTS, SET_CONFIGURATION };
enum { REJECT = 22, FILTER = 23, ACK = 24, CONTROL = 100, BULK = 101, BUFFERED = 104 };

static unsigned id_size;
static uint32_t caps;

static void packet(struct kb_buf *b, uint32_t type, uint64_t id, const void *body, size_t len)
{
    kb_buf_add_u32(b, type);
    kb_buf_add_u32(b, (uint32_t)len);
    kb_buf_add_u32(b, (uint32_t)id);
    if (type != HELLO && id_size == 8)
        kb_buf_add_u32(b, (uint32_t)(id >> 32));
    kb_buf_add(b, body, len);
}

static void hello(struct kb_buf *b)
{
    uint8_t body[68] = "kerbside test";
    kb_put_u32(body + 64, caps);
    packet(b, HELLO, 0, body, sizeof body);
}

static void interfaces(struct kb_buf *b, unsigned count, const uint8_t (*classes)[3])
{
    uint8_t body[132] = {0};
    kb_put_u32(body, count);
    for (unsigned i = 0; i < count && i < 32; i++) {
        body[4 + i] = (uint8_t)i;
        for (unsigned k = 0; k < 3; k++)
            body[36 + 32 * k + i] = classes[i][k];
    }
    packet(b, INTERFACES, 0, body, sizeof body);
}

static void endpoints(struct kb_buf *b)
{
    static const uint8_t body[32 * 9] = {0};
    packet(b, ENDPOINTS, 0, body, caps & 1 ? 32 * 9 : caps & 16 ? 32 * 5 : 32 * 3);
}

static void connect_device(struct kb_buf *b, uint8_t device_class, uint16_t vendor,
                           uint16_t product)
{
    uint8_t body[10] = {2, device_class, 0, 0};
    kb_put_u16(body + 4, vendor);
    kb_put_u16(body + 6, product);
    kb_put_u16(body + 8, 0x0110);
    packet(b, CONNECT, 0, body, caps & 2 ? 10 : 8);
}

static const uint8_t stick[][3] = {{8, 6, 0x50}};
static const uint8_t keyboard[][3] = {{3, 1, 1}};
static const uint8_t key_and_volume[][3] = {{3, 1, 1}, {3, 0, 0}};
static const uint8_t headset[][3] = {{1, 1, 0}, {1, 2, 0}, {3, 0, 0}};

static void plug(struct kb_buf *b, const uint8_t (*classes)[3], unsigned count)
{
    interfaces(b, count, classes);
    endpoints(b);
    connect_device(b, 0, 0x0951, 0x1666);
}

static void control(struct kb_buf *b, uint64_t id, uint8_t request, uint8_t request_type,
                    uint16_t value, const void *data, size_t len)
{
    uint8_t body[1024] = {(uint8_t)(len ? 0x80 : 0x80), request, request_type, 0};
    kb_put_u16(body + 4, value);
    kb_put_u16(body + 8, (uint16_t)len);
    if (len)
        memcpy(body + 10, data, len);
    packet(b, CONTROL, id, body, 10 + len);
}

/* A conversation: what each says in turn, and what must arrive. */
struct talk {
    struct {
        enum kb_direction d;
        struct kb_buf bytes;
    } said[24];
    unsigned count;
    struct kb_buf expect[KB_DIRECTIONS];
    unsigned plugged, refused, unplugged;
};

static struct kb_buf *said(struct talk *t, enum kb_direction d)
{
    t->said[t->count].d = d;
    return &t->said[t->count++].bytes;
}

static void add(struct kb_buf *to, const struct kb_buf *from)
{
    kb_buf_add(to, from->data, from->len);
}

/* Said last, and arrives. */
static void passes(struct talk *t)
{
    add(&t->expect[t->said[t->count - 1].d], &t->said[t->count - 1].bytes);
}

static void greet(struct talk *t)
{
    for (int d = KB_DIRECTIONS - 1; d >= 0; d--) {
        hello(said(t, (enum kb_direction)d));
        passes(t);
    }
}

static void hold(struct talk *t, const struct kb_rules *rules, size_t cut, size_t most)
{
    struct stream_rig r;
    struct kb_usbredir *u = kb_usbredir_create();
    stream_open(&r, rules);
    for (unsigned i = 0; i < t->count; i++) {
        struct kb_span bytes = kb_buf_span(&t->said[i].bytes);
        size_t next = cut;
        while (bytes.len) {
            assert_true(kb_usbredir_feed(u, &r.c, rules, t->said[i].d, SPICE_MSG_SPICEVMC_DATA,
                                         kb_span_take_most(&bytes, next)));
            stream_take(&r);
            next = most;
        }
    }
    kb_usbredir_finish(u, &r.c);
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        assert_int_equal(r.got[d].len, t->expect[d].len);
        if (r.got[d].len)
            assert_memory_equal(r.got[d].data, t->expect[d].data, r.got[d].len);
    }
    assert_int_equal(r.facts[KB_FACT_USB_PLUGGED], t->plugged);
    assert_int_equal(r.facts[KB_FACT_USB_REFUSED], t->refused);
    assert_int_equal(r.facts[KB_FACT_USB_UNPLUGGED], t->unplugged);
    kb_usbredir_destroy(u);
    stream_close(&r);
}

static void hold_all_cuts(struct talk *t, const struct kb_rules *rules)
{
    size_t longest = 0;
    for (unsigned i = 0; i < t->count; i++)
        if (t->said[i].bytes.len > longest)
            longest = t->said[i].bytes.len;
    hold(t, rules, 1, 1);
    hold(t, rules, 7, 7);
    for (size_t cut = 1; cut <= longest; cut++)
        hold(t, rules, cut, SIZE_MAX);
    for (unsigned i = 0; i < t->count; i++)
        kb_buf_finish(&t->said[i].bytes);
    for (int d = 0; d < KB_DIRECTIONS; d++)
        kb_buf_finish(&t->expect[d]);
}

/* A filter among the rules, for as long as they are used. */
struct filtered {
    struct kb_rules *rules;
    struct kb_usb_filter filter;
    const struct kb_usb_filter *filters[1];
};

static struct kb_rules *filtered(struct filtered *f, const char *text)
{
    f->rules = kb_rules_create();
    assert_null(kb_usb_filter_parse(text, &f->filter));
    f->filters[0] = &f->filter;
    f->rules->enforced.usb_filters = f->rules->all.usb_filters =
        (struct kb_usb_filters){f->filters, 1};
    return f->rules;
}

static void unfiltered(struct filtered *f)
{
    f->rules->enforced.usb_filters = f->rules->all.usb_filters = (struct kb_usb_filters){NULL, 0};
    kb_usb_filter_finish(&f->filter);
    kb_rules_unref(f->rules);
}

static void test_allowed(void **state)
{
    (void)state;
    static const struct {
        uint32_t caps;
        unsigned id_size;
    } kinds[] = {{ALL_CAPS, 8}, {0, 4}, {0x1e, 4}, {0x3e, 8}};
    struct filtered f;
    struct kb_rules *rules = filtered(&f, "8,-1,-1,-1,1|-1,-1,-1,-1,0");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        static const uint8_t data[300] = {1, 2, 3};
        struct talk t = {.plugged = 1, .unplugged = 1};
        caps = kinds[i].caps;
        id_size = kinds[i].id_size;
        greet(&t);
        packet(said(&t, S), FILTER, 0, "-1,-1,-1,-1,1", 14);
        passes(&t);
        plug(said(&t, C), stick, 1);
        passes(&t);
        packet(said(&t, S), RESET, 0, "", 0);
        passes(&t);
        packet(said(&t, S), SET_CONFIGURATION, UINT64_C(1) << 33, "\1", 1);
        passes(&t);
        packet(said(&t, C), 8, UINT64_C(1) << 33, "\0\1", 2);
        passes(&t);
        interfaces(said(&t, C), 1, stick);
        passes(&t);
        packet(said(&t, S), BULK, 5, data, sizeof data);
        passes(&t);
        packet(said(&t, C), BULK, 5, data, sizeof data);
        passes(&t);
        packet(said(&t, C), DISCONNECT, 0, "", 0);
        passes(&t);
        packet(said(&t, S), ACK, 0, "", 0);
        passes(&t);
        hold_all_cuts(&t, rules);
    }
    unfiltered(&f);
}

/* Nothing of a refused device reaches the guest; the client is told, its disconnect is answered,
 * and the next device works. */
static void test_refused_then_allowed(void **state)
{
    (void)state;
    struct filtered f;
    struct kb_rules *rules = filtered(&f, "3,-1,-1,-1,1|-1,-1,-1,-1,0");
    struct talk t = {.refused = 1, .plugged = 1, .unplugged = 1};
    caps = ALL_CAPS;
    id_size = 8;
    greet(&t);
    plug(said(&t, C), stick, 1);
    packet(&t.expect[S], REJECT, 0, "", 0);
    packet(said(&t, C), BULK, 1, "late", 4);
    packet(said(&t, C), DISCONNECT, 0, "", 0);
    packet(&t.expect[S], ACK, 0, "", 0);
    plug(said(&t, C), keyboard, 1);
    passes(&t);
    hold_all_cuts(&t, rules);
    unfiltered(&f);
}

static void test_old_peers_are_not_told(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.usb = rules->all.usb = false;
    struct talk t = {.refused = 1};
    caps = 0;
    id_size = 4;
    greet(&t);
    plug(said(&t, C), stick, 1);
    packet(said(&t, C), DISCONNECT, 0, "", 0);
    hold_all_cuts(&t, rules);
    kb_rules_unref(rules);
}

static void test_keyboards(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.usb_keyboards = rules->all.usb_keyboards = false;
    caps = ALL_CAPS;
    id_size = 8;
    struct talk yes = {.plugged = 1, .unplugged = 1}, no = {.refused = 1};
    greet(&yes);
    plug(said(&yes, C), headset, 3);
    passes(&yes);
    hold_all_cuts(&yes, rules);
    greet(&no);
    plug(said(&no, C), key_and_volume, 2);
    packet(&no.expect[S], REJECT, 0, "", 0);
    hold_all_cuts(&no, rules);
    kb_rules_unref(rules);
}

/* A stick that becomes a keyboard: the guest is told that it is gone, and its answer to that is
 * ours. The client's disconnect is answered once. */
static void test_turns_into_a_keyboard(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    rules->enforced.usb_keyboards = rules->all.usb_keyboards = false;
    struct talk t = {.plugged = 2, .unplugged = 2};
    caps = ALL_CAPS;
    id_size = 8;
    greet(&t);
    plug(said(&t, C), stick, 1);
    passes(&t);
    interfaces(said(&t, C), 1, keyboard);
    packet(&t.expect[C], DISCONNECT, 0, "", 0);
    packet(&t.expect[S], REJECT, 0, "", 0);
    packet(said(&t, S), RESET, 0, "", 0);
    packet(said(&t, S), ACK, 0, "", 0);
    packet(said(&t, C), DISCONNECT, 0, "", 0);
    packet(&t.expect[S], ACK, 0, "", 0);
    plug(said(&t, C), stick, 1);
    passes(&t);
    hold_all_cuts(&t, rules);
    kb_rules_unref(rules);
}

/* A client that says stick, and shows the guest a keyboard's descriptors. */
static void test_descriptors(void **state)
{
    (void)state;
    static const uint8_t honest[] = {9, 2, 18, 0, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 2, 8, 6, 0x50, 0};
    static const uint8_t liar[] = {9, 2, 18, 0, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 1, 3, 1, 1, 0};
    static const uint8_t cut_liar[] = {9, 2, 18, 0, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 1, 3};
    static const uint8_t device[] = {18, 1, 0, 2, 0, 0, 0, 64, 0x51, 9, 0x66, 0x16, 0x10, 1};
    static const uint8_t other[] = {18, 1, 0, 2, 0, 0, 0, 64, 0x52, 9, 0x66, 0x16, 0x10, 1};
    static const struct {
        uint16_t value;
        const uint8_t *data;
        size_t len;
        bool good;
    } answers[] = {
        {0x0200, honest, sizeof honest, true},
        {0x0200, honest, 9, true},
        {0x0200, liar, sizeof liar, false},
        {0x0700, liar, sizeof liar, false},
        {0x0200, cut_liar, sizeof cut_liar, false},
        {0x0100, device, sizeof device, true},
        {0x0100, device, 8, true},
        {0x0100, other, sizeof other, false},
        {0x0300, liar, sizeof liar, true},
    };
    struct filtered f;
    struct kb_rules *rules = filtered(&f, "8,-1,-1,-1,1|-1,-1,-1,-1,0");
    caps = ALL_CAPS;
    id_size = 8;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct talk t = {.plugged = 1, .unplugged = 1};
        uint64_t id = UINT64_C(7) << 32 | 9;
        greet(&t);
        plug(said(&t, C), stick, 1);
        passes(&t);
        control(said(&t, S), id, 6, 0x80, answers[i].value, NULL, 0);
        passes(&t);
        /* The client may say that it answers something else: the guest goes by the id. */
        control(said(&t, C), id, 0, 0, 0, answers[i].data, answers[i].len);
        if (answers[i].good) {
            passes(&t);
        } else {
            packet(&t.expect[C], DISCONNECT, 0, "", 0);
            packet(&t.expect[S], REJECT, 0, "", 0);
        }
        hold_all_cuts(&t, rules);
    }
    unfiltered(&f);
}

/* Plain HID interfaces (3/0/0), which only their report descriptors tell from keyboards. */
static void test_report_descriptors(void **state)
{
    (void)state;
    static const uint8_t volume[] = {0x05, 0x0c, 0x09, 0x01, 0xa1, 0x01, 0x09, 0xe9, 0xc0};
    static const uint8_t keys[] = {0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, 0x05, 0x07, 0x19, 0x04};
    static const struct {
        const char *filter;
        bool keyboards;
        uint8_t from; /* bmRequestType of the guest's question */
        uint16_t value;
        const uint8_t *data;
        size_t len;
        bool good;
    } devices[] = {
        {"-1,-1,-1,-1,1", false, 0x81, 0x2200, volume, sizeof volume, true},
        {"-1,-1,-1,-1,1", false, 0x81, 0x2200, keys, sizeof keys, false},
        {"-1,-1,-1,-1,1", false, 0x81, 0x2203, keys, sizeof keys, false},
        {"-1,-1,-1,-1,1", false, 0x81, 0x2200, keys, 7, true},
        {"-1,-1,-1,-1,1", true, 0x81, 0x2200, keys, sizeof keys, true},
        /* Other descriptors of an interface, and of a device, are no reports. */
        {"-1,-1,-1,-1,1", false, 0x81, 0x2100, keys, sizeof keys, true},
        {"-1,-1,-1,-1,1", false, 0x80, 0x0300, keys, sizeof keys, true},
        /* A filter of class 3 lets volume buttons among others pass, and no keys. */
        {"3,-1,-1,-1,0|-1,-1,-1,-1,1", true, 0x81, 0x2200, volume, sizeof volume, true},
        {"3,-1,-1,-1,0|-1,-1,-1,-1,1", true, 0x81, 0x2200, keys, sizeof keys, false},
    };
    caps = ALL_CAPS;
    id_size = 8;
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        struct filtered f;
        struct kb_rules *rules = filtered(&f, devices[i].filter);
        rules->enforced.usb_keyboards = rules->all.usb_keyboards = devices[i].keyboards;
        struct talk t = {.plugged = 1, .unplugged = 1};
        greet(&t);
        plug(said(&t, C), headset, 3);
        passes(&t);
        control(said(&t, S), 5, 6, devices[i].from, devices[i].value, NULL, 0);
        passes(&t);
        control(said(&t, C), 5, 6, devices[i].from, devices[i].value, devices[i].data,
                devices[i].len);
        if (devices[i].good) {
            passes(&t);
        } else {
            packet(&t.expect[C], DISCONNECT, 0, "", 0);
            packet(&t.expect[S], REJECT, 0, "", 0);
        }
        hold_all_cuts(&t, rules);
        unfiltered(&f);
    }
}

static void test_cut_descriptors(void **state)
{
    (void)state;
    /* Two interfaces; of the second, which is the keyboard's, less and less. */
    static const uint8_t liar[] = {9, 4, 0, 0, 2, 1, 1, 0, 0, 9, 4, 1, 0, 1, 3, 0, 1, 0};
    struct filtered f;
    struct kb_rules *rules = filtered(&f, "3,-1,-1,-1,0|-1,-1,-1,-1,1");
    caps = ALL_CAPS;
    id_size = 8;
    for (size_t len = 9; len <= sizeof liar; len++) {
        struct talk t = {.plugged = 1, .unplugged = 1};
        greet(&t);
        plug(said(&t, C), headset, 3);
        passes(&t);
        control(said(&t, S), 1, 6, 0x80, 0x0200, NULL, 0);
        passes(&t);
        control(said(&t, C), 1, 6, 0x80, 0x0200, liar, len);
        if (len < 15) {
            passes(&t);
        } else {
            packet(&t.expect[C], DISCONNECT, 0, "", 0);
            packet(&t.expect[S], REJECT, 0, "", 0);
        }
        hold_all_cuts(&t, rules);
    }
    unfiltered(&f);
}

/* Rules become stricter while the device is there, and the guest is in the middle of a packet: what
 * is said to the client waits for its end. */
static void test_new_rules(void **state)
{
    (void)state;
    struct kb_rules *before = kb_rules_create(), *after = kb_rules_create();
    struct stream_rig r;
    struct kb_usbredir *u = kb_usbredir_create();
    struct kb_buf b = {0}, half = {0}, expect = {0};
    after->enforced.usb = after->all.usb = false;
    caps = ALL_CAPS;
    id_size = 8;
    stream_open(&r, before);
    hello(&b);
    assert_true(kb_usbredir_feed(u, &r.c, before, S, 101, kb_buf_span(&b)));
    assert_true(kb_usbredir_feed(u, &r.c, before, C, 101, kb_buf_span(&b)));
    b.len = 0;
    plug(&b, stick, 1);
    assert_true(kb_usbredir_feed(u, &r.c, before, C, 101, kb_buf_span(&b)));
    packet(&half, BULK, 3, "0123456789abcdef", 16);
    assert_true(kb_usbredir_feed(u, &r.c, before, S, 101, kb_span(half.data, 20)));
    stream_take(&r);
    r.got[C].len = r.got[S].len = 0;
    b.len = 0;
    packet(&b, BULK, 3, "answer", 6);
    assert_true(kb_usbredir_feed(u, &r.c, after, C, 101, kb_buf_span(&b)));
    stream_take(&r);
    packet(&expect, DISCONNECT, 0, "", 0);
    assert_int_equal(r.got[C].len, expect.len);
    assert_memory_equal(r.got[C].data, expect.data, expect.len);
    assert_int_equal(r.got[S].len, 0);
    assert_true(kb_usbredir_feed(u, &r.c, after, S, 101, kb_span(half.data + 20, half.len - 20)));
    stream_take(&r);
    expect.len = 0;
    kb_buf_add(&expect, half.data + 20, half.len - 20);
    packet(&expect, REJECT, 0, "", 0);
    assert_int_equal(r.got[S].len, expect.len);
    assert_memory_equal(r.got[S].data, expect.data, expect.len);
    kb_buf_finish(&b);
    kb_buf_finish(&half);
    kb_buf_finish(&expect);
    kb_usbredir_destroy(u);
    stream_close(&r);
    kb_rules_unref(before);
    kb_rules_unref(after);
}

/* What cannot be read ends the channel, with nothing of it sent. */
static void test_unreadable(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    static const uint8_t no[1100] = {0};
    static const struct {
        uint32_t type, length;
        bool greeted;
    } heads[] = {
        {BULK, 4, false},         {CONNECT, 10, false},     {HELLO, 2000, false},
        {BULK, 0x80000000, true}, {BULK, 0xffffffff, true}, {CONNECT, 9, true},
        {INTERFACES, 131, true},  {ENDPOINTS, 100, true},   {ENDPOINTS, 2000, true},
        {DISCONNECT, 1, true},
    };
    caps = ALL_CAPS;
    id_size = 8;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct stream_rig r;
        struct kb_usbredir *u = kb_usbredir_create();
        struct kb_buf b = {0};
        stream_open(&r, rules);
        if (heads[i].greeted) {
            hello(&b);
            assert_true(kb_usbredir_feed(u, &r.c, rules, S, 101, kb_buf_span(&b)));
            assert_true(kb_usbredir_feed(u, &r.c, rules, C, 101, kb_buf_span(&b)));
            r.c.to[C].len = r.c.to[S].len = 0;
        }
        b.len = 0;
        kb_buf_add_u32(&b, heads[i].type);
        kb_buf_add_u32(&b, heads[i].length);
        kb_buf_add(&b, no, heads[i].greeted ? 8 : 4);
        kb_buf_add(&b, no, heads[i].length < sizeof no ? heads[i].length : 0);
        assert_false(kb_usbredir_feed(u, &r.c, rules, C, 101, kb_buf_span(&b)));
        assert_int_equal(r.c.to[C].len, 0);
        assert_int_equal(r.rules_hit[KB_RULE_USBREDIR_FORM][KB_RULE_BLOCKED], 1);
        kb_buf_finish(&b);
        kb_usbredir_destroy(u);
        stream_close(&r);
    }
    struct kb_content c = {0};
    struct kb_usbredir *u = kb_usbredir_create();
    assert_false(kb_usbredir_feed(u, &c, rules, C, 102, kb_span(no, 5)));
    kb_usbredir_destroy(u);
    kb_content_finish(&c);
    kb_rules_unref(rules);
}

/* What a side may not say does not pass; the rest does. */
static void test_wrong_side(void **state)
{
    (void)state;
    struct kb_rules *rules = kb_rules_create();
    struct talk t = {.plugged = 1, .unplugged = 1, .refused = 1};
    caps = ALL_CAPS;
    id_size = 8;
    greet(&t);
    connect_device(said(&t, C), 0, 1, 1); /* before it has said what it is */
    packet(&t.expect[S], REJECT, 0, "", 0);
    packet(said(&t, C), DISCONNECT, 0, "", 0);
    packet(&t.expect[S], ACK, 0, "", 0);
    plug(said(&t, C), stick, 1);
    passes(&t);
    packet(said(&t, C), RESET, 0, "", 0);
    packet(said(&t, C), 77, 0, "what", 4);
    packet(said(&t, S), CONNECT, 0, "0123456789", 10);
    connect_device(said(&t, C), 3, 1, 1); /* a second one */
    packet(said(&t, C), BULK, 0, "data", 4);
    passes(&t);
    hold_all_cuts(&t, rules);
    kb_rules_unref(rules);
}

static void test_filters(void **state)
{
    (void)state;
    static const struct {
        const char *filter;
        uint8_t device_class;
        const uint8_t (*classes)[3];
        unsigned count;
        bool allowed;
    } rows[] = {
        {"-1,-1,-1,-1,1", 0, stick, 1, true},
        {"3,-1,-1,-1,0|-1,-1,-1,-1,1", 0, stick, 1, true},
        {"8,-1,-1,-1,0|-1,-1,-1,-1,1", 0, stick, 1, false},
        {"8,-1,-1,-1,1", 0, stick, 1, true},
        {"3,-1,-1,-1,1", 0, stick, 1, false},
        {"-1,0x951,0x1666,-1,1", 0, stick, 1, true},
        {"-1,0x951,0x1667,-1,1", 0, stick, 1, false},
        {"-1,-1,-1,0x110,0|-1,-1,-1,-1,1", 0, stick, 1, false},
        /* A plain HID among others is not asked, alone it is; a boot keyboard always. */
        {"3,-1,-1,-1,0|-1,-1,-1,-1,1", 0, headset, 3, true},
        {"3,-1,-1,-1,0|-1,-1,-1,-1,1", 0, headset + 2, 1, false},
        {"3,-1,-1,-1,0|-1,-1,-1,-1,1", 0, key_and_volume, 2, false},
        /* The device's own class counts, unless it leaves it to its interfaces. */
        {"9,-1,-1,-1,0|-1,-1,-1,-1,1", 9, stick, 1, false},
        {"0xef,-1,-1,-1,0|-1,-1,-1,-1,1", 0xef, stick, 1, true},
        {"8,-1,-1,-1,1", 9, stick, 1, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kb_usb_filter f;
        struct kb_usb_device d = {.vendor = 0x951,
                                  .product = 0x1666,
                                  .version = 0x110,
                                  .device_class = rows[i].device_class,
                                  .interface_count = rows[i].count};
        memcpy(d.interfaces, rows[i].classes, rows[i].count * 3);
        assert_null(kb_usb_filter_parse(rows[i].filter, &f));
        assert_int_equal(kb_usb_filter_allows(&f, &d), rows[i].allowed);
        kb_usb_filter_finish(&f);
    }
}

static void test_description(void **state)
{
    (void)state;
    struct kb_usb_device d = {.vendor = 0x951,
                              .product = 0x1666,
                              .version = 0x110,
                              .interface_count = 2,
                              .interfaces = {{8, 6, 0x50}, {3, 1, 1}}};
    struct kb_buf b = {0};
    kb_usb_device_describe(&d, &b);
    kb_buf_add(&b, "", 1);
    assert_string_equal(b.data, "0951:1666 version 1.10 class 00, interfaces 08/06/50 03/01/01");
    kb_buf_finish(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_refused_then_allowed),
        cmocka_unit_test(test_old_peers_are_not_told),
        cmocka_unit_test(test_keyboards),
        cmocka_unit_test(test_turns_into_a_keyboard),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_report_descriptors),
        cmocka_unit_test(test_cut_descriptors),
        cmocka_unit_test(test_new_rules),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_wrong_side),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_description),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
