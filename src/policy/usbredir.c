/* The usbredir protocol: packets cut by their headers, the few that say what a device is held and
 * judged, the rest passed by length. Pure; the thread of the channel's loop. */
#include "policy/usbredir.h"

#include "base/mem.h"
#include "policy/hid_report.h"

#include <spice/enums.h>
#include <stdlib.h>

/* usbredirproto.h */
enum {
    HELLO = 0,
    DEVICE_CONNECT = 1,
    DEVICE_DISCONNECT = 2,
    RESET = 3,
    INTERFACE_INFO = 4,
    EP_INFO = 5,
    SET_CONFIGURATION = 6,
    GET_CONFIGURATION = 7,
    CONFIGURATION_STATUS = 8,
    SET_ALT_SETTING = 9,
    GET_ALT_SETTING = 10,
    ALT_SETTING_STATUS = 11,
    START_ISO_STREAM = 12,
    STOP_ISO_STREAM = 13,
    ISO_STREAM_STATUS = 14,
    START_INTERRUPT_RECEIVING = 15,
    STOP_INTERRUPT_RECEIVING = 16,
    INTERRUPT_RECEIVING_STATUS = 17,
    ALLOC_BULK_STREAMS = 18,
    FREE_BULK_STREAMS = 19,
    BULK_STREAMS_STATUS = 20,
    CANCEL_DATA_PACKET = 21,
    FILTER_REJECT = 22,
    FILTER_FILTER = 23,
    DEVICE_DISCONNECT_ACK = 24,
    START_BULK_RECEIVING = 25,
    STOP_BULK_RECEIVING = 26,
    BULK_RECEIVING_STATUS = 27,
    CONTROL_PACKET = 100,
    BULK_PACKET = 101,
    ISO_PACKET = 102,
    INTERRUPT_PACKET = 103,
    BUFFERED_BULK_PACKET = 104,
};
enum {
    CAP_BULK_STREAMS = 0,
    CAP_CONNECT_DEVICE_VERSION = 1,
    CAP_FILTER = 2,
    CAP_DEVICE_DISCONNECT_ACK = 3,
    CAP_EP_INFO_MAX_PACKET_SIZE = 4,
    CAP_64BITS_IDS = 5,
};

#define HEADER_MAX 16
#define HELLO_VERSION_SIZE 64
#define HELLO_MAX 1024
#define CONTROL_SIZE 10                           /* usb_redir_control_packet_header */
#define CONTROL_MAX (CONTROL_SIZE + 65535)        /* its length is 16 bits */
#define PACKET_MAX ((UINT32_C(128) << 20) + 1024) /* usbredirparser.c, MAX_PACKET_SIZE */
#define QUESTIONS 32 /* descriptors that the guest asks for at once; it asks for one at a time */

/* USB 2.0, 9.4 and 9.6; of a report: HID 1.11, 7.1.1 */
enum { GET_DESCRIPTOR = 6, FROM_DEVICE = 0x80, FROM_INTERFACE = 0x81 };
enum {
    OF_DEVICE = 1,
    OF_CONFIGURATION = 2,
    OF_INTERFACE = 4,
    OF_OTHER_SPEED = 7,
    OF_REPORT = 0x22
};

enum packet_state { PACKET_HEADER, PACKET_HOLD, PACKET_PASS, PACKET_SWALLOW };

/* One direction. */
struct side {
    enum packet_state state;
    struct kb_buf held; /* header, and in HOLD the packet */
    uint32_t type, left;
    bool greeted;        /* its hello is there */
    uint32_t caps;       /* of its hello, first word */
    struct kb_buf out;   /* of this feed */
    struct kb_buf later; /* packets of ours, while one of the peer\'s is half on its way */
};

enum device_state {
    DEVICE_NONE,
    DEVICE_SHOWN,   /* the guest sees it */
    DEVICE_REFUSED, /* the client thinks that the guest does */
};

struct question {
    uint64_t id;
    uint8_t of; /* OF_...; 0: none */
};

struct kb_usbredir {
    struct side sides[KB_DIRECTIONS];
    enum device_state state;
    struct kb_usb_device device;
    bool interfaces_known;
    struct kb_buf interface_info, ep_info; /* whole packets, until the device is connected */
    unsigned acks_of_ours; /* the guest will send one for a disconnect that was ours */
    struct question questions[QUESTIONS];
    unsigned next_question;
};

