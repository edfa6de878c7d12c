/* The client's side of a benchmark: opens sessions, each a main channel and others, over TLS,
 * links them with a ticket, and then does one of three things. All bytes that come are compared
 * with what must come; a difference ends the program. One thread.
 *
 *   spice_load --port N --password TICKET --run RUN [...]
 *     --run bulk: display channels download for --seconds after --warmup; --mix 64k|16k|small
 *     --run echo: port channels send messages of 64 bytes at --rate a second in all, on a schedule
 *       that does not wait for answers; latency counts from the scheduled time
 *     --run hold: every channel but main carries 16 KiB each way once; then silence until stdin
 *       ends
 *     --sessions N, --channels N: sessions, and channels of each besides main
 *     --pid N: the proxy; its CPU time is read at both ends of the measured time
 *     --plain: no TLS
 *
 * Says one JSON line when all channels are linked (hold) or when the measured time is over. */
#include "measure.h"
#include "peer.h"
#include "spice/link.h"
#include "spice/ticket.h"

#include <errno.h>
#include <getopt.h>
#include <spice/enums.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE 262144
#define HOLD_BODY 16378
/* Reads of one channel at most before the others have their turn. */
#define READS_PER_TURN 16

struct channel {
    struct peer peer;
    uint32_t cycle_number;
    size_t at; /* in the cycle, or in the echoed message */
    bool more; /* TLS may hold bytes that make no socket readable */
    uint8_t part[ECHO_SIZE];
};

static struct {
    unsigned port, sessions, channels;
    const char *password, *run;
    enum mix mix;
    double seconds, warmup, rate;
    pid_t proxy;
    bool plain;
} options = {.sessions = 1, .channels = 1, .seconds = 5, .warmup = 1, .rate = 1000};

static SSL_CTX *tls;
static struct channel *channels;
static size_t channel_count;
static uint8_t buffer[READ_SIZE];
static struct cycle cycle;
static uint64_t bytes_in, messages_in;

/* --- opening ------------------------------------------------------------------------------------
 */

static void run_link(struct peer *p, struct kb_link *link)
{
    struct kb_server_link l;
    struct kb_buf out = {0};
    uint8_t in[KB_LINK_BODY_MAX];
    enum kb_link_step step;
    kb_server_link_init(&l);
    kb_server_link_hello(&out, link);
    give_all(p, kb_buf_span(&out));
    do {
        size_t want = kb_server_link_want(&l);
        if (!take_exactly(p, in, want))
            die("closed while linking");
        step = kb_server_link_feed(&l, kb_span(in, want));
        if (step == KB_LINK_GOT) {
            out.len = 0;
            if (!kb_ticket_seal(&out, l.pubkey, options.password))
                die("the ticket");
            give_all(p, kb_buf_span(&out));
        }
    } while (step == KB_LINK_MORE || step == KB_LINK_GOT);
    if (step != KB_LINK_DONE)
        die("the link was refused: %s", kb_reason_name(l.reason));
    kb_buf_finish(&out);
}

static void open_channel(struct channel *ch, unsigned type, unsigned id, uint32_t connection_id)
{
    struct peer *p = &ch->peer;
    peer_connect(p, options.plain ? NULL : tls, options.port);
    struct kb_link link = {
        .connection_id = connection_id, .channel_type = (uint8_t)type, .channel_id = (uint8_t)id};
    run_link(p, &link);
    uint8_t init[MSG_HEADER + PORT_INIT_SIZE];
    if (type == KB_CHANNEL_PORT &&
        (!take_exactly(p, init, sizeof init) || kb_get_u16(init) != SPICE_MSG_PORT_INIT))
        die("no port's INIT");
}

static uint32_t take_session_id(struct peer *p)
{
    uint8_t init[MSG_HEADER + 32];
    if (!take_exactly(p, init, sizeof init) || kb_get_u16(init) != SPICE_MSG_MAIN_INIT)
        die("no INIT");
    return kb_get_u32(init + MSG_HEADER);
}

static void open_sessions(unsigned type)
{
    channels = calloc(options.sessions * (options.channels + 1), sizeof *channels);
    struct channel *mains = calloc(options.sessions, sizeof *mains);
    if (!channels || !mains)
        die("memory");
    for (unsigned s = 0; s < options.sessions; s++) {
        open_channel(&mains[s], KB_CHANNEL_MAIN, 0, 0);
        uint32_t session = take_session_id(&mains[s].peer);
        for (unsigned i = 0; i < options.channels; i++)
            open_channel(&channels[channel_count++], type, i, session);
    }
    /* The main channels stay open and silent to the end; nobody reads them again. */
    free(mains);
}

static int poll_channels(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < channel_count; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &channels[i]};
        set_nonblocking(&channels[i].peer);
        if (epoll_ctl(fd, EPOLL_CTL_ADD, channels[i].peer.fd, &e) != 0)
            die("epoll_ctl: %s", strerror(errno));
    }
    return fd;
}

