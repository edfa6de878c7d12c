/* The hypervisor's side of a benchmark: a SPICE server that links every channel, sends display's
 * client an endless stream of messages once it asks for one, echoes what a port's client writes and
 * says nothing else. One RSA key is kept, so that it is never what limits a run. One thread.
 *
 *   spice_back [--tls CERTIFICATE KEY]     then one JSON line with its port
 *
 * Nothing blocks: while some channels are linked, others carry their messages. */
#include "cycle.h"
#include "peer.h"
#include "spice/link.h"
#include "spice/ticket.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <spice/enums.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define PASSWORD "bench"
/* One write of the flood at most: what a busy server hands over in one go. */
#define WRITE_MAX 65536

/* Accepted in one turn at most, so that the others' messages do not wait for a storm. */
#define ACCEPTS_PER_TURN 4

struct channel {
    struct peer peer;
    struct kb_client_link *link; /* NULL once it is linked */
    unsigned type;
    struct cycle *cycle; /* display: what is being sent; NULL until it is asked for */
    uint32_t cycle_number;
    size_t at;          /* in the cycle */
    struct kb_buf echo; /* what the socket did not take yet */
    uint8_t ask[64];    /* display: the client's request */
    size_t asked;
};

static struct cycle cycles[MIX_COUNT];
static struct kb_ticket_key *key;
static SSL_CTX *tls;
static int epoll_fd;
static uint32_t last_session;

static void watch(struct channel *ch, int op, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = ch};
    if (epoll_ctl(epoll_fd, op, ch->peer.fd, &e) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void end(struct channel *ch)
{
    peer_close(&ch->peer);
    kb_buf_finish(&ch->echo);
    free(ch->link);
    free(ch);
}

/* Whoever has gone is noticed when the next event is served. */
static void say(struct peer *p, struct kb_buf *out)
{
    (void)!give_whole(p, kb_buf_span(out));
    kb_buf_finish(out);
}

static void say_init(struct peer *p, uint32_t session)
{
    /* SpiceMsgMainInit: session, displays, mouse modes (both; client), agent, tokens, time, memory.
     */
    const uint32_t fields[] = {session, 1, 3, 2, 0, 10, 0, 0};
    struct kb_buf out = {0};
    kb_buf_add_u16(&out, SPICE_MSG_MAIN_INIT);
    kb_buf_add_u32(&out, sizeof fields);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        kb_buf_add_u32(&out, fields[i]);
    say(p, &out);
}

/* SpiceMsgPortInit: length and place of the name, opened, the name. */
static void say_port(struct peer *p)
{
    struct kb_buf out = {0};
    kb_buf_add_u16(&out, SPICE_MSG_PORT_INIT);
    kb_buf_add_u32(&out, PORT_INIT_SIZE - MSG_HEADER);
    kb_buf_add_u32(&out, sizeof PORT_NAME);
    kb_buf_add_u32(&out, 9);
    kb_buf_add(&out, "\1", 1);
    kb_buf_add(&out, PORT_NAME, sizeof PORT_NAME);
    say(p, &out);
}

static void say_reply(struct channel *ch)
{
    struct kb_buf out = {0};
    kb_link_reply(&out, ch->link->link.channel_type, kb_ticket_key_public(key));
    say(&ch->peer, &out);
}

static void become_linked(struct channel *ch)
{
    struct kb_buf out = {0};
    char password[KB_PASSWORD_MAX + 1];
    if (!kb_ticket_open(key, ch->link->ticket, password) || strcmp(password, PASSWORD) != 0)
        die("a ticket that is wrong");
    kb_link_result(&out, 0);
    say(&ch->peer, &out);
    ch->type = ch->link->link.channel_type;
    free(ch->link);
    ch->link = NULL;
    if (ch->type == KB_CHANNEL_MAIN)
        say_init(&ch->peer, ++last_session);
    else if (ch->type == KB_CHANNEL_PORT)
        say_port(&ch->peer);
}

/* As far as bytes have come. False: the peer went first, as a health check does. */
static bool carry_link(struct channel *ch)
{
    uint8_t in[KB_LINK_BODY_MAX];
    int shaken = peer_shake(&ch->peer);
    ERR_clear_error();
    if (shaken <= 0)
        return shaken == 0;
    while (ch->link) {
        ssize_t r = take_some(&ch->peer, in, kb_client_link_want(ch->link));
        if (r <= 0)
            return r == 0;
        switch (kb_client_link_feed(ch->link, kb_span(in, (size_t)r))) {
        case KB_LINK_MORE:
            break;
        case KB_LINK_GOT:
            say_reply(ch);
            break;
        case KB_LINK_TICKET:
            become_linked(ch);
            break;
        default:
            die("a link that is wrong");
        }
    }
    return true;
}

static void accept_some(int listener)
{
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED))
            return;
        if (fd < 0)
            die("accept: %s", strerror(errno));
        struct channel *ch = calloc(1, sizeof *ch);
        if (!ch || !(ch->link = calloc(1, sizeof *ch->link)))
            die("memory");
        peer_accepted(&ch->peer, fd, tls);
        kb_client_link_init(ch->link);
        watch(ch, EPOLL_CTL_ADD, EPOLLIN);
    }
}

