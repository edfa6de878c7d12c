/* The link with a hypervisor, where we are the client: makes our link message, reads its reply and
 * its result, and turns its errors into our reasons. Sealing the ticket is ticket.c's. Pure:
 * whoever owns the machine runs it, on any thread. */
#include "spice/link.h"

#include "spice/link_read.h"

#include <spice/protocol.h>

enum { HEADER, BODY, RESULT, DONE, FAILED };

/* Where the parts of SpiceLinkReply are. */
enum { AT_ERROR = 0, AT_PUBKEY = 4, AT_CAPS = 4 + KB_LINK_PUBKEY_SIZE };
enum { RESULT_SIZE = 4 };

static enum kb_link_step fail(struct kb_server_link *l, enum kb_reason why)
{
    l->state = FAILED;
    l->reason = why;
    l->need = l->have = 0;
    return KB_LINK_FAILED;
}

/* An error in the reply and one in the result say the same. */
static enum kb_reason reason_of(uint32_t link_error)
{
    switch (link_error) {
    case KB_LINK_VERSION_MISMATCH:
        return KB_REASON_SERVER_VERSION;
    case KB_LINK_NEED_SECURED:
        return KB_REASON_SERVER_NEEDS_TLS;
    case KB_LINK_NEED_UNSECURED:
        return KB_REASON_SERVER_NEEDS_PLAIN;
    case KB_LINK_PERMISSION_DENIED:
        return KB_REASON_SERVER_TICKET;
    case KB_LINK_BAD_CONNECTION_ID:
        return KB_REASON_SERVER_CONNECTION_ID;
    case KB_LINK_CHANNEL_NOT_AVAILABLE:
        return KB_REASON_SERVER_NO_CHANNEL;
    default:
        return KB_REASON_SERVER_LINK_REFUSED;
    }
}

static enum kb_link_step read_header(struct kb_server_link *l)
{
    uint32_t size = kb_get_u32(l->in + KB_LINK_AT_SIZE);
    if (kb_get_u32(l->in + KB_LINK_AT_MAJOR) != KB_LINK_MAJOR)
        return fail(l, KB_REASON_SERVER_VERSION);
    if (size < KB_LINK_REPLY_SIZE || size > KB_LINK_BODY_MAX)
        return fail(l, KB_REASON_SERVER_LINK_MALFORMED);
    l->need = (uint16_t)(KB_LINK_HEADER_SIZE + size);
    l->state = BODY;
    return KB_LINK_MORE;
}

static enum kb_link_step read_body(struct kb_server_link *l)
{
    struct kb_span body = kb_span(l->in + KB_LINK_HEADER_SIZE, l->need - KB_LINK_HEADER_SIZE);
    uint32_t error = kb_get_u32(body.data + AT_ERROR);

    /* Nothing else in a reply that says no is worth a look: its key and counts may be anything. */
    if (error != KB_LINK_OK)
        return fail(l, reason_of(error));
    if (!kb_link_read_caps(body, AT_CAPS, KB_LINK_REPLY_SIZE, &l->caps))
        return fail(l, KB_REASON_SERVER_LINK_MALFORMED);
    /* A server that wants SASL says AUTH_SASL in the place of AUTH_SPICE. */
    if (!kb_caps_has_common(&l->caps, SPICE_COMMON_CAP_PROTOCOL_AUTH_SELECTION) ||
        !kb_caps_has_common(&l->caps, SPICE_COMMON_CAP_AUTH_SPICE) ||
        !kb_caps_has_common(&l->caps, SPICE_COMMON_CAP_MINI_HEADER))
        return fail(l, KB_REASON_SERVER_CAPABILITIES);
    memcpy(l->pubkey, body.data + AT_PUBKEY, KB_LINK_PUBKEY_SIZE);
    l->have = 0;
    l->need = RESULT_SIZE;
    l->state = RESULT;
    return KB_LINK_GOT;
}

void kb_server_link_init(struct kb_server_link *l)
{
    *l = (struct kb_server_link){.state = HEADER, .need = KB_LINK_HEADER_SIZE};
}

void kb_server_link_hello(struct kb_buf *out, const struct kb_link *client)
{
    struct kb_caps caps;
    kb_caps_for_server(client->channel_type, &client->caps, &caps);
    uint32_t words = (uint32_t)caps.common_words + caps.channel_words;

    kb_link_add_header(out, KB_LINK_MESS_SIZE + words * 4);
    kb_buf_add_u32(out, client->connection_id);
    kb_buf_add(out, &client->channel_type, 1);
    kb_buf_add(out, &client->channel_id, 1);
    kb_buf_add_u32(out, caps.common_words);
    kb_buf_add_u32(out, caps.channel_words);
    kb_buf_add_u32(out, KB_LINK_MESS_SIZE);
    kb_link_add_caps(out, &caps);
}

size_t kb_server_link_want(const struct kb_server_link *l)
{
    return (size_t)(l->need - l->have);
}

enum kb_link_step kb_server_link_feed(struct kb_server_link *l, struct kb_span bytes)
{
    if (l->state == FAILED)
        return KB_LINK_FAILED;
    /* As on the client leg: never a byte of the phase after. */
    if (bytes.len > kb_server_link_want(l))
        return fail(l, KB_REASON_INTERNAL);
    if (bytes.len)
        memcpy(l->in + l->have, bytes.data, bytes.len);
    l->have = (uint16_t)(l->have + bytes.len);

    switch (l->state) {
    case HEADER:
        if (!kb_link_magic_ok(kb_span(l->in, l->have)))
            return fail(l, KB_REASON_SERVER_LINK_MALFORMED);
        return l->have < l->need ? KB_LINK_MORE : read_header(l);
    case BODY:
        return l->have < l->need ? KB_LINK_MORE : read_body(l);
    case RESULT: {
        if (l->have < l->need)
            return KB_LINK_MORE;
        uint32_t error = kb_get_u32(l->in);
        if (error != KB_LINK_OK)
            return fail(l, reason_of(error));
        l->have = l->need = 0;
        l->state = DONE;
        return KB_LINK_DONE;
    }
    default:
        return KB_LINK_DONE;
    }
}
