/* The edits that need no understanding of a channel's content: the list of channels, screens,
 * input, ports. Pure; the loop's thread. Sources: spice.proto of spice-common for the bodies;
 * spice-gtk 0.42 channel-inputs.c, spice-server 0.15.1 inputs-channel.cpp and spicevmc.cpp for
 * what they expect. */
#include "policy/edit.h"

#include "base/auto.h"
#include "base/mem.h"
#include "policy/agent.h"
#include "policy/usbredir.h"
#include "policy/webdav.h"

#include <assert.h>
#include <spice/enums.h>
#include <spice/protocol.h>
#include <stdlib.h>
#include <string.h>

struct kb_edit {
    uint8_t channel_type, channel_id;
    struct kb_edit_session *session;
    bool taking[KB_DIRECTIONS]; /* the message under way does not go on */
    uint32_t motions;           /* inputs: swallowed and not acknowledged; below a bunch */
    char *port;                 /* port: its name; NULL before INIT */
    uint64_t port_passes;       /* port: serial of the rules that its name passes; 0: none yet */
    struct kb_agent *agent;     /* main */
    struct kb_usbredir *usbredir;
    struct kb_webdav *webdav;
};

struct kb_edit *kb_edit_create(unsigned channel_type, unsigned channel_id,
                               struct kb_edit_session *session)
{
    switch (channel_type) {
    case KB_CHANNEL_MAIN:
    case KB_CHANNEL_DISPLAY:
    case KB_CHANNEL_INPUTS:
    case KB_CHANNEL_USBREDIR:
    case KB_CHANNEL_PORT:
    case KB_CHANNEL_WEBDAV:
        break;
    default:
        return NULL;
    }
    struct kb_edit *e = kb_zalloc(sizeof *e);
    e->channel_type = (uint8_t)channel_type;
    e->channel_id = (uint8_t)channel_id;
    e->session = session;
    if (channel_type == KB_CHANNEL_MAIN)
        e->agent = kb_agent_create();
    else if (channel_type == KB_CHANNEL_USBREDIR)
        e->usbredir = kb_usbredir_create();
    else if (channel_type == KB_CHANNEL_WEBDAV)
        e->webdav = kb_webdav_create();
    return e;
}

void kb_edit_destroy(struct kb_edit *e, struct kb_content *c)
{
    if (!e)
        return;
    if (e->agent)
        kb_agent_finish(e->agent, c);
    kb_agent_destroy(e->agent);
    if (e->usbredir)
        kb_usbredir_finish(e->usbredir, c);
    kb_usbredir_destroy(e->usbredir);
    kb_webdav_destroy(e->webdav);
    free(e->port);
    free(e);
}

static struct kb_span body_of(const struct kb_piece *p)
{
    return kb_span(p->bytes.data + KB_MINI_HEADER_SIZE, p->bytes.len - KB_MINI_HEADER_SIZE);
}

/* ---- which channels there are ---- */

enum kb_rule kb_edit_channel_rule(const struct kb_limits *l, unsigned channel_type,
                                  unsigned channel_id)
{
    if (!kb_limits_allow_channel(l, channel_type))
        return KB_RULE_CHANNEL;
    /* A screen has a display channel and a cursor channel of the same id. */
    bool screen = channel_type == KB_CHANNEL_DISPLAY || channel_type == KB_CHANNEL_CURSOR;
    return screen && l->screens && channel_id >= l->screens ? KB_RULE_SCREENS : KB_RULE_NONE;
}