/* Some of the flood; the poll comes back for more. */
static bool flood(struct channel *ch)
{
    const struct kb_buf *b = &ch->cycle->bytes;
    size_t n = b->len - ch->at < WRITE_MAX ? b->len - ch->at : WRITE_MAX;
    const uint8_t *from = b->data + ch->at;
    uint8_t first[WRITE_MAX];
    if (ch->at == 0) {
        memcpy(first, from, n);
        kb_put_u32(first + CYCLE_NUMBER_AT, ch->cycle_number);
        from = first;
    }
    size_t done = 0;
    ssize_t r;
    /* TLS takes one record at a time, and a cycle's number must go out in one piece. */
    do {
        r = give_some(&ch->peer, from + done, n - done);
        if (r < 0)
            return false;
        done += (size_t)r;
    } while (done < n && (r > 0 || (done && ch->at + done < CYCLE_NUMBER_AT + 4)));
    ch->at += done;
    if (ch->at == b->len) {
        ch->at = 0;
        ch->cycle_number++;
    }
    return true;
}

/* DISPLAY_INIT asks for a flood: the pixmap cache's id names the mix. */
static bool listen_display(struct channel *ch)
{
    ssize_t r = take_some(&ch->peer, ch->ask + ch->asked, sizeof ch->ask - ch->asked);
    if (r < 0)
        return false;
    ch->asked += (size_t)r;
    if (ch->cycle || ch->asked < MSG_HEADER + 1)
        return true;
    if (kb_get_u16(ch->ask) != SPICE_MSGC_DISPLAY_INIT || ch->ask[MSG_HEADER] >= MIX_COUNT)
        die("display was asked for something else");
    ch->cycle = &cycles[ch->ask[MSG_HEADER]];
    watch(ch, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    return true;
}

static bool send_echo(struct channel *ch)
{
    while (ch->echo.len) {
        ssize_t r = give_some(&ch->peer, ch->echo.data, ch->echo.len);
        if (r < 0)
            return false;
        if (r == 0)
            break;
        memmove(ch->echo.data, ch->echo.data + r, ch->echo.len - (size_t)r);
        ch->echo.len -= (size_t)r;
    }
    watch(ch, EPOLL_CTL_MOD, ch->echo.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
    return true;
}

static bool echo(struct channel *ch)
{
    uint8_t in[16384];
    ssize_t r;
    while ((r = take_some(&ch->peer, in, sizeof in)) > 0) {
        ssize_t sent = ch->echo.len ? 0 : give_some(&ch->peer, in, (size_t)r);
        if (sent < 0)
            return false;
        if (sent < r) {
            kb_buf_add(&ch->echo, in + sent, (size_t)(r - sent));
            watch(ch, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
        }
    }
    return r == 0;
}

static bool serve(struct channel *ch, uint32_t events)
{
    if (ch->link && !carry_link(ch))
        return false;
    if (ch->link)
        return true;
    if (ch->type == KB_CHANNEL_DISPLAY)
        return (!(events & ~(uint32_t)EPOLLOUT) || listen_display(ch)) &&
               (!(events & EPOLLOUT) || flood(ch));
    return (!(events & EPOLLOUT) || send_echo(ch)) && (!(events & ~(uint32_t)EPOLLOUT) || echo(ch));
}

static int open_listener(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        die("listening: %s", strerror(errno));
    printf("{\"event\": \"ready\", \"port\": %u}\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--tls") == 0) {
        tls = make_context(true);
        if (SSL_CTX_use_certificate_chain_file(tls, argv[2]) != 1 ||
            SSL_CTX_use_PrivateKey_file(tls, argv[3], SSL_FILETYPE_PEM) != 1)
            die("certificate and key");
        SSL_CTX_set_num_tickets(tls, 0);
    } else if (argc != 1) {
        fprintf(stderr, "usage: spice_back [--tls CERTIFICATE KEY]\n");
        return 2;
    }
    for (int i = 0; i < MIX_COUNT; i++)
        cycle_make(&cycles[i], (enum mix)i);
    key = kb_ticket_key_create();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = open_listener();
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (!key || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e) != 0)
        die("starting");
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll_fd, events, 64, -1);
        for (int i = 0; i < n; i++) {
            struct channel *ch = events[i].data.ptr;
            if (!ch)
                accept_some(listener);
            else if (!serve(ch, events[i].events))
                end(ch);
        }
    }
}
