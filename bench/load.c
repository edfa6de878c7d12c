/* See load.h. Single-threaded. */
#include "load.h"

#include "spice/wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct channel *channels;
size_t channel_count;
uint64_t bytes_in, messages_in;
static struct channel *mains;

void open_sessions(unsigned type)
{
    channels = calloc((size_t)options.sessions * (options.channels + 1), sizeof *channels);
    mains = calloc(options.sessions, sizeof *mains);
    if (!channels || !mains)
        die("memory");
    for (unsigned s = 0; s < options.sessions; s++) {
        channel_begin(&mains[s], &options.door, options.password, KB_CHANNEL_MAIN, 0, 0);
        channel_wait(&mains[s]);
        for (unsigned i = 0; i < options.channels; i++) {
            struct channel *ch = &channels[channel_count++];
            channel_begin(ch, &options.door, options.password, type, i, mains[s].session);
            channel_wait(ch);
        }
    }
}

int poll_channels(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (options.seconds == 0 && epoll_ctl(fd, EPOLL_CTL_ADD, STDIN_FILENO, &e) != 0)
        die("stdin must be a pipe: %s", strerror(errno));
    for (size_t i = 0; i < channel_count; i++) {
        e.data.ptr = &channels[i];
        if (epoll_ctl(fd, EPOLL_CTL_ADD, channels[i].peer.fd, &e) != 0)
            die("epoll_ctl: %s", strerror(errno));
    }
    return fd;
}

void check_mains(void)
{
    uint8_t byte;
    for (unsigned s = 0; s < options.sessions; s++)
        if (take_some(&mains[s].peer, &byte, 1) != 0)
            die("a main channel was closed, or said something");
}

void say_ready(void)
{
    printf("{\"event\": \"ready\", \"channels\": %zu}\n", channel_count + options.sessions);
    fflush(stdout);
}

enum word take_word(void)
{
    char bytes[64]; /* lines are asked for one at a time */
    return read(STDIN_FILENO, bytes, sizeof bytes) > 0 ? WORD_PART : WORD_END;
}

struct moment take_moment(void)
{
    return (struct moment){.ns = now_ns(),
                           .bytes = bytes_in,
                           .messages = messages_in,
                           .proxy_cpu = process_cpu(options.proxy),
                           .own_cpu = process_cpu(getpid())};
}

void say_result(const struct moment *a, const struct moment *b)
{
    printf("\"seconds\": %.6f, \"bytes\": %llu, \"messages\": %llu, \"proxy_cpu\": %.6f, "
           "\"load_cpu\": %.6f}\n",
           (double)(b->ns - a->ns) / 1e9, (unsigned long long)(b->bytes - a->bytes),
           (unsigned long long)(b->messages - a->messages), b->proxy_cpu - a->proxy_cpu,
           b->own_cpu - a->own_cpu);
    fflush(stdout);
}