struct turn {
    struct kb_usbredir *u;
    struct kb_content *c;
    const struct kb_rules *rules;
    enum kb_direction d;
};

struct kb_usbredir *kb_usbredir_create(void)
{
    return kb_zalloc(sizeof(struct kb_usbredir));
}

void kb_usbredir_destroy(struct kb_usbredir *u)
{
    if (!u)
        return;
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        kb_buf_finish(&u->sides[d].held);
        kb_buf_finish(&u->sides[d].out);
        kb_buf_finish(&u->sides[d].later);
    }
    kb_buf_finish(&u->interface_info);
    kb_buf_finish(&u->ep_info);
    free(u);
}

static void tell(struct kb_usbredir *u, struct kb_content *c, enum kb_fact_kind kind)
{
    kb_content_fact(
        c, &(struct kb_fact){.kind = kind, .direction = KB_FROM_CLIENT, .usb = &u->device});
}

void kb_usbredir_finish(struct kb_usbredir *u, struct kb_content *c)
{
    if (u->state == DEVICE_SHOWN)
        tell(u, c, KB_FACT_USB_UNPLUGGED);
    u->state = DEVICE_NONE;
}

static bool both(const struct kb_usbredir *u, unsigned cap)
{
    return (u->sides[KB_FROM_CLIENT].caps & u->sides[KB_FROM_SERVER].caps) >> cap & 1;
}

/* Ids have 32 bits in hello and before; then as agreed. */
static size_t header_size(const struct kb_usbredir *u, enum kb_direction d)
{
    return u->sides[d].greeted && both(u, CAP_64BITS_IDS) ? 16 : 12;
}

static uint64_t id_of(const struct kb_usbredir *u, enum kb_direction d)
{
    const uint8_t *h = u->sides[d].held.data;
    uint64_t id = kb_get_u32(h + 8);
    return header_size(u, d) == 16 ? id | (uint64_t)kb_get_u32(h + 12) << 32 : id;
}

static struct kb_span body_of(struct turn *t)
{
    const struct side *s = &t->u->sides[t->d];
    size_t skip = header_size(t->u, t->d);
    return kb_span(s->held.data + skip, s->held.len - skip);
}

static void emit(struct turn *t, struct kb_span bytes)
{
    if (bytes.len)
        kb_buf_add(&t->u->sides[t->d].out, bytes.data, bytes.len);
}

/* A packet of ours; all that we say is without a body and an id. */
static void say(struct turn *t, enum kb_direction d, uint32_t type)
{
    struct side *s = &t->u->sides[d];
    uint8_t header[HEADER_MAX] = {0};
    kb_put_u32(header, type);
    kb_buf_add(s->state == PACKET_PASS ? &s->later : &s->out, header, header_size(t->u, d));
}

static bool malformed(struct turn *t, const char *why)
{
    return kb_content_malformed(t->c, t->rules, t->d, KB_RULE_USBREDIR_FORM, why);
}

/* The device */

static void forget_device(struct kb_usbredir *u)
{
    u->state = DEVICE_NONE;
    memset(&u->device, 0, sizeof u->device);
    memset(u->questions, 0, sizeof u->questions);
    u->interfaces_known = false;
    u->interface_info.len = 0;
    u->ep_info.len = 0;
}

/* What the client says of its device goes nowhere from here on. */
static void refuse(struct turn *t)
{
    struct kb_usbredir *u = t->u;
    bool shown = u->state == DEVICE_SHOWN;
    if (shown) {
        say(t, KB_FROM_CLIENT, DEVICE_DISCONNECT);
        if (both(u, CAP_DEVICE_DISCONNECT_ACK))
            u->acks_of_ours++;
    }
    if (both(u, CAP_FILTER))
        say(t, KB_FROM_SERVER, FILTER_REJECT);
    tell(u, t->c, shown ? KB_FACT_USB_UNPLUGGED : KB_FACT_USB_REFUSED);
    u->state = DEVICE_REFUSED;
    u->interface_info.len = 0;
    u->ep_info.len = 0;
}