/* --- the measured time --------------------------------------------------------------------------
 */

struct moment {
    uint64_t ns, bytes, messages;
    double proxy_cpu, own_cpu;
};

static struct moment take_moment(void)
{
    return (struct moment){.ns = now_ns(),
                           .bytes = bytes_in,
                           .messages = messages_in,
                           .proxy_cpu = process_cpu(options.proxy),
                           .own_cpu = process_cpu(getpid())};
}

static void say_result(const struct moment *a, const struct moment *b)
{
    printf("\"seconds\": %.6f, \"bytes\": %llu, \"messages\": %llu, \"proxy_cpu\": %.6f, "
           "\"load_cpu\": %.6f}\n",
           (double)(b->ns - a->ns) / 1e9, (unsigned long long)(b->bytes - a->bytes),
           (unsigned long long)(b->messages - a->messages), b->proxy_cpu - a->proxy_cpu,
           b->own_cpu - a->own_cpu);
    fflush(stdout);
}

/* --- bulk ---------------------------------------------------------------------------------------
 */

static void ask_for_flood(struct channel *ch)
{
    /* SpiceMsgcDisplayInit: pixmap cache id and size, GLZ dictionary id and window. */
    uint8_t body[14] = {(uint8_t)options.mix};
    struct kb_buf out = {0};
    kb_buf_add_u16(&out, SPICE_MSGC_DISPLAY_INIT);
    kb_buf_add_u32(&out, sizeof body);
    kb_buf_add(&out, body, sizeof body);
    give_all(&ch->peer, kb_buf_span(&out));
    kb_buf_finish(&out);
}

/* Compares with what must come. The cycle's number is put into our own copy of it first. */
static void check_flood(struct channel *ch, const uint8_t *got, size_t n)
{
    while (n) {
        size_t part = cycle.bytes.len - ch->at < n ? cycle.bytes.len - ch->at : n;
        kb_put_u32(cycle.bytes.data + CYCLE_NUMBER_AT, ch->cycle_number);
        if (memcmp(cycle.bytes.data + ch->at, got, part) != 0)
            die("a byte is wrong in cycle %u behind %zu", ch->cycle_number, ch->at);
        ch->at += part;
        got += part;
        n -= part;
        if (ch->at == cycle.bytes.len) {
            ch->at = 0;
            ch->cycle_number++;
            messages_in += cycle.messages;
        }
    }
}

static void download(struct channel *ch)
{
    ch->more = false;
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t r = take_some(&ch->peer, buffer, sizeof buffer);
        if (r < 0)
            die("a channel was closed");
        if (r == 0)
            return;
        bytes_in += (uint64_t)r;
        check_flood(ch, buffer, (size_t)r);
    }
    ch->more = true;
}

static void run_bulk(void)
{
    cycle_make(&cycle, options.mix);
    open_sessions(KB_CHANNEL_DISPLAY);
    for (size_t i = 0; i < channel_count; i++)
        ask_for_flood(&channels[i]);
    int epoll = poll_channels();
    uint64_t start = now_ns() + (uint64_t)(options.warmup * 1e9);
    uint64_t end = start + (uint64_t)(options.seconds * 1e9);
    struct moment begin = {0};
    bool more = true;
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, more ? 0 : 100);
        for (int i = 0; i < n; i++)
            ((struct channel *)events[i].data.ptr)->more = true;
        more = false;
        for (size_t i = 0; i < channel_count; i++) {
            if (channels[i].more)
                download(&channels[i]);
            more = more || channels[i].more;
        }
        uint64_t now = now_ns();
        if (!begin.ns && now >= start)
            begin = take_moment();
        if (now >= end)
            break;
    }
    struct moment over = take_moment();
    printf("{\"event\": \"over\", ");
    say_result(&begin, &over);
}

/* --- echo ---------------------------------------------------------------------------------------
 */

static struct latencies latencies;
static size_t outstanding;

static void send_ping(struct channel *ch, uint64_t scheduled)
{
    uint8_t m[ECHO_SIZE];
    memset(m, 0x5a, sizeof m);
    m[0] = SPICE_MSGC_SPICEVMC_DATA;
    m[1] = 0;
    kb_put_u32(m + 2, ECHO_SIZE - MSG_HEADER);
    memcpy(m + MSG_HEADER, &scheduled, sizeof scheduled);
    if (give_some(&ch->peer, m, sizeof m) != sizeof m)
        die("a ping was not taken whole");
    outstanding++;
}

static void take_pongs(struct channel *ch, bool measured)
{
    ssize_t r;
    while ((r = take_some(&ch->peer, ch->part + ch->at, ECHO_SIZE - ch->at)) > 0) {
        ch->at += (size_t)r;
        if (ch->at < ECHO_SIZE)
            continue;
        ch->at = 0;
        uint64_t scheduled;
        memcpy(&scheduled, ch->part + MSG_HEADER, sizeof scheduled);
        if (ch->part[0] != SPICE_MSG_SPICEVMC_DATA || ch->part[ECHO_SIZE - 1] != 0x5a)
            die("an answer is wrong");
        bytes_in += ECHO_SIZE;
        messages_in++;
        outstanding--;
        if (measured)
            latencies_add(&latencies, (double)(now_ns() - scheduled) / 1e3);
    }
    if (r < 0)
        die("a channel was closed");
}

