/* Connects to many targets side by side with poll. The thread of a call; knows nothing of sources.
 */
#include "source/probe.h"

#include "base/auto.h"
#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define AT_ONCE 64
#define SLICE_MS 500 /* how soon a stop is heard */

/* A connection under way. */
struct attempt {
    struct kb_probe *probe; /* NULL: the place is free */
    struct addrinfo *list, *at;
    int fd;
    uint64_t until_us;
};

static uint16_t port_of(const struct kb_target *t)
{
    if (t->tls == KB_TLS_PLAIN || (t->tls == KB_TLS_PREFER && t->port))
        return t->port;
    return t->tls_port;
}

static void finish(struct attempt *a, bool up)
{
    a->probe->up = up;
    if (a->fd >= 0)
        close(a->fd);
    if (a->list)
        freeaddrinfo(a->list);
    *a = (struct attempt){.fd = -1};
}

/* Goes to the next address that takes the connection or lets us wait; ends the attempt when there
 * is none left. */
static void advance(struct attempt *a)
{
    for (; a->at; a->at = a->at->ai_next) {
        if (a->fd >= 0)
            close(a->fd);
        a->fd = socket(a->at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (a->fd < 0)
            continue;
        if (connect(a->fd, a->at->ai_addr, a->at->ai_addrlen) == 0) {
            finish(a, true);
            return;
        }
        if (errno == EINPROGRESS) {
            a->at = a->at->ai_next; /* the one to try if this one fails */
            return;
        }
    }
    finish(a, false);
}

/* A full backlog is a server that lives. */
static bool try_unix(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!kb_copy_str(to.sun_path, sizeof to.sun_path, path))
        return false;
    kb_auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd >= 0 &&
           (connect(fd, (struct sockaddr *)(void *)&to, sizeof to) == 0 || errno == EAGAIN);
}

static void begin(struct attempt *a, struct kb_probe *p, int64_t timeout_ms)
{
    const struct kb_target *t = p->target;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char port[8];
    p->up = false;
    if (t->transport == KB_TRANSPORT_UNIX) {
        p->up = try_unix(t->unix_socket);
        return;
    }
    snprintf(port, sizeof port, "%u", port_of(t));
    *a = (struct attempt){.fd = -1};
    if (t->transport != KB_TRANSPORT_TCP || !port_of(t) ||
        getaddrinfo(t->host, port, &hints, &a->list) != 0)
        return;
    a->probe = p;
    a->at = a->list;
    a->until_us = kb_clock_us() + (uint64_t)timeout_ms * 1000;
    advance(a);
}

static void look(struct attempt *a, const struct pollfd *found)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (found->revents) {
        getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error)
            advance(a);
        else
            finish(a, true);
    } else if (kb_clock_us() >= a->until_us) {
        finish(a, false);
    }
}

/* Waits a while for those under way; false when there is none. */
static bool turn(struct attempt *attempts)
{
    struct pollfd fds[AT_ONCE];
    struct attempt *of[AT_ONCE];
    nfds_t count = 0;
    uint64_t now = kb_clock_us(), wait_us = SLICE_MS * 1000;
    for (size_t i = 0; i < AT_ONCE; i++) {
        struct attempt *a = &attempts[i];
        if (!a->probe)
            continue;
        uint64_t left = a->until_us > now ? a->until_us - now : 0;
        wait_us = left < wait_us ? left : wait_us;
        of[count] = a;
        fds[count++] = (struct pollfd){.fd = a->fd, .events = POLLOUT};
    }
    if (!count)
        return false;
    poll(fds, count, (int)(wait_us / 1000 + 1));
    for (nfds_t i = 0; i < count; i++)
        look(of[i], &fds[i]);
    return true;
}

bool kb_probe_all(struct kb_probe *probes, size_t count, int64_t timeout_ms,
                  const atomic_bool *stop)
{
    struct attempt attempts[AT_ONCE];
    size_t next = 0;
    bool stopped = false;
    for (size_t i = 0; i < AT_ONCE; i++)
        attempts[i] = (struct attempt){.fd = -1};
    for (size_t i = 0; i < count; i++)
        probes[i].up = false;
    do {
        stopped = atomic_load(stop);
        for (size_t i = 0; i < AT_ONCE && !stopped; i++)
            while (!attempts[i].probe && next < count && !(stopped = atomic_load(stop)))
                begin(&attempts[i], &probes[next++], timeout_ms);
    } while (!stopped && (turn(attempts) || next < count));
    for (size_t i = 0; i < AT_ONCE; i++)
        if (attempts[i].probe)
            finish(&attempts[i], false);
    return !stopped;
}