static bool forbidden(struct turn *t, const struct kb_usb_device *d)
{
    struct kb_buf text = {0};
    kb_usb_device_describe(d, &text);
    kb_buf_add(&text, "", 1);
    bool blocks = kb_content_blocks(
        t->c, t->rules, KB_FROM_CLIENT, kb_limits_forbid_usb(&t->rules->enforced, d),
        kb_limits_forbid_usb(&t->rules->all, d), (const char *)text.data);
    kb_buf_finish(&text);
    return blocks;
}

static bool on_connect(struct turn *t)
{
    struct kb_usbredir *u = t->u;
    struct kb_span body = body_of(t);
    bool version = both(u, CAP_CONNECT_DEVICE_VERSION);
    if (body.len != (version ? 10u : 8u))
        return !malformed(t, "a device_connect of another length than agreed");
    if (u->state != DEVICE_NONE) {
        malformed(t, "a device_connect while another device is there");
        return true; /* QEMU takes no second one either */
    }
    const uint8_t *p = body.data; /* the first byte is the speed */
    u->device.device_class = p[1];
    u->device.subclass = p[2];
    u->device.protocol = p[3];
    u->device.vendor = kb_get_u16(p + 4);
    u->device.product = kb_get_u16(p + 6);
    u->device.version = version ? kb_get_u16(p + 8) : 0;
    if (!u->interfaces_known) {
        /* QEMU rejects it for that, usbredir_check_filter. */
        malformed(t, "a device that does not say what it is");
        refuse(t);
    } else if (forbidden(t, &u->device)) {
        refuse(t);
    } else {
        u->state = DEVICE_SHOWN;
        emit(t, kb_buf_span(&u->interface_info));
        emit(t, kb_buf_span(&u->ep_info));
        emit(t, kb_buf_span(&u->sides[t->d].held));
        u->interface_info.len = 0;
        u->ep_info.len = 0;
        tell(u, t->c, KB_FACT_USB_PLUGGED);
    }
    return true;
}

static bool on_interface_info(struct turn *t)
{
    struct kb_usbredir *u = t->u;
    struct kb_span body = body_of(t);
    const size_t n = KB_USB_INTERFACES_MAX;
    if (body.len != 4 + 4 * n || kb_get_u32(body.data) > n)
        return !malformed(t, "an interface_info that has no such form");
    if (u->state == DEVICE_REFUSED)
        return true;
    u->device.interface_count = kb_get_u32(body.data);
    for (unsigned i = 0; i < u->device.interface_count; i++)
        u->device.interfaces[i] = (struct kb_usb_interface){
            body.data[4 + n + i], body.data[4 + 2 * n + i], body.data[4 + 3 * n + i]};
    u->interfaces_known = true;
    if (u->state == DEVICE_NONE) {
        u->interface_info.len = 0;
        kb_buf_add(&u->interface_info, u->sides[t->d].held.data, u->sides[t->d].held.len);
    } else if (forbidden(t, &u->device)) {
        refuse(t);
    } else {
        emit(t, kb_buf_span(&u->sides[t->d].held));
    }
    return true;
}

static bool on_ep_info(struct turn *t)
{
    struct kb_usbredir *u = t->u;
    size_t want = both(u, CAP_BULK_STREAMS)              ? 32 * 9
                  : both(u, CAP_EP_INFO_MAX_PACKET_SIZE) ? 32 * 5
                                                         : 32 * 3;
    if (body_of(t).len != want)
        return !malformed(t, "an ep_info of another length than agreed");
    if (u->state == DEVICE_SHOWN) {
        emit(t, kb_buf_span(&u->sides[t->d].held));
    } else if (u->state == DEVICE_NONE) {
        u->ep_info.len = 0;
        kb_buf_add(&u->ep_info, u->sides[t->d].held.data, u->sides[t->d].held.len);
    }
    return true;
}

static bool on_disconnect(struct turn *t)
{
    struct kb_usbredir *u = t->u;
    if (body_of(t).len)
        return !malformed(t, "a device_disconnect with a body");
    if (u->state == DEVICE_SHOWN) {
        emit(t, kb_buf_span(&u->sides[t->d].held));
        tell(u, t->c, KB_FACT_USB_UNPLUGGED);
    } else if (both(u, CAP_DEVICE_DISCONNECT_ACK)) {
        /* Without it the client would wait before it connects the next one. */
        say(t, KB_FROM_SERVER, DEVICE_DISCONNECT_ACK);
    }
    forget_device(u);
    return true;
}

