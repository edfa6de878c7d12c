/* The client's side of a benchmark: opens sessions, each a main channel and others, over TLS,
 * links them with a ticket, and then does what a run says. All bytes that come are compared with
 * what must come; a difference ends the program. One thread.
 *
 *   spice_load --port N --password TICKET --run RUN [...]
 *     --run bulk: display channels download; --mix 64k|16k|small
 *     --run slow: display channels of which each reads --rate bytes once a second
 *     --run echo: port channels send messages of 64 bytes at --rate a second in all, on a schedule
 *       that does not wait for answers, and latency counts from the scheduled time; with rate 0
 *       each channel sends when it is answered
 *     --run hold: every channel but main carries 16 KiB each way once; then silence
 *     --run storm: all sessions are begun at once, when a line comes on stdin
 *     --run setup: sessions are opened and closed all the time, so many at once; with --channels 0
 *       they are TLS handshakes and nothing else
 *     --sessions N, --channels N: sessions, and channels of each besides main
 *     --seconds N after --warmup N; 0: until stdin ends, and a line on it asks for the figures since
 *       the line before
 *     --pid N: the proxy; its CPU time is read at both ends of the measured time
 *     --through N: --port is an HTTP proxy's, and this the port to CONNECT to
 *     --plain: no TLS
 *
 * Prints JSON lines: {"event": "ready"} when all channels are open (bulk, slow, echo, hold), "part"
 * for a line, and "over" at the end. */
#include "load.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_SIZE 262144

struct options options = {.sessions = 1, .channels = 1, .seconds = 5, .warmup = 1, .rate = 1000};

static const struct run {
    const char *name;
    void (*run)(void);
    bool reads_ahead; /* many records a system call, so that the load costs little */
} runs[] = {
    {"bulk", run_bulk, true},  {"slow", run_slow, false},   {"echo", run_echo, false},
    {"hold", run_hold, false}, {"storm", run_storm, false}, {"setup", run_setup, false},
};

static const struct run *run_of(const char *name)
{
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        if (name && strcmp(name, runs[i].name) == 0)
            return &runs[i];
    die("no such run: %s", name ? name : "");
}

static enum mix mix_of(const char *name)
{
    for (int i = 0; i < MIX_COUNT; i++)
        if (strcmp(name, mix_names[i]) == 0)
            return (enum mix)i;
    die("no such mix: %s", name);
}

static const struct run *parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},
        {"password", required_argument, NULL, 'w'},
        {"run", required_argument, NULL, 'r'},
        {"sessions", required_argument, NULL, 's'},
        {"channels", required_argument, NULL, 'c'},
        {"mix", required_argument, NULL, 'm'},
        {"seconds", required_argument, NULL, 't'},
        {"warmup", required_argument, NULL, 'u'},
        {"rate", required_argument, NULL, 'R'},
        {"pid", required_argument, NULL, 'P'},
        {"through", required_argument, NULL, 'T'},
        {"plain", no_argument, NULL, 'n'},
        {0},
    };
    const char *run = NULL;
    bool plain = false;
    for (int o; (o = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (o) {
        case 'p':
            options.door.port = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'T':
            options.door.through = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'w':
            options.password = optarg;
            break;
        case 'r':
            run = optarg;
            break;
        case 's':
            options.sessions = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            options.channels = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'm':
            options.mix = mix_of(optarg);
            break;
        case 't':
            options.seconds = strtod(optarg, NULL);
            break;
        case 'u':
            options.warmup = strtod(optarg, NULL);
            break;
        case 'R':
            options.rate = strtod(optarg, NULL);
            break;
        case 'P':
            options.proxy = (pid_t)strtol(optarg, NULL, 10);
            break;
        case 'n':
            plain = true;
            break;
        default:
            exit(2);
        }
    }
    if (!options.door.port || !options.password || !run || optind != argc) {
        fprintf(stderr, "usage: spice_load --port N --password TICKET --run RUN ...\n");
        exit(2);
    }
    options.door.tls = plain ? NULL : make_context(false);
    return run_of(run);
}

int main(int argc, char **argv)
{
    const struct run *r = parse(argc, argv);
    if (options.door.tls && r->reads_ahead) {
        SSL_CTX_set_read_ahead(options.door.tls, 1);
        SSL_CTX_set_default_read_buffer_len(options.door.tls, READ_SIZE);
    }
    r->run();
    return 0;
}
