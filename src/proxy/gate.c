/* Asks TCP how a display's client keeps up, and opens and closes the reading of its hypervisor. TCP
 * is asked only when what was sent since the last answer could have filled the link: on a fast link
 * once in many reads. The loop's thread. */
#include "proxy/gate.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/tcp.h"
#include "proxy/channel.h"
#include "proxy/pace.h"

#include <stdlib.h>

/* Smaller reads cost more than they give. */
#define READ_MIN 8192
/* The longest wait for acknowledgements, and how far waits grow for a client that gives none. */
#define WAIT_MAX_MS 50

struct kb_gate {
    struct kb_pace pace;
    struct kb_timer timer;
    uint64_t acked; /* of what the client's leg has sent, as TCP last told */
    uint32_t server_rtt_us;
    size_t window;     /* of the hypervisor's leg; 0: left to the kernel */
    uint64_t acked_us; /* when that last became more */
};

static bool ask(const struct kb_channel *ch, struct kb_pace_facts *f)
{
    const struct kb_conn *c = ch->client.conn;
    struct kb_tcp_path path;
    if (!kb_tcp_path(c->fd, &path))
        return false;
    f->now_us = kb_clock_us();
    f->acked = path.acked < c->sent ? path.acked : c->sent; /* a FIN counts as a byte too */
    f->unacked = c->sent + kb_conn_backlog(c) - f->acked;
    f->rtt_us = path.rtt_us;
    f->least_rtt_us = path.least_rtt_us;
    return true;
}

bool kb_gate_begins_small(const struct kb_channel *ch)
{
    struct kb_tcp_path path;
    return ch->type == KB_CHANNEL_DISPLAY && kb_tcp_path(ch->client.conn->fd, &path) &&
           path.least_rtt_us >= KB_PACE_NEXT_DOOR_US;
}

/* What the hypervisor's leg begins with. */
static void take_leg(struct kb_channel *ch, struct kb_gate *g)
{
    struct kb_tcp_path path;
    /* The least, which is the handshake's: the smoothed one has the making of RSA keys in it. */
    if (kb_tcp_path(ch->server.conn->fd, &path))
        g->server_rtt_us = path.least_rtt_us;
    g->window = kb_pace_window(&g->pace, g->server_rtt_us);
    kb_tcp_set_window(ch->server.conn->fd, g->window);
}

struct kb_gate *kb_gate_create(struct kb_channel *ch)
{
    struct kb_pace_facts f;
    if (!kb_gate_begins_small(ch) || !ask(ch, &f))
        return NULL;
    struct kb_gate *g = kb_zalloc(sizeof *g);
    g->acked = f.acked;
    g->acked_us = f.now_us;
    kb_pace_init(&g->pace, &f);
    take_leg(ch, g);
    return g;
}

void kb_gate_moved(struct kb_channel *ch)
{
    if (ch->gate)
        take_leg(ch, ch->gate);
}

void kb_gate_destroy(struct kb_gate *g)
{
    if (!g)
        return;
    kb_timer_finish(&g->timer);
    free(g);
}

/* The window follows the rate, in steps: each is a system call or three. */
static void follow_window(struct kb_channel *ch)
{
    struct kb_gate *g = ch->gate;
    size_t want = kb_pace_window(&g->pace, g->server_rtt_us);
    bool grow = g->window && (!want || want >= 2 * g->window);
    bool shrink = g->pace.filled && want && (!g->window || want <= g->window / 2);
    if (!grow && !shrink)
        return;
    g->window = want;
    kb_tcp_set_window(ch->server.conn->fd, want);
}

static void on_timer(void *arg)
{
    kb_channel_resume(arg);
}

/* A client that has acknowledged nothing for some time is asked about less often. */
static void wait_for_acks(struct kb_channel *ch, uint64_t wait_us, uint64_t still_us)
{
    struct kb_gate *g = ch->gate;
    if (wait_us < still_us / 4)
        wait_us = still_us / 4;
    uint64_t ms = (wait_us + 999) / 1000;
    if (ms > WAIT_MAX_MS)
        ms = WAIT_MAX_MS;
    kb_timer_start(ch->shard->loop, &g->timer, ms ? ms : 1, 0, on_timer, ch);
}

size_t kb_gate_room(struct kb_channel *ch, size_t most)
{
    struct kb_gate *g = ch->gate;
    const struct kb_conn *c = ch->client.conn;
    size_t read_min = ch->server.conn->ssl ? KB_CONN_BULK : READ_MIN;
    uint64_t unacked = c->sent + kb_conn_backlog(c) - g->acked;
    if (unacked + read_min > g->pace.limit) {
        struct kb_pace_facts f;
        if (!ask(ch, &f))
            return most; /* the socket is broken, and the next write says how */
        if (f.acked != g->acked)
            g->acked_us = f.now_us;
        g->acked = f.acked;
        unacked = f.unacked;
        kb_pace_update(&g->pace, &f);
        follow_window(ch);
        uint64_t wait_us = kb_pace_wait_us(&g->pace, unacked);
        if (wait_us) {
            wait_for_acks(ch, wait_us, f.now_us - g->acked_us);
            return 0;
        }
    }
    uint64_t room = g->pace.limit - unacked;
    if (room < read_min)
        room = read_min;
    return room < most ? (size_t)room : most;
}
