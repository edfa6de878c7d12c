/* Display channels that download: as fast as they can (bulk), or hardly at all (slow). Every byte
 * is compared with the one that must come. Single-threaded. */
#include "load.h"

#include "spice/wire.h"

#include <spice/enums.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define READ_SIZE 262144
/* Reads of one channel at most before the others have their turn. */
#define READS_PER_TURN 16
/* The slow readers take turns; each has one of these a second. */
#define SLOW_TICKS 100

static uint8_t buffer[READ_SIZE];
static struct cycle cycle;

static void ask_for_flood(struct channel *ch)
{
    /* SpiceMsgcDisplayInit: pixmap cache id and size, GLZ dictionary id and window. */
    uint8_t body[14] = {(uint8_t)options.mix};
    struct kb_buf out = {0};
    kb_buf_add_u16(&out, SPICE_MSGC_DISPLAY_INIT);
    kb_buf_add_u32(&out, sizeof body);
    kb_buf_add(&out, body, sizeof body);
    if (!give_whole(&ch->peer, kb_buf_span(&out)))
        die("a channel was closed");
    kb_buf_finish(&out);
}

static void open_floods(void)
{
    cycle_make(&cycle, options.mix);
    open_sessions(KB_CHANNEL_DISPLAY);
    for (size_t i = 0; i < channel_count; i++)
        ask_for_flood(channels[i]);
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

/* At most n bytes. False: there are none. */
static bool download_some(struct channel *ch, size_t n)
{
    ssize_t r = take_some(&ch->peer, buffer, n);
    if (r < 0)
        die("a channel was closed");
    bytes_in += (uint64_t)r;
    ch->bytes += (uint64_t)r;
    check_flood(ch, buffer, (size_t)r);
    return r > 0;
}

static void download(struct channel *ch)
{
    ch->more = true;
    for (int i = 0; ch->more && i < READS_PER_TURN; i++)
        ch->more = download_some(ch, sizeof buffer);
}

/* How evenly the bytes since the last call are shared: Jain's index, 1 is evenly, 1/n is all to
 * one. */
static double share(void)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < channel_count; i++) {
        double b = (double)channels[i]->bytes;
        sum += b;
        squares += b * b;
        channels[i]->bytes = 0;
    }
    return squares > 0 ? sum * sum / ((double)channel_count * squares) : 0;
}

static void say_bulk(const char *event, struct moment *begin)
{
    struct moment now = take_moment();
    printf("{\"event\": \"%s\", \"share\": %.4f, ", event, share());
    say_result(begin, &now);
    *begin = now;
}

void run_bulk(void)
{
    open_floods();
    int epoll = poll_channels();
    say_ready();
    uint64_t start = now_ns() + (uint64_t)(options.warmup * 1e9);
    uint64_t end = options.seconds > 0 ? start + (uint64_t)(options.seconds * 1e9) : UINT64_MAX;
    struct moment begin = {0};
    bool more = true, over = false;
    while (!over) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, more ? 0 : 100);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                ((struct channel *)events[i].data.ptr)->more = true;
            else if (!(over = take_word() == WORD_END))
                say_bulk("part", &begin);
        }
        more = false;
        for (size_t i = 0; i < channel_count; i++) {
            if (channels[i]->more)
                download(channels[i]);
            more = more || channels[i]->more;
        }
        uint64_t now = now_ns();
        if (!begin.ns && now >= start) {
            begin = take_moment();
            share();
        }
        over = over || now >= end;
    }
    say_bulk("over", &begin);
}

/* Each channel reads options.rate bytes in one go, once a second. */
void run_slow(void)
{
    open_floods();
    struct moment begin = take_moment();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0};
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &e);
    e.data.u64 = 1;
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &e);
    say_ready();
    uint64_t next = now_ns();
    for (size_t tick = 0;; tick++) {
        for (size_t i = tick % SLOW_TICKS; i < channel_count; i += SLOW_TICKS)
            download_some(channels[i], (size_t)options.rate);
        next += 1000000000u / SLOW_TICKS;
        set_alarm(timer, next);
        if (epoll_wait(epoll, &e, 1, -1) == 1 && e.data.u64 == 0)
            break;
    }
    check_mains();
    say_bulk("over", &begin);
}
