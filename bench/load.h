/* What the runs of spice_load share: what was asked for, the sessions, the measured time, and words
 * from whoever started the program. */
#ifndef KB_BENCH_LOAD_H
#define KB_BENCH_LOAD_H

#include "measure.h"
#include "session.h"

struct options {
    struct door door;
    const char *password;
    unsigned sessions, channels; /* channels: of each session, besides main */
    enum mix mix;
    double seconds, warmup; /* seconds 0: until stdin ends */
    double rate;
    pid_t proxy;
};
extern struct options options;

/* One a run; each prints JSON lines with an "event", the last of which is "over". */
void run_bulk(void);
void run_echo(void);
void run_slow(void);
void run_hold(void);
void run_storm(void);
void run_setup(void);

/* A new epoll with all channels but main's, each with its struct channel, and stdin with NULL. */
int poll_channels(void);
/* {"event": "ready", ...}: all is open. */
void say_ready(void);
/* stdin is readable: a line asks for the figures since the line before, its end for the end. */
enum word { WORD_PART, WORD_END };
enum word take_word(void);

/* The measured time: from one moment to another. */
extern uint64_t bytes_in, messages_in;
struct moment {
    uint64_t ns, bytes, messages;
    double proxy_cpu, own_cpu;
};
struct moment take_moment(void);
/* The rest of a JSON line. */
void say_result(const struct moment *a, const struct moment *b);

#endif
