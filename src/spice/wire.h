/* SPICE on the wire: constants over the spice-protocol headers (0.14.3), our words for them.
 * Everything is little-endian and packed. */
#ifndef KB_SPICE_WIRE_H
#define KB_SPICE_WIRE_H

#include "base/span.h"

/* Sizes: spice/protocol.h of spice-protocol. */
#define KB_LINK_HEADER_SIZE 16  /* SpiceLinkHeader */
#define KB_LINK_MESS_SIZE 18    /* SpiceLinkMess without capability words */
#define KB_LINK_REPLY_SIZE 178  /* SpiceLinkReply without capability words */
#define KB_LINK_PUBKEY_SIZE 162 /* DER SubjectPublicKeyInfo of an RSA key of 1024 bits */
#define KB_LINK_BODY_MAX 4096   /* what spice-server accepts, reds_handle_read_header_done */
#define KB_LINK_CAPS_MAX 16     /* words an array; today's protocol needs one */
#define KB_TICKET_SIZE 128      /* RSA-1024 */
#define KB_PASSWORD_MAX 60      /* SPICE_MAX_PASSWORD_LENGTH; servers keep 59 and the NUL */
#define KB_MINI_HEADER_SIZE 6   /* u16 type, u32 size */

/* The eleven channel types, numbered as in spice/enums.h. */
enum kb_channel_type {
    KB_CHANNEL_MAIN = 1,
    KB_CHANNEL_DISPLAY,
    KB_CHANNEL_INPUTS,
    KB_CHANNEL_CURSOR,
    KB_CHANNEL_PLAYBACK,
    KB_CHANNEL_RECORD,
    KB_CHANNEL_TUNNEL,
    KB_CHANNEL_SMARTCARD,
    KB_CHANNEL_USBREDIR,
    KB_CHANNEL_PORT,
    KB_CHANNEL_WEBDAV,
    KB_CHANNEL_END
};

enum kb_direction { KB_FROM_CLIENT, KB_FROM_SERVER, KB_DIRECTIONS };

/* "main", "display", ...; "unknown" for any other number. */
const char *kb_channel_type_name(unsigned type);
/* "client_to_server", "server_to_client": the label of the metrics. */
const char *kb_direction_name(enum kb_direction d);

#endif
