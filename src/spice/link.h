/* The link phase, pure: two machines that are fed bytes and say how many they want next.
 *
 * A machine asks for exactly what it needs (want), so that whoever reads for it never takes a byte
 * that belongs to the phase after. Feed it any prefix of that; it says how it stands.
 *
 *   client leg, we are the server: LinkHeader, LinkMess+caps | our reply | mechanism, ticket |
 *   result server leg, we are the client: our link | LinkHeader, LinkReply+caps | our ticket |
 *   result
 *
 * Source: spice-server 0.15.1 reds.cpp, spice-gtk 0.42 spice-channel.c, spice/protocol.h. */
#ifndef KB_SPICE_LINK_H
#define KB_SPICE_LINK_H

#include "base/buf.h"
#include "base/reason.h"
#include "spice/caps.h"

/* What a link message says. */
struct kb_link {
    uint32_t connection_id; /* 0: a new session, on main only */
    uint8_t channel_type;   /* 1..11 once parsed */
    uint8_t channel_id;
    struct kb_caps caps;
};

enum kb_link_step {
    KB_LINK_MORE,   /* feed me more: want says how much */
    KB_LINK_GOT,    /* client leg: the link message is read; server leg: the reply is read */
    KB_LINK_TICKET, /* client leg: mechanism and ticket are read */
    KB_LINK_DONE,   /* server leg: the result is read and it is 0 */
    KB_LINK_FAILED, /* machine->reason says why; nothing more may be fed */
};

/* --- client leg ------------------------------------------------------------------------------- */

struct kb_client_link {
    uint8_t state;
    enum kb_reason reason;
    uint16_t have;                                      /* bytes of in that are filled */
    uint16_t need;                                      /* bytes that complete this step */
    uint8_t in[KB_LINK_HEADER_SIZE + KB_LINK_BODY_MAX]; /* header, body; later the ticket */
    struct kb_link link;                                /* valid from KB_LINK_GOT on */
    uint8_t ticket[KB_TICKET_SIZE];                     /* valid at KB_LINK_TICKET */
};

void kb_client_link_init(struct kb_client_link *l);
/* How many bytes to read at most before the next feed. Never 0 while the step is KB_LINK_MORE. */
size_t kb_client_link_want(const struct kb_client_link *l);
/* bytes.len must be at most want; more is our mistake and fails with INTERNAL. After KB_LINK_GOT
 * send the reply, then feed on. Fails with LINK_MAGIC (as soon as the first wrong byte is there),
 * LINK_VERSION, LINK_MALFORMED, LINK_CHANNEL, LINK_CAPABILITIES (mini header or auth selection
 * missing), LINK_MECHANISM (as soon as the mechanism is there: another one brings no ticket). What
 * is in the body besides the capabilities is tolerated. */
enum kb_link_step kb_client_link_feed(struct kb_client_link *l, struct kb_span bytes);
/* The reply that says "go on": error 0, our key, our capabilities for this channel type. */
void kb_link_reply(struct kb_buf *out, unsigned channel_type,
                   const uint8_t pubkey[KB_LINK_PUBKEY_SIZE]);
/* The reply that says no before there was a key: a full LinkReply with a zeroed key. */
void kb_link_refuse(struct kb_buf *out, unsigned link_error);
/* The bare result after the ticket: 4 bytes. */
void kb_link_result(struct kb_buf *out, unsigned link_error);

/* --- server leg ------------------------------------------------------------------------------- */

struct kb_server_link {
    uint8_t state;
    enum kb_reason reason;
    uint16_t have, need;
    uint8_t in[KB_LINK_HEADER_SIZE + KB_LINK_BODY_MAX];
    uint8_t pubkey[KB_LINK_PUBKEY_SIZE]; /* valid at KB_LINK_GOT */
    struct kb_caps caps;                 /* the server's, valid at KB_LINK_GOT */
};

void kb_server_link_init(struct kb_server_link *l);
/* Our link message for this client's link: same ids, capabilities by kb_caps_for_server. */
void kb_server_link_hello(struct kb_buf *out, const struct kb_link *client);
size_t kb_server_link_want(const struct kb_server_link *l);
/* After KB_LINK_GOT send mechanism and ticket (kb_ticket_seal), then feed on until KB_LINK_DONE.
 * Errors of the server become reasons: NEED_SECURED SERVER_NEEDS_TLS, NEED_UNSECURED
 * SERVER_NEEDS_PLAIN, PERMISSION_DENIED SERVER_TICKET, BAD_CONNECTION_ID SERVER_CONNECTION_ID,
 * CHANNEL_NOT_AVAILABLE SERVER_NO_CHANNEL, VERSION_MISMATCH SERVER_VERSION, others
 * SERVER_LINK_REFUSED; nonsense SERVER_LINK_MALFORMED; no mini header, auth selection or AUTH_SPICE
 * (which a server with SASL lacks) SERVER_CAPABILITIES. A key that is no key shows when a ticket is
 * sealed for it. */
enum kb_link_step kb_server_link_feed(struct kb_server_link *l, struct kb_span bytes);

#endif
