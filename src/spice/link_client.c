/* The link with a client, where we are the server: reads its link message, mechanism and ticket,
 * and makes the three answers it may get. Opening the ticket is ticket.c's. Pure: whoever owns the
 * machine runs it, on any thread.
 *
 * Limits are spice-server's (reds.cpp 1541-1680, 2198-2312) but for the number of capability words,
 * where 16 instead of 1024 is still fifteen more than any client sends. */
#include "spice/link.h"

#include "spice/link_read.h"

#include <spice/protocol.h>

enum { HEADER, BODY, TICKET, DONE, FAILED };

/* Where the parts of SpiceLinkMess are. */
enum { AT_CONNECTION_ID = 0, AT_TYPE = 4, AT_ID = 5, AT_CAPS = 6 };
/* The mechanism stands before the ticket. */
enum { MECHANISM_SIZE = 4 };

static enum kb_link_step fail(struct kb_client_link *l, enum kb_reason why)
{
    l->state = FAILED;
    l->reason = why;
    l->need = l->have = 0;
    return KB_LINK_FAILED;
}

static enum kb_link_step read_header(struct kb_client_link *l)
{
    uint32_t size = kb_get_u32(l->in + KB_LINK_AT_SIZE);
    if (kb_get_u32(l->in + KB_LINK_AT_MAJOR) != KB_LINK_MAJOR)
        return fail(l, KB_REASON_LINK_VERSION);
    if (size < KB_LINK_MESS_SIZE || size > KB_LINK_BODY_MAX)
        return fail(l, KB_REASON_LINK_MALFORMED);
    l->need = (uint16_t)(KB_LINK_HEADER_SIZE + size);
    l->state = BODY;
    return KB_LINK_MORE;
}

static enum kb_link_step read_body(struct kb_client_link *l)
{
    struct kb_span body = kb_span(l->in + KB_LINK_HEADER_SIZE, l->need - KB_LINK_HEADER_SIZE);
    struct kb_link *link = &l->link;

    link->connection_id = kb_get_u32(body.data + AT_CONNECTION_ID);
    link->channel_type = body.data[AT_TYPE];
    link->channel_id = body.data[AT_ID];
    if (!kb_link_read_caps(body, AT_CAPS, KB_LINK_MESS_SIZE, &link->caps))
        return fail(l, KB_REASON_LINK_MALFORMED);
    if (link->channel_type < KB_CHANNEL_MAIN || link->channel_type >= KB_CHANNEL_END)
        return fail(l, KB_REASON_LINK_CHANNEL);
    /* AUTH_SPICE is not asked for: stock clients do not say it and can it. */
    if (!kb_caps_has_common(&link->caps, SPICE_COMMON_CAP_PROTOCOL_AUTH_SELECTION) ||
        !kb_caps_has_common(&link->caps, SPICE_COMMON_CAP_MINI_HEADER))
        return fail(l, KB_REASON_LINK_CAPABILITIES);
    l->have = 0;
    l->need = MECHANISM_SIZE + KB_TICKET_SIZE;
    l->state = TICKET;
    return KB_LINK_GOT;
}

void kb_client_link_init(struct kb_client_link *l)
{
    *l = (struct kb_client_link){.state = HEADER, .need = KB_LINK_HEADER_SIZE};
}

size_t kb_client_link_want(const struct kb_client_link *l)
{
    return (size_t)(l->need - l->have);
}

enum kb_link_step kb_client_link_feed(struct kb_client_link *l, struct kb_span bytes)
{
    if (l->state == FAILED)
        return KB_LINK_FAILED;
    /* Bytes beyond want belong to a phase that has not begun: our reader made a mistake, or nothing
     * may be fed any more. */
    if (bytes.len > kb_client_link_want(l))
        return fail(l, KB_REASON_INTERNAL);
    if (bytes.len)
        memcpy(l->in + l->have, bytes.data, bytes.len);
    l->have = (uint16_t)(l->have + bytes.len);

    switch (l->state) {
    case HEADER:
        if (!kb_link_magic_ok(kb_span(l->in, l->have)))
            return fail(l, KB_REASON_LINK_MAGIC);
        return l->have < l->need ? KB_LINK_MORE : read_header(l);
    case BODY:
        return l->have < l->need ? KB_LINK_MORE : read_body(l);
    case TICKET:
        /* A client that chose SASL sends no ticket, so it is told now and not by a deadline. */
        if (l->have >= MECHANISM_SIZE && kb_get_u32(l->in) != SPICE_COMMON_CAP_AUTH_SPICE)
            return fail(l, KB_REASON_LINK_MECHANISM);
        if (l->have < l->need)
            return KB_LINK_MORE;
        memcpy(l->ticket, l->in + MECHANISM_SIZE, KB_TICKET_SIZE);
        l->have = l->need = 0;
        l->state = DONE;
        return KB_LINK_TICKET;
    default:
        return KB_LINK_TICKET;
    }
}

static void add_reply(struct kb_buf *out, unsigned link_error,
                      const uint8_t pubkey[KB_LINK_PUBKEY_SIZE], const struct kb_caps *caps)
{
    uint32_t words = (uint32_t)caps->common_words + caps->channel_words;
    kb_link_add_header(out, KB_LINK_REPLY_SIZE + words * 4);
    kb_buf_add_u32(out, link_error);
    kb_buf_add(out, pubkey, KB_LINK_PUBKEY_SIZE);
    kb_buf_add_u32(out, caps->common_words);
    kb_buf_add_u32(out, caps->channel_words);
    kb_buf_add_u32(out, KB_LINK_REPLY_SIZE);
    kb_link_add_caps(out, caps);
}

void kb_link_reply(struct kb_buf *out, unsigned channel_type,
                   const uint8_t pubkey[KB_LINK_PUBKEY_SIZE])
{
    struct kb_caps caps;
    kb_caps_for_client(channel_type, &caps);
    add_reply(out, KB_LINK_OK, pubkey, &caps);
}

void kb_link_refuse(struct kb_buf *out, unsigned link_error)
{
    static const uint8_t no_key[KB_LINK_PUBKEY_SIZE];
    static const struct kb_caps none;
    add_reply(out, link_error, no_key, &none);
}

void kb_link_result(struct kb_buf *out, unsigned link_error)
{
    kb_buf_add_u32(out, link_error);
}
