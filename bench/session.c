/* See session.h. Single-threaded. */
#include "session.h"

#include "load.h"
#include "spice/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define PATIENCE_MS 60000
/* Sessions on their way at the same time, where it is not the opening that is measured. */
#define AT_ONCE 4

struct channel *rows;
size_t width;
struct channel **channels;
size_t channel_count;

static unsigned channel_type;
static void (*on_opened)(const struct channel *ch);
static unsigned *open_in; /* channels of each session that are open */
static int epoll_fd = -1;

void sessions_prepare(unsigned type, void (*opened)(const struct channel *ch))
{
    channel_type = type;
    on_opened = opened;
    width = options.channels + 1;
    rows = calloc(options.sessions * width, sizeof *rows);
    open_in = calloc(options.sessions, sizeof *open_in);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!rows || !open_in || epoll_fd < 0)
        die("memory");
}

static void begin_channel(size_t session, size_t i, uint32_t id)
{
    struct channel *ch = &rows[session * width + i];
    unsigned type = i || channel_type == CHANNEL_BARE ? channel_type : KB_CHANNEL_MAIN;
    channel_begin(ch, &options.door, options.password, type, i ? (unsigned)i - 1 : 0, id);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = ch};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ch->peer.fd, &e) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

void session_begin(size_t session)
{
    begin_channel(session, 0, 0);
}

void session_close(size_t session)
{
    for (size_t i = 0; i < width; i++)
        channel_close(&rows[session * width + i]);
    open_in[session] = 0;
}

static void opened(struct channel *ch, session_fn *whole)
{
    size_t session = (size_t)(ch - rows) / width;
    if (on_opened)
        on_opened(ch);
    if (ch == &rows[session * width])
        for (size_t other = 1; other < width; other++)
            begin_channel(session, other, ch->session);
    if (++open_in[session] == width)
        whole(session);
}

void sessions_turn(session_fn *whole)
{
    struct epoll_event events[64];
    int n = epoll_wait(epoll_fd, events, 64, PATIENCE_MS);
    if (n == 0)
        die("channels never opened");
    for (int i = 0; i < n; i++) {
        struct channel *ch = events[i].data.ptr;
        uint8_t byte;
        if (ch->linking && channel_step(ch))
            opened(ch, whole);
        else if (!ch->linking && ch->peer.fd >= 0 && take_some(&ch->peer, &byte, 1) != 0)
            die("a channel that was open was closed, or said something");
    }
}

static size_t begun, whole_sessions;

static void begin_next(void)
{
    if (begun < options.sessions)
        session_begin(begun++);
}

static void one_is_whole(size_t session)
{
    (void)session;
    whole_sessions++;
    begin_next();
}

void open_sessions(unsigned type)
{
    sessions_prepare(type, NULL);
    for (int i = 0; i < AT_ONCE; i++)
        begin_next();
    while (whole_sessions < options.sessions)
        sessions_turn(one_is_whole);
    close(epoll_fd);
    channels = calloc(options.sessions * options.channels + 1, sizeof(struct channel *));
    if (!channels)
        die("memory");
    for (size_t i = 0; i < options.sessions * width; i++)
        if (i % width)
            channels[channel_count++] = &rows[i];
}

void check_mains(void)
{
    uint8_t byte;
    for (size_t s = 0; s < options.sessions; s++)
        if (take_some(&rows[s * width].peer, &byte, 1) != 0)
            die("a main channel was closed, or said something");
}
