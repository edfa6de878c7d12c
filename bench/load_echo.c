/* Port channels whose messages of 64 bytes come back: at a rate, on a schedule that does not wait
 * for answers, or each as soon as the one before is back. Single-threaded. */
#include "load.h"

#include "spice/wire.h"

#include <spice/enums.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#define FILLER 0x5a
/* Longer than the slowest schedule's step. */
#define PATIENCE_NS 20000000000u
/* So often somebody looks at the time, whatever comes. */
#define LOOK_NS 100000000u

static struct latencies latencies;
static size_t outstanding;
static uint64_t answered_ns;
static bool measured, stopping;

static void send_ping(struct channel *ch, uint64_t scheduled)
{
    uint8_t m[ECHO_SIZE];
    memset(m, FILLER, sizeof m);
    m[0] = SPICE_MSGC_SPICEVMC_DATA;
    m[1] = 0;
    kb_put_u32(m + 2, ECHO_SIZE - MSG_HEADER);
    memcpy(m + MSG_HEADER, &scheduled, sizeof scheduled);
    if (!give_whole(&ch->peer, kb_span(m, sizeof m)))
        die("a channel was closed");
    outstanding++;
}

static void check_pong(const struct channel *ch)
{
    bool right = kb_get_u16(ch->part) == SPICE_MSG_SPICEVMC_DATA &&
                 kb_get_u32(ch->part + 2) == ECHO_SIZE - MSG_HEADER;
    for (size_t i = MSG_HEADER + sizeof(uint64_t); i < ECHO_SIZE; i++)
        right = right && ch->part[i] == FILLER;
    if (!right)
        die("an answer is wrong");
}

static void take_pongs(struct channel *ch)
{
    ssize_t r;
    while ((r = take_some(&ch->peer, ch->part + ch->at, ECHO_SIZE - ch->at)) > 0) {
        ch->at += (size_t)r;
        if (ch->at < ECHO_SIZE)
            continue;
        ch->at = 0;
        check_pong(ch);
        uint64_t scheduled, now = now_ns();
        memcpy(&scheduled, ch->part + MSG_HEADER, sizeof scheduled);
        bytes_in += ECHO_SIZE;
        messages_in++;
        outstanding--;
        answered_ns = now;
        if (measured)
            latencies_add(&latencies, (double)(now - scheduled) / 1e3);
        if (options.rate == 0 && !stopping)
            send_ping(ch, now);
    }
    if (r < 0)
        die("a channel was closed");
}

static void say_echo(const char *event, struct moment *begin)
{
    struct moment now = take_moment();
    printf("{\"event\": \"%s\", ", event);
    latencies_say(&latencies);
    say_result(begin, &now);
    *begin = now;
    latencies.count = 0;
}

static int start_timer(int epoll)
{
    static char mark; /* whatever is neither a channel nor stdin */
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.ptr = &mark};
    if (timer < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &e) != 0)
        die("a timer");
    return timer;
}

static bool is_channel(const void *p)
{
    const struct channel *ch = p;
    return ch >= rows && ch < rows + options.sessions * width;
}

void run_echo(void)
{
    open_sessions(KB_CHANNEL_PORT);
    int epoll = poll_channels(), timer = start_timer(epoll);
    say_ready();
    answered_ns = now_ns();
    bool paced = options.rate > 0;
    uint64_t step = paced ? (uint64_t)(1e9 / options.rate) : 0, next = now_ns() + step;
    uint64_t start = next + (uint64_t)(options.warmup * 1e9);
    uint64_t end = options.seconds > 0 ? start + (uint64_t)(options.seconds * 1e9) : UINT64_MAX;
    struct moment begin = {0};
    size_t turn = 0;
    for (size_t i = 0; !paced && i < channel_count; i++)
        send_ping(channels[i], now_ns());
    while (!stopping || outstanding) {
        struct epoll_event events[64];
        uint64_t now = now_ns();
        for (; paced && !stopping && next <= now; next += step)
            send_ping(channels[turn++ % channel_count], next);
        if (!measured && now >= start) {
            begin = take_moment();
            measured = true;
        }
        if (!stopping && now >= end)
            stopping = true;
        if (outstanding && now > answered_ns + PATIENCE_NS)
            die("%zu answers never came", outstanding);
        set_alarm(timer, paced && next < now + LOOK_NS ? next : now + LOOK_NS);
        int n = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            if (is_channel(events[i].data.ptr))
                take_pongs(events[i].data.ptr);
            else if (!events[i].data.ptr && !stopping && !(stopping = take_word() == WORD_END))
                say_echo("part", &begin);
        }
    }
    check_mains();
    say_echo("over", &begin);
}