/* SpiceMsgChannels: u32 count; u8 type, u8 id each. */
static enum kb_edit_step edit_channels_list(struct kb_edit *e, struct kb_content *c,
                                            const struct kb_rules *r, struct kb_span body)
{
    uint32_t count = kb_get_u32(body.data), kept = 0;
    if (count > (body.len - 4) / 2)
        return kb_content_malformed(c, r, KB_FROM_SERVER, KB_RULE_GRAMMAR_FORM, "CHANNELS_LIST")
                   ? KB_EDIT_END
                   : KB_EDIT_FORWARD;
    kb_auto(kb_buf_finish) struct kb_buf list = {0};
    kb_buf_add_u32(&list, 0);
    e->session->displays = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *entry = body.data + 4 + 2 * (size_t)i;
        if (kb_content_blocks(
                c, r, KB_FROM_SERVER, kb_edit_channel_rule(&r->enforced, entry[0], entry[1]),
                kb_edit_channel_rule(&r->all, entry[0], entry[1]), kb_channel_type_name(entry[0])))
            continue;
        kb_buf_add(&list, entry, 2);
        kept++;
        e->session->displays += entry[0] == KB_CHANNEL_DISPLAY;
    }
    if (kept == count)
        return KB_EDIT_FORWARD;
    kb_put_u32(list.data, kept);
    kb_content_send(c, KB_FROM_SERVER, SPICE_MSG_MAIN_CHANNELS_LIST, kb_buf_span(&list),
                    kb_span(NULL, 0));
    return KB_EDIT_TAKEN;
}

/* ---- screens ---- */

/* The heads that a display channel may have. One of several has as many as the others leave: of 3
 * screens on 2 channels, the first has 2 heads at most and the second 1. */
static uint32_t heads_max(const struct kb_edit *e, const struct kb_limits *l)
{
    if (!l->screens)
        return UINT32_MAX;
    uint32_t others = e->session->displays ? e->session->displays - 1 : 0;
    if (e->channel_id > 0 || others >= l->screens)
        return 1;
    return l->screens - others;
}

static enum kb_rule heads_rule(const struct kb_edit *e, const struct kb_limits *l, uint32_t count)
{
    return count > heads_max(e, l) ? KB_RULE_SCREENS : KB_RULE_NONE;
}

/* SpiceMsgDisplayMonitorsConfig: u16 count, u16 max_allowed; 28 bytes a head. */
#define HEAD_SIZE 28

static enum kb_edit_step edit_monitors(struct kb_edit *e, struct kb_content *c,
                                       const struct kb_rules *r, struct kb_span body)
{
    uint32_t count = kb_get_u16(body.data), most = kb_get_u16(body.data + 2);
    if (count > (body.len - 4) / HEAD_SIZE)
        return kb_content_malformed(c, r, KB_FROM_SERVER, KB_RULE_GRAMMAR_FORM, "MONITORS_CONFIG")
                   ? KB_EDIT_END
                   : KB_EDIT_FORWARD;
    uint32_t limit = heads_max(e, &r->enforced);
    if (!kb_content_blocks(c, r, KB_FROM_SERVER, heads_rule(e, &r->enforced, count),
                           heads_rule(e, &r->all, count), "heads of a screen") &&
        most <= limit)
        return KB_EDIT_FORWARD;
    uint8_t counts[4];
    kb_put_u16(counts, (uint16_t)(count < limit ? count : limit));
    kb_put_u16(counts + 2, (uint16_t)(most < limit ? most : limit));
    kb_content_send(c, KB_FROM_SERVER, SPICE_MSG_DISPLAY_MONITORS_CONFIG, kb_span(counts, 4),
                    kb_span(body.data + 4, (size_t)kb_get_u16(counts) * HEAD_SIZE));
    return KB_EDIT_TAKEN;
}

/* ---- input ---- */

static enum kb_rule view_only_rule(const struct kb_limits *l)
{
    return l->view_only ? KB_RULE_VIEW_ONLY : KB_RULE_NONE;
}

static bool is_blocked_input(struct kb_content *c, const struct kb_rules *r)
{
    return kb_content_blocks(c, r, KB_FROM_CLIENT, view_only_rule(&r->enforced),
                             view_only_rule(&r->all), "input");
}

