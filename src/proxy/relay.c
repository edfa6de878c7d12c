/* State RELAY: whole messages from one leg to the other, each judged before it goes on.
 *
 * Bytes are read into a block, cut into messages by the stream, and queued on the other leg; what
 * is not a whole message yet stays in the block until the rest comes. A leg is read only while the
 * other has nothing unsent, so a channel holds at most one read's worth of bytes each way. The
 * loop's thread. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "proxy/channel.h"
#include "proxy/metrics.h"
#include "proxy/session_state.h"

#include <stdlib.h>

/* Reads in one turn at most, some 0.3 ms of work; then the loop's other channels have theirs. */
#define READS_PER_TURN 2

static enum kb_direction direction(const struct kb_channel *ch, const struct kb_leg *from)
{
    return from == &ch->client ? KB_FROM_CLIENT : KB_FROM_SERVER;
}

/* What the proxy itself must know of a message, and what the policy says of it. */
static enum kb_reason judge(struct kb_channel *ch, struct kb_leg *from,
                            const struct kb_piece *piece)
{
    enum kb_direction d = direction(ch, from);
    struct kb_session *s = ch->session;
    if (ch->type == KB_CHANNEL_MAIN && d == KB_FROM_SERVER) {
        if (kb_main_is_migration(piece))
            return KB_REASON_MIGRATED;
        if (!s->linked)
            s->linked = kb_main_init_session(piece, &s->connection_id);
    }
    if (ch->type == KB_CHANNEL_INPUTS && d == KB_FROM_CLIENT && kb_inputs_is_input(piece))
        s->input_us = kb_clock_us();
    if (kb_policy_judge(s->rules, ch->type, d, piece) == KB_BLOCK) {
        kb_channel_verdict(ch, KB_RULE_GRAMMAR_UNKNOWN, KB_RULE_BLOCKED, d, NULL);
        return KB_REASON_POLICY_BLOCKED;
    }
    return KB_REASON_NONE;
}

/* Sends on all whole messages at the front of the block and keeps the rest. */
static enum kb_reason forward(struct kb_channel *ch, struct kb_leg *from, struct kb_leg *to)
{
    struct kb_block *b = from->held;
    struct kb_span rest = kb_block_span(b);
    const uint8_t *unsent = rest.data, *last = rest.data;
    uint64_t messages = from->stream.messages;
    enum kb_reason reason = KB_REASON_NONE;
    struct kb_piece piece;
    enum kb_stream_step step = KB_STREAM_MORE;
    while (rest.len &&
           (step = kb_stream_next(&from->stream, rest, &piece, &reason)) == KB_STREAM_PIECE) {
        if (piece.first) {
            if ((reason = judge(ch, from, &piece)) != KB_REASON_NONE)
                break;
            last = rest.data;
        }
        rest.data += piece.bytes.len;
        rest.len -= piece.bytes.len;
    }
    /* spice-gtk takes one message, then looks whether its socket is readable, not whether its TLS
     * layer has more: a message behind another in the last record that comes would lie there until
     * the server speaks again. So towards a client the last message has records of its own: while
     * any before it is not taken, the socket stays readable. */
    if (to == &ch->client && to->conn->ssl) {
        kb_conn_queue(to->conn, kb_span(unsent, (size_t)(last - unsent)));
        unsent = last;
    }
    kb_conn_queue(to->conn, kb_span(unsent, (size_t)(rest.data - unsent)));
    size_t sent = kb_block_span(b).len - rest.len;
    from->bytes += sent;
    enum kb_direction d = direction(ch, from);
    kb_metric_add(kb_relay_bytes(ch->type, d), (int64_t)sent);
    kb_metric_add(kb_relay_messages(ch->type, d), (int64_t)(from->stream.messages - messages));
    if (rest.len == 0) {
        kb_block_put(&ch->shard->loop->blocks, b);
        from->held = NULL;
    } else if (sent) {
        memmove(b->data, rest.data, rest.len);
        b->start = 0;
        b->end = (uint32_t)rest.len;
    }
    return reason;
}

static enum kb_reason reason_of_end(const struct kb_channel *ch, const struct kb_leg *leg,
                                    enum kb_io io)
{
    if (leg == &ch->client)
        return io == KB_IO_END ? KB_REASON_CLIENT_CLOSED : KB_REASON_CLIENT_LOST;
    return io == KB_IO_END ? KB_REASON_SERVER_CLOSED : KB_REASON_SERVER_LOST;
}

