/* State LINK: the client's link message, our reply, the client's ticket. The loop's thread. */
#include "base/clock.h"
#include "proxy/channel.h"

static void reply(struct kb_channel *ch)
{
    struct kb_setup *setup = ch->setup;
    ch->type = setup->client_link.link.channel_type;
    ch->id = setup->client_link.link.channel_id;
    if (setup->clear) {
        kb_channel_close(ch, KB_REASON_PLAINTEXT, NULL);
        return;
    }
    setup->key = kb_keyring_take(&ch->shard->keys, kb_clock_us());
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    kb_link_reply(&out, ch->type, kb_ticket_key_public(setup->key));
    kb_conn_queue(ch->client.conn, kb_buf_span(&out));
    setup->replied = true;
    if (!kb_conn_flush(ch->client.conn))
        kb_channel_close(ch, KB_REASON_CLIENT_LOST, ch->client.conn->detail);
}

/* True: read on. False: the channel is closed, or it has moved to another loop; either way it must
 * not be touched any more. */
static bool feed(struct kb_channel *ch, struct kb_span bytes)
{
    switch (kb_client_link_feed(&ch->setup->client_link, bytes)) {
    case KB_LINK_MORE:
    case KB_LINK_DONE:
        return true;
    case KB_LINK_GOT:
        reply(ch);
        return ch->state == KB_STATE_LINK;
    case KB_LINK_TICKET:
        kb_conn_want_read(ch->client.conn, false);
        kb_conn_watch(ch->client.conn, true);
        kb_channel_enter(ch, KB_STATE_AUTHORIZE);
        kb_channel_authorize(ch);
        return false;
    case KB_LINK_FAILED:
        break;
    }
    kb_channel_close(ch, ch->setup->client_link.reason, NULL);
    return false;
}

static void on_readable(struct kb_conn *c)
{
    struct kb_channel *ch = c->owner;
    uint8_t bytes[KB_LINK_BODY_MAX];
    size_t got;
    do {
        size_t want = kb_client_link_want(&ch->setup->client_link);
        enum kb_io io = kb_conn_read(c, bytes, want < sizeof bytes ? want : sizeof bytes, &got);
        if (io == KB_IO_AGAIN)
            return;
        if (io != KB_IO_OK) {
            kb_channel_close(ch, io == KB_IO_END ? KB_REASON_CLIENT_CLOSED : KB_REASON_CLIENT_LOST,
                             io == KB_IO_END ? "during the link" : c->detail);
            return;
        }
    } while (feed(ch, kb_span(bytes, got)));
}

/* Also when the client leaves while the store, the source or the hypervisor has to answer. */
static void on_failed(struct kb_conn *c)
{
    bool lost = *c->detail;
    kb_channel_close(c->owner, lost ? KB_REASON_CLIENT_LOST : KB_REASON_CLIENT_CLOSED,
                     lost ? c->detail : "before the desktop had answered");
}

static void ignore(struct kb_conn *c)
{
    (void)c;
}

void kb_channel_link(struct kb_channel *ch, struct kb_span prefix)
{
    static const struct kb_conn_events events = {ignore, on_readable, ignore, on_failed};
    kb_conn_set_owner(ch->client.conn, &events, ch);
    kb_client_link_init(&ch->setup->client_link);
    kb_channel_enter(ch, KB_STATE_LINK);
    if (prefix.len && !feed(ch, prefix))
        return;
    kb_conn_want_read(ch->client.conn, true);
    /* What TLS has decrypted already makes no socket readable. */
    on_readable(ch->client.conn);
}