static void set_alarm(int timer, uint64_t ns)
{
    struct itimerspec t = {
        .it_value = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void run_echo(void)
{
    open_sessions(KB_CHANNEL_PORT);
    int epoll = poll_channels();
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &e);
    uint64_t step = (uint64_t)(1e9 / options.rate), next = now_ns() + step;
    uint64_t start = next + (uint64_t)(options.warmup * 1e9);
    uint64_t end = start + (uint64_t)(options.seconds * 1e9);
    struct moment begin = {0}, over = {0};
    size_t turn = 0;
    set_alarm(timer, next);
    while (!over.ns || outstanding) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, 5000);
        if (n == 0)
            die("%zu answers never came", outstanding);
        for (int i = 0; i < n; i++)
            if (events[i].data.ptr)
                take_pongs(events[i].data.ptr, begin.ns != 0);
        uint64_t now = now_ns();
        for (; next <= now && next < end; next += step)
            send_ping(&channels[turn++ % channel_count], next);
        if (!begin.ns && now >= start)
            begin = take_moment();
        if (!over.ns && next >= end)
            over = take_moment();
        set_alarm(timer, next);
    }
    latencies_sort(&latencies);
    printf("{\"event\": \"over\", \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, ",
           latency_at(&latencies, 0.5), latency_at(&latencies, 0.99),
           latency_at(&latencies, 0.999));
    say_result(&begin, &over);
}

/* --- hold ---------------------------------------------------------------------------------------
 */

static void carry_once(struct channel *ch)
{
    static uint8_t back[MSG_HEADER + HOLD_BODY];
    struct kb_buf out = {0};
    kb_buf_add_u16(&out, SPICE_MSGC_SPICEVMC_DATA);
    kb_buf_add_u32(&out, HOLD_BODY);
    for (uint32_t i = 0; out.len < MSG_HEADER + HOLD_BODY; i++) {
        uint8_t b = (uint8_t)(i * 7);
        kb_buf_add(&out, &b, 1);
    }
    give_all(&ch->peer, kb_buf_span(&out));
    if (!take_exactly(&ch->peer, back, sizeof back) || memcmp(back, out.data, sizeof back) != 0)
        die("an answer is wrong");
    kb_buf_finish(&out);
}

static void run_hold(void)
{
    open_sessions(KB_CHANNEL_PORT);
    for (size_t i = 0; i < channel_count; i++)
        carry_once(&channels[i]);
    printf("{\"event\": \"held\", \"channels\": %zu}\n", channel_count + options.sessions);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    /* Nobody may have been closed meanwhile. */
    for (size_t i = 0; i < channel_count; i++) {
        set_nonblocking(&channels[i].peer);
        if (take_some(&channels[i].peer, buffer, 1) != 0)
            die("a silent channel was closed");
    }
}

/* --- arguments ----------------------------------------------------------------------------------
 */

static enum mix mix_of(const char *name)
{
    for (int i = 0; i < MIX_COUNT; i++)
        if (strcmp(name, mix_names[i]) == 0)
            return (enum mix)i;
    die("no such mix: %s", name);
}

static void parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},     {"password", required_argument, NULL, 'w'},
        {"run", required_argument, NULL, 'r'},      {"sessions", required_argument, NULL, 's'},
        {"channels", required_argument, NULL, 'c'}, {"mix", required_argument, NULL, 'm'},
        {"seconds", required_argument, NULL, 't'},  {"warmup", required_argument, NULL, 'u'},
        {"rate", required_argument, NULL, 'R'},     {"pid", required_argument, NULL, 'P'},
        {"plain", no_argument, NULL, 'n'},          {0},
    };
    for (int o; (o = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (o) {
        case 'p':
            options.port = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'w':
            options.password = optarg;
            break;
        case 'r':
            options.run = optarg;
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
            options.plain = true;
            break;
        default:
            exit(2);
        }
    }
    if (!options.port || !options.password || !options.run || optind != argc) {
        fprintf(stderr, "usage: spice_load --port N --password TICKET --run bulk|echo|hold ...\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    tls = make_context(false);
    /* Many records a system call, so that the load costs little beside what it loads. */
    SSL_CTX_set_read_ahead(tls, strcmp(options.run, "bulk") == 0);
    SSL_CTX_set_default_read_buffer_len(tls, READ_SIZE);
    if (strcmp(options.run, "bulk") == 0)
        run_bulk();
    else if (strcmp(options.run, "echo") == 0)
        run_echo();
    else if (strcmp(options.run, "hold") == 0)
        run_hold();
    else
        die("no such run: %s", options.run);
    return 0;
}