/* Descriptors that the device shows the guest */

static bool is_telling(uint8_t from, uint8_t of)
{
    switch (of) {
    case OF_DEVICE:
    case OF_CONFIGURATION:
    case OF_OTHER_SPEED:
        return from == FROM_DEVICE;
    case OF_REPORT:
        return from == FROM_INTERFACE;
    default:
        return false;
    }
}

static void remember_question(struct turn *t)
{
    struct kb_usbredir *u = t->u;
    struct kb_span body = body_of(t);
    if (body.len < CONTROL_SIZE || body.data[1] != GET_DESCRIPTOR)
        return;
    uint8_t of = body.data[5]; /* high byte of value */
    if (!is_telling(body.data[2], of))
        return;
    u->questions[u->next_question] = (struct question){id_of(u, t->d), of};
    u->next_question = (u->next_question + 1) % QUESTIONS;
}

static struct question *find_question(struct kb_usbredir *u, uint64_t id)
{
    for (unsigned i = 0; i < QUESTIONS; i++)
        if (u->questions[i].of && u->questions[i].id == id)
            return &u->questions[i];
    return NULL;
}

/* The device descriptor must say what device_connect said. It may be cut to what was asked for. */
static bool contradicts(const struct kb_usb_device *d, struct kb_span s)
{
    return (s.len > 4 && s.data[4] != d->device_class) ||
           (s.len > 9 && kb_get_u16(s.data + 8) != d->vendor) ||
           (s.len > 11 && kb_get_u16(s.data + 10) != d->product) ||
           (s.len > 13 && d->version && kb_get_u16(s.data + 12) != d->version);
}

/* The interfaces of a configuration, all their settings, each judged as the device's. True: one of
 * them is forbidden, and *of is the device with it alone. */
static bool shows_forbidden(struct turn *t, struct kb_span s, struct kb_usb_device *of)
{
    *of = t->u->device;
    while (s.len >= 2 && s.data[0] >= 2) {
        struct kb_span one = kb_span_take_most(&s, s.data[0]);
        if (one.data[1] != OF_INTERFACE || one.len < 6)
            continue;
        /* Cut off behind its class: not to be taken for harmless. */
        of->interfaces[0] = (struct kb_usb_interface){one.data[5], one.len > 6 ? one.data[6] : 0xff,
                                                      one.len > 7 ? one.data[7] : 0xff};
        /* A plain HID is not asked where it is one among others, as in usb_device.h. */
        of->interface_count = t->u->device.interface_count > 1 ? 2 : 1;
        of->interfaces[1] = of->interfaces[0];
        if (kb_limits_forbid_usb(&t->rules->enforced, of) != KB_RULE_NONE) {
            of->interface_count = 1;
            return true;
        }
    }
    return false;
}

/* Keys are remembered: rules may come that forbid them. */
static bool shows_keys(struct turn *t, struct kb_span data)
{
    struct kb_usb_device *d = &t->u->device;
    if (d->has_keys || !kb_hid_report_has_keys(data))
        return false;
    d->has_keys = true;
    return forbidden(t, d);
}

static bool shows_what_is_refused(struct turn *t, uint8_t of, struct kb_span data)
{
    struct kb_usb_device shown;
    switch (of) {
    case OF_DEVICE:
        return contradicts(&t->u->device, data) &&
               malformed(t, "a device that tells the guest to be another than it told us");
    case OF_REPORT:
        return shows_keys(t, data);
    default:
        return shows_forbidden(t, data, &shown) && forbidden(t, &shown);
    }
}

static void on_answer(struct turn *t, struct question *q)
{
    struct kb_span body = body_of(t);
    uint8_t of = q->of;
    q->of = 0;
    if (body.len > CONTROL_SIZE &&
        shows_what_is_refused(t, of, kb_span(body.data + CONTROL_SIZE, body.len - CONTROL_SIZE)))
        refuse(t);
    else
        emit(t, kb_buf_span(&t->u->sides[t->d].held));
}

/* Packets */

static bool on_hello(struct turn *t)
{
    struct side *s = &t->u->sides[t->d];
    struct kb_span body = body_of(t);
    emit(t, kb_buf_span(&s->held));
    if (s->greeted) {
        malformed(t, "a second hello"); /* receivers take no notice of its capabilities */
        return true;
    }
    if (body.len >= HELLO_VERSION_SIZE + 4)
        s->caps = kb_get_u32(body.data + HELLO_VERSION_SIZE);
    s->greeted = true;
    return true;
}