static void pump(struct kb_channel *ch, struct kb_leg *from, struct kb_leg *to)
{
    for (int i = 0; i < READS_PER_TURN && ch->state == KB_STATE_RELAY; i++) {
        if (kb_conn_backlog(to->conn)) {
            from->paused = true;
            kb_conn_want_read(from->conn, false);
            return;
        }
        if (from == &ch->server && !kb_ceiling_may_read(ch)) {
            kb_conn_want_read(from->conn, false);
            return;
        }
        if (!from->held)
            from->held = kb_block_get(&ch->shard->loop->blocks);
        struct kb_block *b = from->held;
        size_t got;
        enum kb_io io = kb_conn_read(from->conn, b->data + b->end, kb_block_room(b), &got);
        if (io == KB_IO_AGAIN) {
            if (b->start == b->end) {
                kb_block_put(&ch->shard->loop->blocks, b);
                from->held = NULL;
            }
            return;
        }
        if (io != KB_IO_OK) {
            kb_channel_close(ch, reason_of_end(ch, from, io), from->conn->detail);
            return;
        }
        b->end += (uint32_t)got;
        if (from == &ch->server)
            kb_ceiling_spend(ch, got);
        bool emptied = from->conn->emptied;
        enum kb_reason reason = forward(ch, from, to);
        if (!kb_conn_flush(to->conn))
            kb_channel_close(ch, reason_of_end(ch, to, KB_IO_ERROR), to->conn->detail);
        else if (reason == KB_REASON_MIGRATED)
            kb_session_end(ch->session, reason, NULL);
        else if (reason != KB_REASON_NONE)
            kb_channel_close(ch, reason, NULL);
        else if (emptied && !kb_conn_backlog(to->conn))
            return; /* the poll tells of more, which is cheaper than asking for it in vain */
    }
}

static struct kb_leg *leg_of(struct kb_channel *ch, const struct kb_conn *c)
{
    return ch->client.conn == c ? &ch->client : &ch->server;
}

static struct kb_leg *other_leg(struct kb_channel *ch, const struct kb_leg *leg)
{
    return leg == &ch->client ? &ch->server : &ch->client;
}

static void on_readable(struct kb_conn *c)
{
    struct kb_channel *ch = c->owner;
    struct kb_leg *from = leg_of(ch, c);
    pump(ch, from, other_leg(ch, from));
}

/* What was full is empty: the other leg may be read again. */
static void on_drained(struct kb_conn *c)
{
    struct kb_channel *ch = c->owner;
    struct kb_leg *to = leg_of(ch, c), *from = other_leg(ch, to);
    if (!from->paused)
        return;
    from->paused = false;
    kb_conn_want_read(from->conn, true);
    pump(ch, from, to);
}

void kb_channel_resume(struct kb_channel *ch)
{
    if (ch->server.paused)
        return; /* the client's leg is full: it says when it is not */
    kb_conn_want_read(ch->server.conn, true);
    pump(ch, &ch->server, &ch->client);
}

static void on_failed(struct kb_conn *c)
{
    struct kb_channel *ch = c->owner;
    kb_channel_close(ch, reason_of_end(ch, leg_of(ch, c), KB_IO_ERROR), c->detail);
}

static void ignore(struct kb_conn *c)
{
    (void)c;
}

void kb_channel_relay(struct kb_channel *ch)
{
    static const struct kb_conn_events events = {ignore, on_readable, on_drained, on_failed};
    kb_channel_enter(ch, KB_STATE_RELAY);
    ch->opened_us = kb_clock_us();
    ch->opened_at = kb_clock_wall_ms();
    kb_stream_init(&ch->client.stream, ch->type, KB_FROM_CLIENT);
    kb_stream_init(&ch->server.stream, ch->type, KB_FROM_SERVER);
    kb_count_channel_opened(ch->type);
    kb_count_linked();
    kb_channel_audit(ch, "channel.opened", KB_REASON_NONE, NULL);
    kb_conn_set_owner(ch->client.conn, &events, ch);
    kb_conn_set_owner(ch->server.conn, &events, ch);
    ch->client.conn->setup = ch->server.conn->setup = false;
    kb_conn_want_read(ch->client.conn, true);
    kb_conn_want_read(ch->server.conn, true);
    /* Bytes that TLS has decrypted already make no socket readable. */
    pump(ch, &ch->server, &ch->client);
    if (ch->state == KB_STATE_RELAY)
        pump(ch, &ch->client, &ch->server);
}
