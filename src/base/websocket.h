/* The frames of WebSocket (RFC 6455), pure: bytes in, events out. For a client: it masks what it
 * writes and takes only what is not masked. */
#ifndef KB_BASE_WEBSOCKET_H
#define KB_BASE_WEBSOCKET_H

#include "base/buf.h"

enum kb_ws_opcode {
    KB_WS_CONTINUATION = 0,
    KB_WS_TEXT = 1,
    KB_WS_BINARY = 2,
    KB_WS_CLOSE = 8,
    KB_WS_PING = 9,
    KB_WS_PONG = 10,
};

/* Adds one whole message in one frame, masked with a fresh key. len of a control frame: at most
 * 125. */
void kb_ws_write(struct kb_buf *out, enum kb_ws_opcode opcode, struct kb_span payload);

#define KB_WS_CONTROL_MAX 125

/* Zeroed is the beginning of a connection. */
struct kb_ws_reader {
    uint8_t head[10];
    size_t have;               /* of head */
    bool inside;               /* head is whole: a frame's payload comes */
    uint64_t left;             /* of the payload */
    enum kb_ws_opcode now;     /* of the frame */
    enum kb_ws_opcode message; /* of the message that is not finished yet; CONTINUATION: none */
    uint8_t control[KB_WS_CONTROL_MAX];
    size_t control_len;
};

enum kb_ws_event {
    KB_WS_MORE,        /* all of in is used up */
    KB_WS_GOT_DATA,    /* of a binary message, as far as it has come */
    KB_WS_GOT_TEXT,    /* a frame of a text message begins; its payload is passed over */
    KB_WS_GOT_CONTROL, /* r->now is CLOSE, PING or PONG; payload is whole */
    KB_WS_BROKEN,      /* against the protocol: nothing more may be read */
};
/* Takes bytes off *in up to one event. payload points into in or into r, until the next call. */
enum kb_ws_event kb_ws_read(struct kb_ws_reader *r, struct kb_span *in, struct kb_span *payload);

/* The handshake: a fresh key, and what the server must make of it (Sec-WebSocket-Accept); texts of
 * their own memory. */
char *kb_ws_key(void);
char *kb_ws_accept(const char *key);

#endif
