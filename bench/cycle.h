/* The messages that one end of a benchmark sends and the other expects. */
#ifndef KB_BENCH_CYCLE_H
#define KB_BENCH_CYCLE_H

#include "base/buf.h"

/* Mixes of display messages, by the size of a whole message. */
enum mix {
    MIX_64K,   /* 65536 */
    MIX_16K,   /* 16384 */
    MIX_SMALL, /* 200 to 4096, a different one each time */
    MIX_COUNT,
};
extern const char *const mix_names[MIX_COUNT];

/* An endless stream is this one cycle of some 4 MiB again and again, with the cycle's number in its
 * first message: every byte has one right value at every place. Messages are display's STREAM_DATA.
 */
struct cycle {
    struct kb_buf bytes;
    size_t messages;
};
void cycle_make(struct cycle *c, enum mix mix);
/* Where the cycle's number stands, 4 bytes. */
#define CYCLE_NUMBER_AT 10

/* Echoed messages: a port's DATA of this size, header included. */
#define ECHO_SIZE 64
#define MSG_HEADER 6

/* MAIN_INIT as a whole, and where in it the session's connection id stands. */
#define MAIN_INIT_SIZE (MSG_HEADER + 32)

/* Every port's name, and the INIT that tells it, as a whole. */
#define PORT_NAME "org.test.bench"
#define PORT_INIT_SIZE (MSG_HEADER + 9 + sizeof PORT_NAME)

#endif
