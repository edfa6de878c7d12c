/* Runs about opening: channels that are opened and kept in silence (hold), all begun at once
 * (storm), or opened and closed again and again (setup). Single-threaded. */
#include "load.h"

#include "spice/wire.h"

#include <spice/enums.h>
#include <stdio.h>

#define HOLD_BODY 16378

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
        carry_once(channels[i]);
    say_ready();
    while (take_word() != WORD_END)
        ;
    uint8_t byte;
    for (size_t i = 0; i < channel_count; i++)
        if (take_some(&channels[i]->peer, &byte, 1) != 0)
            die("a silent channel was closed");
    check_mains();
    printf("{\"event\": \"over\"}\n");
}

/* --- storm and setup ----------------------------------------------------------------------------
 */

static struct latencies latencies;
static uint64_t opened_count;

static void count_opened(const struct channel *ch)
{
    latencies_add(&latencies, (double)(now_ns() - ch->began_ns) / 1e3);
    opened_count++;
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
    sessions_prepare(KB_CHANNEL_PORT, count_opened);
    printf("{\"event\": \"prepared\"}\n");
    fflush(stdout);
    if (take_word() == WORD_END)
        return;
    struct moment begin = take_moment();
    for (size_t s = 0; s < options.sessions; s++)
        session_begin(s);
    while (whole_sessions < options.sessions)
        sessions_turn(count_whole);
    say_opened("opened", &begin);
    while (take_word() != WORD_END)
        ;
    printf("{\"event\": \"over\"}\n");
}

static void begin_again(size_t session)
{
    session_close(session);
    session_begin(session);
}

void run_setup(void)
{
    sessions_prepare(options.channels ? KB_CHANNEL_PORT : CHANNEL_BARE, count_opened);
    for (size_t s = 0; s < options.sessions; s++)
        session_begin(s);
    uint64_t start = now_ns() + (uint64_t)(options.warmup * 1e9);
    uint64_t end = start + (uint64_t)(options.seconds * 1e9);
    struct moment begin = {0};
    for (uint64_t now = 0; now < end; now = now_ns()) {
        if (!begin.ns && now >= start) {
            begin = take_moment();
            latencies.count = 0;
            opened_count = 0;
        }
        sessions_turn(begin_again);
    }
    say_opened("over", &begin);
}
