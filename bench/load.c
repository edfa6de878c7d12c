/* See load.h. Single-threaded. */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

uint64_t bytes_in, messages_in;

int poll_channels(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (options.seconds == 0 && epoll_ctl(fd, EPOLL_CTL_ADD, STDIN_FILENO, &e) != 0)
        die("stdin must be a pipe: %s", strerror(errno));
    for (size_t i = 0; i < channel_count; i++) {
        e.data.ptr = channels[i];
        if (epoll_ctl(fd, EPOLL_CTL_ADD, channels[i]->peer.fd, &e) != 0)
            die("epoll_ctl: %s", strerror(errno));
    }
    return fd;
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
