/* The data phase, pure: cuts a byte stream into messages by their mini headers.
 *
 * A stream is one direction of one channel. It is shown whatever bytes are at hand and answers with
 * the next piece of them. Short messages come whole, so that they can be judged by their content;
 * a message longer than KB_STREAM_WHOLE_MAX comes in pieces after its header has been judged, so
 * that memory stays bounded whatever a length says. */
#ifndef KB_SPICE_STREAM_H
#define KB_SPICE_STREAM_H

#include "spice/grammar.h"

/* Messages with bodies up to this come whole; the relay's buffer must hold header and body. */
#define KB_STREAM_WHOLE_MAX 16384
/* A LIST always does, because what is inside must be looked at. A relay's buffer holds it and
 * leaves room for a read that empties TLS (KB_CONN_BULK). */
#define KB_STREAM_HELD_MAX 98240

struct kb_stream {
    struct kb_grammar_walk *grammar; /* borrowed; the channel's two streams share it */
    uint8_t direction;               /* enum kb_direction */
    bool watched;                    /* of the message under way, as in the piece */
    uint16_t type;                   /* of the message under way */
    uint32_t size;                   /* of its whole body */
    uint32_t left;                   /* bytes of its body still to come; 0 between messages */
    uint64_t messages;               /* begun so far */
};

struct kb_piece {
    struct kb_span bytes; /* as they are to be forwarded: header included when first */
    uint16_t type;
    uint32_t size;         /* of the whole body */
    bool first;            /* begins with the mini header */
    bool last;             /* ends with the message's last byte; first && last: it is whole */
    bool watched;          /* a policy may have to change it (struct kb_grammar_row) */
    enum kb_reason breach; /* first only: what the grammar has against it; NONE when it refuses */
};

enum kb_stream_step {
    KB_STREAM_PIECE, /* *piece is set; go on behind piece->bytes */
    KB_STREAM_MORE,  /* too little at hand: keep the bytes and come back with more behind them */
    KB_STREAM_BAD,   /* *why is set: a MESSAGE_...; the stream stays where it is */
};

void kb_stream_init(struct kb_stream *s, struct kb_grammar_walk *grammar, enum kb_direction d);
/* Whatever the cuts, the pieces one behind the other are the input. A piece is never empty and
 * points into bytes. MORE comes only with fewer than KB_MINI_HEADER_SIZE + KB_STREAM_HELD_MAX
 * bytes at hand, so a buffer of that size never gets stuck. A message that the grammar refuses is
 * BAD by its header, before its body is there; where the grammar only observes, it comes with its
 * breach, but BAD all the same when it is longer than anything on its channel. */
enum kb_stream_step kb_stream_next(struct kb_stream *s, struct kb_span bytes,
                                   struct kb_piece *piece, enum kb_reason *why);

/* Facts that a relay needs from bodies. */
/* The piece does not know its channel. */
/* Main's INIT (103), from the server: the session id, which later channels name when they link. */
bool kb_main_init_session(const struct kb_piece *p, uint32_t *session_id);
/* True for the client's messages on inputs that a person made: keys, motion, buttons; not for the
 * answers to PING and SET_ACK that every client gives by itself. */
bool kb_inputs_is_input(const struct kb_piece *p);

#endif
