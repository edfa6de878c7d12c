/* Runs about opening: channels that are opened and kept in silence (hold), all begun at once
 * (storm), or opened and closed again and again (setup). Single-threaded. */
#include "load.h"

#include "spice/wire.h"

#include <errno.h>
#include <spice/enums.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define HOLD_BODY 16378
#define PATIENCE_MS 60000

/* --- hold ---------------------------------------------------------------------------------------
 */

static void carry_once(struct channel *ch)
{
    static uint8_t out[MSG_HEADER + HOLD_BODY], back[sizeof out];
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 7);
    kb_put_u16(out, SPICE_MSGC_SPICEVMC_DATA);
    kb_put_u32(out + 2, HOLD_BODY);
    if (!give_whole(&ch->peer, kb_span(out, sizeof out)))
        die("a channel was closed");
    take_whole(&ch->peer, back, sizeof back);
    if (memcmp(back, out, sizeof back) != 0)
        die("an answer is wrong");
}

void run_hold(void)
{
    open_sessions(KB_CHANNEL_PORT);
    for (size_t i = 0; i < channel_count; i++)
        carry_once(&channels[i]);
    say_ready();
    while (take_word() != WORD_END)
        ;
    uint8_t byte;
    for (size_t i = 0; i < channel_count; i++)
        if (take_some(&channels[i].peer, &byte, 1) != 0)
            die("a silent channel was closed");
    check_mains();
    printf("{\"event\": \"over\"}\n");
}

/* --- storm and setup ----------------------------------------------------------------------------
 */

/* Sessions side by side: main's channel is the first of each row, and the others are begun when it
 * is open. */
static struct channel *rows;
static size_t width;
static size_t *open_in; /* channels of each session that are open */
static struct latencies latencies;
static uint64_t opened_count;
static int epoll_fd;
static bool bare; /* TLS handshakes and nothing in them */

static void begin_one(size_t session, size_t i, uint32_t id)
{
    struct channel *ch = &rows[session * width + i];
    unsigned type = bare ? CHANNEL_BARE : i == 0 ? KB_CHANNEL_MAIN : KB_CHANNEL_PORT;
    channel_begin(ch, &options.door, options.password, type, i ? (unsigned)i - 1 : 0, id);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = ch};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ch->peer.fd, &e) != 0)
        die("epoll_ctl: %s", strerror(errno));
    channel_step(ch); /* the client speaks first */
}

/* True: its session is whole now. */
static bool opened(struct channel *ch)
{
    size_t session = (size_t)(ch - rows) / width, i = (size_t)(ch - rows) % width;
    latencies_add(&latencies, (double)(now_ns() - ch->began_ns) / 1e3);
    opened_count++;
    if (i == 0)
        for (size_t other = 1; other < width; other++)
            begin_one(session, other, ch->session);
    return ++open_in[session] == width;
}

static void close_session(size_t session)
{
    for (size_t i = 0; i < width; i++)
        channel_close(&rows[session * width + i]);
    open_in[session] = 0;
}

static void make_rows(void)
{
    width = options.channels + 1;
    rows = calloc(options.sessions * width, sizeof *rows);
    open_in = calloc(options.sessions, sizeof *open_in);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!rows || !open_in || epoll_fd < 0)
        die("memory");
}

/* One turn: carries on whatever can be. whole() is called for each session that becomes whole. */
static void turn(void (*whole)(size_t session))
{
    struct epoll_event events[64];
    int n = epoll_wait(epoll_fd, events, 64, PATIENCE_MS);
    if (n == 0)
        die("channels never opened");
    for (int i = 0; i < n; i++) {
        struct channel *ch = events[i].data.ptr;
        uint8_t byte;
        if (ch->linking && channel_step(ch) && opened(ch))
            whole((size_t)(ch - rows) / width);
        else if (!ch->linking && ch->peer.fd >= 0 && take_some(&ch->peer, &byte, 1) != 0)
            die("a channel that was open was closed");
    }
}

static void say_opened(const char *event, const struct moment *begin)
{
    struct moment now = take_moment();
    printf("{\"event\": \"%s\", \"opened\": %llu, ", event, (unsigned long long)opened_count);
    latencies_say(&latencies);
    say_result(begin, &now);
}

static size_t whole_sessions;
static void count_whole(size_t session)
{
    (void)session;
    whole_sessions++;
}

/* Begins all sessions when a line comes, says when all channels are open, keeps them until stdin
 * ends. */
void run_storm(void)
{
    make_rows();
    printf("{\"event\": \"prepared\"}\n");
    fflush(stdout);
    if (take_word() == WORD_END)
        return;
    struct moment begin = take_moment();
    for (size_t s = 0; s < options.sessions; s++)
        begin_one(s, 0, 0);
    while (whole_sessions < options.sessions)
        turn(count_whole);
    say_opened("opened", &begin);
    while (take_word() != WORD_END)
        ;
    printf("{\"event\": \"over\"}\n");
}

static void begin_again(size_t session)
{
    close_session(session);
    begin_one(session, 0, 0);
}

void run_setup(void)
{
    bare = options.channels == 0;
    make_rows();
    for (size_t s = 0; s < options.sessions; s++)
        begin_one(s, 0, 0);
    uint64_t start = now_ns() + (uint64_t)(options.warmup * 1e9);
    uint64_t end = start + (uint64_t)(options.seconds * 1e9);
    struct moment begin = {0};
    for (uint64_t now = 0; now < end; now = now_ns()) {
        if (!begin.ns && now >= start) {
            begin = take_moment();
            latencies.count = 0;
            opened_count = 0;
        }
        turn(begin_again);
    }
    say_opened("over", &begin);
}