/* A held packet is whole. */
static bool judge(struct turn *t)
{
    struct kb_usbredir *u = t->u;
    struct side *s = &u->sides[t->d];
    if (s->type == HELLO)
        return on_hello(t);
    if (t->d == KB_FROM_SERVER) {
        if (s->type == DEVICE_DISCONNECT_ACK && u->acks_of_ours) {
            u->acks_of_ours--;
            return true;
        }
        emit(t, kb_buf_span(&s->held));
        return true;
    }
    switch (s->type) {
    case DEVICE_CONNECT:
        return on_connect(t);
    case DEVICE_DISCONNECT:
        return on_disconnect(t);
    case INTERFACE_INFO:
        return on_interface_info(t);
    case EP_INFO:
        return on_ep_info(t);
    default: {
        struct question *q = find_question(u, id_of(u, t->d));
        if (q)
            on_answer(t, q);
        else
            emit(t, kb_buf_span(&s->held));
        return true;
    }
    }
}

/* Who may say what: usbredirparser_get_type_header_len. */
static bool may_say(enum kb_direction d, uint32_t type)
{
    switch (type) {
    case HELLO:
    case FILTER_FILTER:
    case CONTROL_PACKET:
    case BULK_PACKET:
    case ISO_PACKET:
    case INTERRUPT_PACKET:
        return true;
    case DEVICE_CONNECT:
    case DEVICE_DISCONNECT:
    case INTERFACE_INFO:
    case EP_INFO:
    case CONFIGURATION_STATUS:
    case ALT_SETTING_STATUS:
    case ISO_STREAM_STATUS:
    case INTERRUPT_RECEIVING_STATUS:
    case BULK_STREAMS_STATUS:
    case BULK_RECEIVING_STATUS:
    case BUFFERED_BULK_PACKET:
        return d == KB_FROM_CLIENT;
    case RESET:
    case SET_CONFIGURATION:
    case GET_CONFIGURATION:
    case SET_ALT_SETTING:
    case GET_ALT_SETTING:
    case START_ISO_STREAM:
    case STOP_ISO_STREAM:
    case START_INTERRUPT_RECEIVING:
    case STOP_INTERRUPT_RECEIVING:
    case ALLOC_BULK_STREAMS:
    case FREE_BULK_STREAMS:
    case CANCEL_DATA_PACKET:
    case FILTER_REJECT:
    case DEVICE_DISCONNECT_ACK:
    case START_BULK_RECEIVING:
    case STOP_BULK_RECEIVING:
        return d == KB_FROM_SERVER;
    default:
        return false;
    }
}

/* What says what a device is, or that it is gone: held whatever the state is. */
static bool is_of_device(enum kb_direction d, uint32_t type)
{
    if (d == KB_FROM_SERVER)
        return type == DEVICE_DISCONNECT_ACK;
    return type == DEVICE_CONNECT || type == DEVICE_DISCONNECT || type == INTERFACE_INFO ||
           type == EP_INFO;
}

/* Longest body of what is held; 0: it is not. */
static uint32_t held_max(struct turn *t, uint32_t type)
{
    if (is_of_device(t->d, type))
        return HELLO_MAX;
    switch (type) {
    case HELLO:
        return HELLO_MAX;
    case CONTROL_PACKET: {
        /* The guest's question for its head; the answer where the question was for what counts. */
        bool held = t->d == KB_FROM_SERVER || find_question(t->u, id_of(t->u, t->d));
        return held ? CONTROL_MAX : 0;
    }
    default:
        return 0;
    }
}

static bool goes_on(struct turn *t, uint32_t type)
{
    if (type == HELLO || type == FILTER_FILTER)
        return true;
    if (t->d == KB_FROM_CLIENT)
        return t->u->state == DEVICE_SHOWN;
    /* What the guest says of a device that it sees no more. */
    return t->u->state != DEVICE_REFUSED;
}

/* New rules may forbid what is there. */
static void judge_again(struct turn *t)
{
    struct kb_usbredir *u = t->u;
    if (u->state == DEVICE_SHOWN &&
        kb_limits_forbid_usb(&t->rules->enforced, &u->device) != KB_RULE_NONE &&
        forbidden(t, &u->device))
        refuse(t);
}