static enum kb_edit_step edit_input(struct kb_edit *e, struct kb_content *c,
                                    const struct kb_rules *r, const struct kb_piece *p)
{
    if (!is_blocked_input(c, r))
        return KB_EDIT_FORWARD;
    if (p->type == SPICE_MSGC_INPUTS_MOUSE_MOTION || p->type == SPICE_MSGC_INPUTS_MOUSE_POSITION)
        e->motions++;
    if (e->motions == SPICE_INPUT_MOTION_ACK_BUNCH) {
        kb_content_send(c, KB_FROM_SERVER, SPICE_MSG_INPUTS_MOUSE_MOTION_ACK, kb_span(NULL, 0),
                        kb_span(NULL, 0));
        e->motions = 0;
    }
    assert(e->motions < SPICE_INPUT_MOTION_ACK_BUNCH);
    return KB_EDIT_TAKEN;
}

/* ---- ports ---- */

static enum kb_rule port_rule(const struct kb_limits *l, const char *name)
{
    return name             ? kb_limits_allow_port(l, name) ? KB_RULE_NONE : KB_RULE_PORTS
           : l->ports.count ? KB_RULE_PORTS
                            : KB_RULE_NONE;
}

/* A port of which no name is known passes only where any name would. A name that passes is judged
 * once: it does not change, and patterns cost more than all else that a message of a port does. */
static bool is_blocked_port(struct kb_edit *e, struct kb_content *c, const struct kb_rules *r,
                            enum kb_direction d)
{
    if (e->port_passes == r->serial)
        return false;
    enum kb_rule enforced = port_rule(&r->enforced, e->port);
    enum kb_rule all = r->observing ? port_rule(&r->all, e->port) : KB_RULE_NONE;
    if (kb_content_blocks(c, r, d, enforced, all, e->port ? e->port : "a port without a name"))
        return true;
    if (e->port && all == KB_RULE_NONE)
        e->port_passes = r->serial;
    return false;
}

/* SpiceMsgPortInit: u32 size and u32 offset of the name, which ends in NUL; u8 opened. NULL: there
 * is no such text in it. Points into body. */
static const char *port_name(struct kb_span body)
{
    size_t size = kb_get_u32(body.data), at = kb_get_u32(body.data + 4);
    if (size == 0 || at > body.len || size > body.len - at)
        return NULL;
    const char *name = (const char *)body.data + at;
    return memchr(name, '\0', size) == name + size - 1 ? name : NULL;
}

/* What goes to a port is input, and so is a break on its line. */
static bool is_port_input(enum kb_direction d, const struct kb_piece *p)
{
    return d == KB_FROM_CLIENT && (p->type != SPICE_MSGC_PORT_EVENT ||
                                   (p->bytes.len > KB_MINI_HEADER_SIZE &&
                                    p->bytes.data[KB_MINI_HEADER_SIZE] == SPICE_PORT_EVENT_BREAK));
}

static enum kb_edit_step edit_port(struct kb_edit *e, struct kb_content *c,
                                   const struct kb_rules *r, enum kb_direction d,
                                   const struct kb_piece *p)
{
    if (d == KB_FROM_SERVER && p->type == SPICE_MSG_PORT_INIT) {
        const char *name = p->last ? port_name(body_of(p)) : NULL;
        if (!name && kb_content_malformed(c, r, d, KB_RULE_GRAMMAR_FORM, "a port's INIT"))
            return KB_EDIT_END;
        /* The server of a desktop that has moved says it again; no other name is judged here. */
        if (name && e->port && strcmp(name, e->port) != 0) {
            (void)kb_content_malformed(c, r, d, KB_RULE_GRAMMAR_FORM, "a port with another name");
            return KB_EDIT_END;
        }
        if (name && !e->port)
            e->port = kb_strdup(name);
    }
    if (is_blocked_port(e, c, r, d))
        return KB_EDIT_END;
    return is_port_input(d, p) && is_blocked_input(c, r) ? KB_EDIT_TAKEN : KB_EDIT_FORWARD;
}

