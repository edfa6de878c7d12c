/* Cuts one direction of a channel into messages, and says how long a message may be. Not here: what
 * a message means (the policy) and who holds the bytes (the relay). Pure; runs on the loop that
 * owns the channel, once or more a message, so it touches the header's six bytes and nothing else.
 *
 * How long is too long. The pieces keep our own memory bounded, so these limits protect the peers:
 * spice-gtk allocates what a server's header says (spice_channel_recv_msg), spice-server what some
 * of a client's headers say. A limit is therefore never below what the real receiver takes or the
 * real sender can send, and else as low as that allows.
 *
 * From the client, by what spice-server 0.15.1 takes before it ends the channel itself:
 * - main: 4096 + 11 * 2048, its receive buffer; an agent chunk is 2048.
 * - display, cursor 1024, inputs 2048: their receive buffers. Servers up to 0.14 call a longer one
 *   critical, which by default ends the hypervisor.
 * - playback: nothing but ACKs and PONGs, so as little as display.
 * - record: 1 MiB; the server takes any, a frame of raw sound is some 2 KiB.
 * - smartcard: 1 MiB; the server takes any, an extended APDU is 64 KiB and a header.
 * - usbredir: usbredirparser's own limit for a packet, 128 MiB + 1 KiB (usbredirparser.c), and a
 *   header for compression; spice-gtk puts a whole packet into one message.
 * - port, webdav: 16 MiB; the server takes any, an application may write as much at once as it
 *   likes, spice-gtk's own writes for webdav are below 64 KiB.
 *
 * From the server:
 * - main: 256 KiB; the bandwidth test's PING, 256 000 bytes and 12, is by far the longest.
 * - display: 256 MiB; an 8K screen (7680 x 4320, 32 bit) as one uncompressed bitmap is 127 MiB.
 * - cursor: 16 MiB; 2048 x 2048 in 32 bit.
 * - inputs, record: a few dozen bytes, so 64 KiB with NOTIFY's text.
 * - playback and smartcard: 1 MiB as above.
 * - usbredir, port, webdav: 1 MiB; the server reads its device by 64 KiB + 32 (spicevmc.cpp).
 *
 * MIGRATE_DATA, both ways, carries a server's whole state of the channel (what is queued for a
 * device too) through the client: 16 MiB at least, on every channel. tunnel is obsolete; nobody
 * speaks it, and it gets what is common. */
#include "spice/stream.h"

#include <spice/enums.h>

#define KIB(n) (UINT32_C(1024) * (n))
#define MIB(n) (UINT32_C(1048576) * (n))

#define MIGRATE_DATA_MAX MIB(16)
/* usbredirparser.c: MAX_PACKET_SIZE; SpiceMsgCompressedData's u8 and u32 before it. */
#define USBREDIR_PACKET_MAX (MIB(128) + 1024 + 5)

static const uint32_t body_max[KB_CHANNEL_END][KB_DIRECTIONS] = {
    /* any other number: none can be linked */
    [KB_CHANNEL_MAIN] = {4096 + 11 * 2048, KIB(256)},
    [KB_CHANNEL_DISPLAY] = {1024, MIB(256)},
    [KB_CHANNEL_INPUTS] = {2048, KIB(64)},
    [KB_CHANNEL_CURSOR] = {1024, MIB(16)},
    [KB_CHANNEL_PLAYBACK] = {1024, MIB(1)},
    [KB_CHANNEL_RECORD] = {MIB(1), KIB(64)},
    [KB_CHANNEL_TUNNEL] = {KIB(64), KIB(64)},
    [KB_CHANNEL_SMARTCARD] = {MIB(1), MIB(1)},
    [KB_CHANNEL_USBREDIR] = {USBREDIR_PACKET_MAX, MIB(1)},
    [KB_CHANNEL_PORT] = {MIB(16), MIB(1)},
    [KB_CHANNEL_WEBDAV] = {MIB(16), MIB(1)},
};

enum { AT_TYPE = 0, AT_SIZE = 2, AT_SESSION_ID = KB_MINI_HEADER_SIZE };

uint32_t kb_stream_body_max(unsigned channel_type, enum kb_direction d, unsigned type)
{
    uint32_t max = channel_type < KB_CHANNEL_END ? body_max[channel_type][d] : 0;
    unsigned migrate_data = d == KB_FROM_CLIENT ? SPICE_MSGC_MIGRATE_DATA : SPICE_MSG_MIGRATE_DATA;
    return type == migrate_data && max && max < MIGRATE_DATA_MAX ? MIGRATE_DATA_MAX : max;
}

void kb_stream_init(struct kb_stream *s, unsigned channel_type, enum kb_direction d)
{
    *s = (struct kb_stream){.channel_type = (uint8_t)channel_type, .direction = (uint8_t)d};
}

enum kb_stream_step kb_stream_next(struct kb_stream *s, struct kb_span bytes,
                                   struct kb_piece *piece, enum kb_reason *why)
{
    if (s->left) {
        if (!bytes.len)
            return KB_STREAM_MORE;
        size_t take = bytes.len < s->left ? bytes.len : s->left;
        s->left -= (uint32_t)take;
        *piece = (struct kb_piece){.bytes = kb_span(bytes.data, take),
                                   .type = s->type,
                                   .size = s->size,
                                   .last = s->left == 0};
        return KB_STREAM_PIECE;
    }

    if (bytes.len < KB_MINI_HEADER_SIZE)
        return KB_STREAM_MORE;
    uint16_t type = kb_get_u16(bytes.data + AT_TYPE);
    uint32_t size = kb_get_u32(bytes.data + AT_SIZE);
    if (size > kb_stream_body_max(s->channel_type, s->direction, type)) {
        *why = KB_REASON_MESSAGE_TOO_LONG;
        return KB_STREAM_BAD;
    }
    size_t body = bytes.len - KB_MINI_HEADER_SIZE;
    if (body < size) {
        if (size <= KB_STREAM_WHOLE_MAX)
            return KB_STREAM_MORE;
    } else {
        body = size;
    }
    s->type = type;
    s->size = size;
    s->left = size - (uint32_t)body;
    s->messages++;
    *piece = (struct kb_piece){.bytes = kb_span(bytes.data, KB_MINI_HEADER_SIZE + body),
                               .type = type,
                               .size = size,
                               .first = true,
                               .last = s->left == 0};
    return KB_STREAM_PIECE;
}

bool kb_main_init_session(const struct kb_piece *p, uint32_t *session_id)
{
    if (!p->first || p->type != SPICE_MSG_MAIN_INIT || p->bytes.len < AT_SESSION_ID + 4)
        return false;
    *session_id = kb_get_u32(p->bytes.data + AT_SESSION_ID);
    return true;
}

bool kb_main_is_migration(const struct kb_piece *p)
{
    return p->first && (p->type == SPICE_MSG_MAIN_MIGRATE_BEGIN ||
                        p->type == SPICE_MSG_MAIN_MIGRATE_SWITCH_HOST ||
                        p->type == SPICE_MSG_MAIN_MIGRATE_BEGIN_SEAMLESS);
}

bool kb_inputs_is_input(const struct kb_piece *p)
{
    return p->first && p->type >= SPICE_MSGC_INPUTS_KEY_DOWN;
}
