/* Opening listening sockets and accepting from them. */
#include "net/listener.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 1024
/* Accepted in one turn at most, and fewer when the turn's time for set-up is over: a storm of
 * connections waits in the backlog while those before it shake hands. */
#define ACCEPTS_PER_TURN 16
/* How long a listener rests when it can neither accept nor refuse: until then the poll would
 * report the same connection in every turn. */
#define REST_MS 100

static int open_one(const struct addrinfo *a)
{
    kb_auto_close int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0)
        return -1;
    int opened = fd;
    fd = -1;
    return opened;
}

size_t kb_listen_tcp(const char *host, uint16_t port, int *fds, size_t most, char **error)
{
    *error = NULL;
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    /* All addresses: one socket of both families where the kernel has IPv6. */
    bool all = !host || !*host || strcmp(host, "*") == 0;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int e = getaddrinfo(all ? "::" : host, service, &hints, &list);
    size_t count = 0;
    int why = 0;
    for (struct addrinfo *a = list; e == 0 && a && count < most; a = a->ai_next) {
        int fd = open_one(a);
        if (fd < 0)
            why = errno;
        else
            fds[count++] = fd;
    }
    if (list)
        freeaddrinfo(list);
    if (count == 0 && all && host && strcmp(host, "0.0.0.0") != 0)
        return kb_listen_tcp("0.0.0.0", port, fds, most, error);
    if (count == 0)
        *error = kb_printf("cannot listen on %s port %u: %s", all ? "all addresses" : host, port,
                           e ? gai_strerror(e) : strerror(why));
    return count;
}

int kb_listen_unix(const char *path, unsigned mode, char **error)
{
    *error = NULL;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (!kb_copy_str(a.sun_path, sizeof a.sun_path, path)) {
        *error = kb_printf("%s: longer than the %zu characters of a unix socket's path", path,
                           sizeof a.sun_path - 1);
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct stat st;
    if (stat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path); /* left by a daemon that was killed */
    /* The file must never be open to others, not even between bind and chmod. */
    mode_t old = umask(0177);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
    umask(old);
    ok = ok && chmod(path, mode) == 0 && listen(fd, BACKLOG) == 0;
    if (ok)
        return fd;
    *error = kb_printf("cannot listen on %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

char *kb_listen_name(int fd, uint16_t *port)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    char text[64] = "";
    *port = 0;
    if (getsockname(fd, (struct sockaddr *)&a, &len) == 0)
        *port = kb_conn_format_address((struct sockaddr *)&a, text, sizeof text);
    return strchr(text, ':') ? kb_printf("[%s]:%u", text, *port) : kb_printf("%s:%u", text, *port);
}

static void on_poll(uv_poll_t *h, int status, int events);

static void end_rest(void *arg)
{
    struct kb_acceptor *a = arg;
    uv_poll_start(a->poll, UV_READABLE, on_poll);
}

static void rest(struct kb_acceptor *a)
{
    uv_poll_stop(a->poll);
    kb_timer_start(a->loop, &a->rest, REST_MS, 0, end_rest, a);
}

/* Without a free descriptor a connection can be neither accepted nor refused. A spare one is given
 * up for the moment that it takes to refuse it; if another thread was faster, or the kernel itself
 * has none, there is nothing to do but wait. */
static void refuse_one(struct kb_acceptor *a)
{
    if (*a->reserve >= 0)
        close(*a->reserve);
    int fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    *a->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    a->exhausted(a);
    if (fd < 0 || *a->reserve < 0)
        rest(a);
}

/* Takes one connection. False: there is none, or none that can be taken now. */
static bool accept_one(struct kb_acceptor *a)
{
    int fd = accept4(a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        a->accepted(a, fd);
        return true;
    }
    switch (errno) {
    case EMFILE:
    case ENFILE:
        refuse_one(a);
        return false;
    case ENOBUFS:
    case ENOMEM:
        a->exhausted(a);
        rest(a);
        return false;
    case EAGAIN:
    case EINVAL:
    case EBADF:
        return false;
    default: /* such as ECONNABORTED: one connection's own fate */
        return true;
    }
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    (void)status;
    (void)events;
    struct kb_acceptor *a = h->data;
    uint64_t before = kb_clock_us(), now;
    bool more = true;
    for (int i = 0; more && i < ACCEPTS_PER_TURN && !kb_loop_is_spent(a->loop); i++) {
        more = accept_one(a);
        now = kb_clock_us();
        kb_loop_worked(a->loop, KB_WORK_SETUP, now - before);
        before = now;
    }
}

struct kb_acceptor *kb_acceptor_create(struct kb_loop *l, int fd, int *reserve,
                                       void (*accepted)(struct kb_acceptor *a, int fd),
                                       void (*exhausted)(struct kb_acceptor *a), void *owner)
{
    struct kb_acceptor *a = kb_zalloc(sizeof *a);
    a->loop = l;
    /* A descriptor of its own: libuv keeps one watcher a descriptor and loop. */
    a->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    a->reserve = reserve;
    a->accepted = accepted;
    a->exhausted = exhausted;
    a->owner = owner;
    a->poll = kb_zalloc(sizeof *a->poll);
    if (a->fd < 0 || uv_poll_init(&l->uv, a->poll, a->fd) != 0)
        abort();
    a->poll->data = a;
    uv_poll_start(a->poll, UV_READABLE, on_poll);
    return a;
}

static void free_handle(uv_handle_t *h)
{
    free(h);
}

void kb_acceptor_destroy(struct kb_acceptor *a)
{
    if (!a)
        return;
    kb_timer_finish(&a->rest);
    uv_close((uv_handle_t *)a->poll, free_handle);
    close(a->fd);
    free(a);
}
