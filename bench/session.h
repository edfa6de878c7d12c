/* Sessions side by side, each a row of channels: main first, the others begun when it is open. Many
 * may be on their way at the same time. */
#ifndef KB_BENCH_SESSION_H
#define KB_BENCH_SESSION_H

#include "channel.h"

/* Called when all channels of a session are open. */
typedef void session_fn(size_t session);

extern struct channel *rows; /* sessions * width */
extern size_t width;

/* Room for options.sessions rows; type: of all channels but main, or CHANNEL_BARE for all. opened:
 * called for each channel, may be NULL. */
void sessions_prepare(unsigned type, void (*opened)(const struct channel *ch));
void session_begin(size_t session);
void session_close(size_t session);
/* Waits for bytes once and carries on whatever can be. */
void sessions_turn(session_fn *whole);

/* Opens all of them, a few at a time, and leaves them to the caller: */
void open_sessions(unsigned type);
/* all channels but main's, */
extern struct channel **channels;
extern size_t channel_count;
/* and main's, on which nothing is said: ends the program when one was closed meanwhile. */
void check_mains(void);

#endif
