/* States DIAL and SERVER_LINK: the channel's way to its hypervisor (approach.c goes it); and only
 * then the client is told its result. The loop's thread. */
#include "proxy/gate.h"
#include "proxy/session_state.h"
#include "source/source.h"

static void on_connected(void *owner)
{
    kb_channel_enter(owner, KB_STATE_SERVER_LINK);
}

static void on_linked(void *owner, struct kb_conn *conn)
{
    struct kb_channel *ch = owner;
    ch->server.conn = conn;
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    kb_link_result(&out, KB_LINK_OK);
    kb_conn_queue(ch->client.conn, kb_buf_span(&out));
    if (!kb_conn_flush(ch->client.conn))
        kb_channel_close(ch, KB_REASON_CLIENT_LOST, ch->client.conn->detail);
    else
        kb_channel_relay(ch);
}

static void on_failed(void *owner, enum kb_reason reason, const char *detail)
{
    kb_channel_close(owner, reason, detail);
}

void kb_channel_connected(struct kb_channel *ch, struct kb_conn *conn)
{
    kb_approach_take(&ch->setup->approach, conn);
}

void kb_channel_dial(struct kb_channel *ch)
{
    struct kb_target *t = kb_target_ref(ch->session->target);
    ch->setup->approach = (struct kb_approach){
        .shard = ch->shard,
        .target = t,
        .link = &ch->setup->client_link.link,
        .small = kb_gate_begins_small(ch),
        .connected = on_connected,
        .done = on_linked,
        .failed = on_failed,
        .owner = ch,
    };
    kb_channel_enter(ch, KB_STATE_DIAL);
    if (t->transport == KB_TRANSPORT_SOURCE)
        kb_channel_ask_source(ch);
    else
        kb_approach_begin(&ch->setup->approach);
}