/* Whether a packet is held, passed or swallowed. False: longer than what can be held. */
static bool choose(struct turn *t)
{
    struct side *s = &t->u->sides[t->d];
    uint32_t most = held_max(t, s->type);
    if (most && s->left > most)
        return false;
    if (!may_say(t->d, s->type)) {
        bool blocks = malformed(t, "a packet that this side does not send");
        s->state = blocks ? PACKET_SWALLOW : PACKET_PASS;
    } else if (is_of_device(t->d, s->type) || (most && goes_on(t, s->type))) {
        s->state = PACKET_HOLD;
    } else {
        s->state = goes_on(t, s->type) ? PACKET_PASS : PACKET_SWALLOW;
    }
    return true;
}

/* The header is there: what becomes of the packet. */
static bool begin(struct turn *t)
{
    struct kb_usbredir *u = t->u;
    struct side *s = &u->sides[t->d];
    uint32_t length = kb_get_u32(s->held.data + 4);
    s->type = kb_get_u32(s->held.data);
    s->left = length;
    if (length > PACKET_MAX) {
        malformed(t, "a packet that is longer than any can be");
        return false;
    }
    if (s->type != HELLO && (!s->greeted || !u->sides[kb_other(t->d)].greeted)) {
        /* Nobody can know how long its ids are. */
        malformed(t, "a packet before both sides have said hello");
        return false;
    }
    if (t->d == KB_FROM_CLIENT)
        judge_again(t);
    if (!choose(t)) {
        malformed(t, "a packet that is longer than its kind can be");
        return false;
    }
    if (s->state == PACKET_PASS)
        emit(t, kb_buf_span(&s->held));
    return true;
}

static bool end(struct turn *t)
{
    struct side *s = &t->u->sides[t->d];
    bool good = s->state != PACKET_HOLD || judge(t);
    s->state = PACKET_HEADER;
    s->held.len = 0;
    emit(t, kb_buf_span(&s->later));
    s->later.len = 0;
    return good;
}

static bool step(struct turn *t, struct kb_span *bytes)
{
    struct side *s = &t->u->sides[t->d];
    if (s->state == PACKET_HEADER) {
        size_t want = header_size(t->u, t->d);
        struct kb_span part = kb_span_take_most(bytes, want - s->held.len);
        kb_buf_add(&s->held, part.data, part.len);
        if (s->held.len < want)
            return true;
        if (!begin(t))
            return false;
    } else {
        struct kb_span part = kb_span_take_most(bytes, s->left);
        s->left -= (uint32_t)part.len;
        if (s->state == PACKET_HOLD)
            kb_buf_add(&s->held, part.data, part.len);
        else if (s->state == PACKET_PASS)
            emit(t, part);
        /* A question is known from its head; a control packet's data need not wait. */
        if (s->state == PACKET_HOLD && t->d == KB_FROM_SERVER && s->type == CONTROL_PACKET &&
            body_of(t).len >= CONTROL_SIZE) {
            remember_question(t);
            emit(t, kb_buf_span(&s->held));
            s->state = PACKET_PASS;
        }
    }
    return s->left || end(t);
}

static void send_out(struct turn *t)
{
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        struct kb_buf *out = &t->u->sides[d].out;
        if (out->len)
            kb_content_send(t->c, (enum kb_direction)d, SPICE_MSG_SPICEVMC_DATA, kb_buf_span(out),
                            kb_span(NULL, 0));
        out->len = 0;
    }
}

bool kb_usbredir_wants(uint16_t type)
{
    return type == SPICE_MSG_SPICEVMC_DATA || type == SPICE_MSG_SPICEVMC_COMPRESSED_DATA;
}

bool kb_usbredir_feed(struct kb_usbredir *u, struct kb_content *c, const struct kb_rules *rules,
                      enum kb_direction d, uint16_t type, struct kb_span bytes)
{
    struct turn t = {u, c, rules, d};
    if (type != SPICE_MSG_SPICEVMC_DATA) {
        malformed(&t, "compressed data, which was not agreed");
        return false;
    }
    bool good = true;
    while (good && bytes.len)
        good = step(&t, &bytes);
    send_out(&t);
    return good;
}
