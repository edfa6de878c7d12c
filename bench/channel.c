/* See channel.h. Single-threaded. */
#include "channel.h"

#include "spice/link.h"
#include "spice/ticket.h"

#include <spice/enums.h>
#include <stdlib.h>

struct linking {
    enum { PHASE_TLS, PHASE_LINK, PHASE_INIT } phase;
    const char *password;
    struct kb_link link;
    struct kb_server_link machine;
    uint8_t init[MSG_HEADER + 64];
    size_t have;
};

static void say(struct channel *ch, const struct kb_buf *out)
{
    if (!give_whole(&ch->peer, kb_buf_span(out)))
        die("closed while linking");
}

static void say_hello(struct channel *ch)
{
    struct kb_buf out = {0};
    kb_server_link_hello(&out, &ch->linking->link);
    say(ch, &out);
    kb_buf_finish(&out);
}

static void say_ticket(struct channel *ch)
{
    struct kb_buf out = {0};
    if (!kb_ticket_seal(&out, ch->linking->machine.pubkey, ch->linking->password))
        die("the ticket");
    say(ch, &out);
    kb_buf_finish(&out);
}

/* True: linked. */
static bool carry_link(struct channel *ch)
{
    struct kb_server_link *m = &ch->linking->machine;
    uint8_t in[KB_LINK_BODY_MAX];
    for (;;) {
        ssize_t r = take_some(&ch->peer, in, kb_server_link_want(m));
        if (r == 0)
            return false;
        if (r < 0)
            die("closed while linking");
        switch (kb_server_link_feed(m, kb_span(in, (size_t)r))) {
        case KB_LINK_MORE:
            break;
        case KB_LINK_GOT:
            say_ticket(ch);
            break;
        case KB_LINK_DONE:
            return true;
        default:
            die("the link was refused: %s", kb_reason_name(m->reason));
        }
    }
}

/* True: what such a channel is told first is there. */
static bool carry_init(struct channel *ch)
{
    struct linking *l = ch->linking;
    unsigned type = l->link.channel_type;
    size_t size = type == KB_CHANNEL_MAIN   ? MAIN_INIT_SIZE
                  : type == KB_CHANNEL_PORT ? PORT_INIT_SIZE
                                            : 0;
    while (l->have < size) {
        ssize_t r = take_some(&ch->peer, l->init + l->have, size - l->have);
        if (r < 0)
            die("closed before it was told its INIT");
        if (r == 0)
            return false;
        l->have += (size_t)r;
    }
    unsigned want = type == KB_CHANNEL_MAIN ? SPICE_MSG_MAIN_INIT : SPICE_MSG_PORT_INIT;
    if (size && kb_get_u16(l->init) != want)
        die("another message came instead of INIT");
    if (type == KB_CHANNEL_MAIN)
        ch->session = kb_get_u32(l->init + MSG_HEADER);
    return true;
}

/* True: the handshake is done, if there is one, and the link begun. */
static bool carry_tls(struct channel *ch)
{
    struct linking *l = ch->linking;
    int shaken = peer_shake(&ch->peer);
    if (shaken < 0)
        die("TLS handshake");
    if (shaken == 0)
        return false;
    l->phase = l->link.channel_type == CHANNEL_BARE ? PHASE_INIT : PHASE_LINK;
    if (l->phase == PHASE_LINK)
        say_hello(ch);
    return true;
}

void channel_begin(struct channel *ch, const struct door *d, const char *password, unsigned type,
                   unsigned id, uint32_t session)
{
    struct linking *l = calloc(1, sizeof *l);
    if (!l)
        die("memory");
    *ch = (struct channel){.linking = l, .session = session, .began_ns = now_ns()};
    l->password = password;
    l->link = (struct kb_link){
        .connection_id = session, .channel_type = (uint8_t)type, .channel_id = (uint8_t)id};
    kb_server_link_init(&l->machine);
    peer_connect(&ch->peer, d);
    carry_tls(ch); /* the client speaks first; whatever is read is read in a step */
}

bool channel_step(struct channel *ch)
{
    struct linking *l = ch->linking;
    if (l->phase == PHASE_TLS && !carry_tls(ch))
        return false;
    if (l->phase == PHASE_LINK) {
        if (!carry_link(ch))
            return false;
        l->phase = PHASE_INIT;
    }
    if (!carry_init(ch))
        return false;
    free(l);
    ch->linking = NULL;
    return true;
}

void channel_wait(struct channel *ch)
{
    while (!channel_step(ch))
        peer_wait(&ch->peer);
}

void channel_close(struct channel *ch)
{
    free(ch->linking);
    peer_close(&ch->peer);
    *ch = (struct channel){.peer.fd = -1};
}