/* ---- all of them ---- */

static enum kb_edit_step edit_main(struct kb_edit *e, struct kb_content *c,
                                   const struct kb_rules *r, enum kb_direction d,
                                   const struct kb_piece *p, bool readable)
{
    if (d == KB_FROM_SERVER && p->type == SPICE_MSG_MAIN_CHANNELS_LIST && readable)
        return edit_channels_list(e, c, r, body_of(p));
    if (!kb_agent_wants(d, p->type))
        return KB_EDIT_FORWARD;
    /* Longer than any chunk, and nobody would know what it says. */
    if (!p->last)
        return KB_EDIT_END;
    return kb_agent_feed(e->agent, c, r, d, p->type, body_of(p)) ? KB_EDIT_TAKEN : KB_EDIT_END;
}

/* The first piece of a message; it is whole unless it is longer than KB_STREAM_WHOLE_MAX. What is
 * in breach of the grammar passes only because that is observed, and cannot be read. */
static enum kb_edit_step edit_message(struct kb_edit *e, struct kb_content *c,
                                      const struct kb_rules *r, enum kb_direction d,
                                      const struct kb_piece *p)
{
    bool readable = p->last && p->breach == KB_REASON_NONE;
    switch (e->channel_type) {
    case KB_CHANNEL_MAIN:
        return edit_main(e, c, r, d, p, readable);
    case KB_CHANNEL_DISPLAY:
        if (d == KB_FROM_SERVER && p->type == SPICE_MSG_DISPLAY_MONITORS_CONFIG && readable)
            return edit_monitors(e, c, r, body_of(p));
        return KB_EDIT_FORWARD;
    case KB_CHANNEL_INPUTS:
        return d == KB_FROM_CLIENT ? edit_input(e, c, r, p) : KB_EDIT_FORWARD;
    case KB_CHANNEL_PORT:
        return edit_port(e, c, r, d, p);
    default:
        return KB_EDIT_FORWARD;
    }
}

/* Streams of bytes inside messages of any length, which are fed as they come: what goes on is in
 * messages of its own. */
static enum kb_edit_step edit_content(struct kb_edit *e, struct kb_content *c,
                                      const struct kb_rules *r, enum kb_direction d,
                                      const struct kb_piece *p)
{
    struct kb_span bytes = p->first ? body_of(p) : p->bytes;
    if (e->usbredir ? !kb_usbredir_wants(p->type) : !kb_webdav_wants(d, p->type))
        return KB_EDIT_FORWARD;
    bool good = e->usbredir ? kb_usbredir_feed(e->usbredir, c, r, d, p->type, bytes)
                            : kb_webdav_feed(e->webdav, c, r, d, p->type, bytes);
    return good ? KB_EDIT_TAKEN : KB_EDIT_END;
}

#ifndef NDEBUG
static unsigned count_messages(struct kb_span s)
{
    unsigned n = 0;
    for (size_t at = 0; at < s.len; n++)
        at += KB_MINI_HEADER_SIZE + kb_get_u32(s.data + at + 2);
    return n;
}
#endif

enum kb_edit_step kb_edit_piece(struct kb_edit *e, struct kb_content *c, const struct kb_rules *r,
                                enum kb_direction d, const struct kb_piece *p)
{
    if (e->usbredir || e->webdav)
        return edit_content(e, c, r, d, p);
    if (!p->first)
        return e->taking[d] ? KB_EDIT_TAKEN : KB_EDIT_FORWARD;
    enum kb_edit_step step = edit_message(e, c, r, d, p);
    e->taking[d] = step == KB_EDIT_TAKEN;
    /* Numbers and acknowledgements of display: one for one. */
    if (e->channel_type == KB_CHANNEL_DISPLAY) {
        assert(step != KB_EDIT_TAKEN || count_messages(kb_buf_span(&c->to[d])) == 1);
        assert(c->to[kb_other(d)].len == 0);
    }
    return step;
}
