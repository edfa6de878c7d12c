/* State RELAY: whole messages from one leg to the other, each judged before it goes on.
 *
 * Bytes are read into a block, cut into messages and held to the grammar by the stream, and queued
 * on the other leg, or what the edits put in their place; what is not a whole message yet stays in
 * the block until the rest comes. A leg is read only while the other has nothing unsent, so a
 * channel holds at most one read's worth of bytes each way; a hypervisor's also only while the
 * session's bandwidth (ceiling.h) and a display's client (gate.h) allow. The loop's thread. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "proxy/channel.h"
#include "proxy/gate.h"
#include "proxy/metrics.h"
#include "proxy/migrate.h"
#include "proxy/session_state.h"
#include "proxy/switch.h"

#include <inttypes.h>
#include <stdlib.h>

/* Reads in one turn at most, some 0.3 ms of work; then the loop's other channels have theirs. */
#define READS_PER_TURN 2
/* Answers in the other side's place that a peer may leave unread. Nobody who reads comes near. */
#define ANSWERS_MAX (1u << 20)

static enum kb_direction direction(const struct kb_channel *ch, const struct kb_leg *from)
{
    return from == &ch->client ? KB_FROM_CLIENT : KB_FROM_SERVER;
}

/* What the proxy itself must know of a message. */
static void notice(struct kb_channel *ch, enum kb_direction d, const struct kb_piece *piece)
{
    struct kb_session *s = ch->session;
    if (ch->type == KB_CHANNEL_MAIN && d == KB_FROM_SERVER && !s->linked)
        s->linked = kb_main_init_session(piece, &s->connection_id);
    if (ch->type == KB_CHANNEL_INPUTS && d == KB_FROM_CLIENT && kb_inputs_is_input(piece))
        s->input_us = kb_clock_us();
}

/* "DRAW_COPY (304) of 12 bytes": a message as the audit names it. */
#define MESSAGE_TEXT_SIZE 80
static void describe(const struct kb_channel *ch, enum kb_direction d, unsigned type, uint32_t size,
                     char text[MESSAGE_TEXT_SIZE])
{
    const struct kb_grammar_row *m = kb_grammar_find(ch->type, d, type);
    snprintf(text, MESSAGE_TEXT_SIZE, "%s (%u) of %" PRIu32 " bytes", m ? m->name : "message", type,
             size);
}

static void report_breach(struct kb_channel *ch, enum kb_direction d, enum kb_reason why,
                          enum kb_rule_action action, const char *detail)
{
    enum kb_rule rule = why == KB_REASON_MESSAGE_UNKNOWN        ? KB_RULE_GRAMMAR_UNKNOWN
                        : why == KB_REASON_MESSAGE_OUT_OF_PLACE ? KB_RULE_GRAMMAR_STATE
                        : why == KB_REASON_MESSAGE_MALFORMED    ? KB_RULE_GRAMMAR_FORM
                        : why == KB_REASON_MESSAGE_FLOOD        ? KB_RULE_GRAMMAR_RATE
                                                                : KB_RULE_GRAMMAR_LENGTH;
    kb_channel_verdict(ch, rule, action, d, detail);
}

/* The whole messages at the front of a block that go on as they are: bytes that are not queued yet,
 * and where the last message of them begins. */
struct run {
    struct kb_leg *to;
    const uint8_t *unsent, *last;
};

/* spice-gtk takes one message, then looks whether its socket is readable, not whether its TLS layer
 * has more: a message behind another in the last record that comes would lie there until the server
 * speaks again. So towards a client the last message has records of its own: while any before it is
 * not taken, the socket stays readable. */
static void send_run(struct run *r, const uint8_t *end, bool to_client)
{
    if (to_client && r->to->conn->ssl && r->last > r->unsent) {
        kb_conn_queue(r->to->conn, kb_span(r->unsent, (size_t)(r->last - r->unsent)));
        r->unsent = r->last;
    }
    kb_conn_queue(r->to->conn, kb_span(r->unsent, (size_t)(end - r->unsent)));
    r->unsent = r->last = end;
}

/* What the edits want sent in a direction, as records of its own. */
static void send_edited(struct kb_channel *ch, enum kb_direction d)
{
    struct kb_buf *b = &ch->edited.to[d];
    if (!b->len)
        return;
    struct kb_leg *to = d == KB_FROM_CLIENT ? &ch->server : &ch->client;
    kb_conn_queue(to->conn, kb_buf_span(b));
    b->len = 0;
    if (b->cap > KB_STREAM_WHOLE_MAX) /* an idle channel is small */
        kb_buf_finish(b);
}

/* One piece: into the run, or what takes its place. `at` is where it begins. */
static enum kb_reason place(struct kb_channel *ch, enum kb_direction d, struct run *r,
                            const struct kb_piece *piece)
{
    const uint8_t *at = piece->bytes.data;
    if (piece->first) {
        notice(ch, d, piece);
        if (piece->breach != KB_REASON_NONE) {
            char text[MESSAGE_TEXT_SIZE];
            describe(ch, d, piece->type, piece->size, text);
            report_breach(ch, d, piece->breach, KB_RULE_OBSERVED, text);
        }
        if (ch->edited.to[d].len) { /* has waited for the message before to end */
            send_run(r, at, d == KB_FROM_SERVER);
            send_edited(ch, d);
        }
        r->last = at;
    }
    if (!piece->watched)
        return KB_REASON_NONE;
    if (kb_migration_is(ch->type, d, piece->type)) {
        send_run(r, at, d == KB_FROM_SERVER);
        enum kb_reason reason = kb_migrate_take(ch, d, piece);
        if (reason == KB_REASON_NONE)
            r->unsent = r->last = at + piece->bytes.len;
        return reason;
    }
    if (!ch->edit)
        return KB_REASON_NONE;
    switch (kb_edit_piece(ch->edit, &ch->edited, ch->session->rules, d, piece)) {
    case KB_EDIT_FORWARD:
        break;
    case KB_EDIT_TAKEN:
        send_run(r, at, d == KB_FROM_SERVER);
        send_edited(ch, d);
        r->unsent = r->last = at + piece->bytes.len;
        break;
    case KB_EDIT_END:
        return KB_REASON_POLICY_BLOCKED;
    }
    return KB_REASON_NONE;
}

/* Whether what comes next has to wait, or is nobody's any more. */
static bool is_held(const struct kb_channel *ch, enum kb_direction d)
{
    return (ch->move && d == KB_FROM_CLIENT && kb_migrate_holds_client(ch)) ||
           ch->session->switching_us;
}

/* Sends on all whole messages at the front of the block and keeps the rest. why: MESSAGE_TEXT_SIZE
 * bytes for what ended it. */
static enum kb_reason forward(struct kb_channel *ch, struct kb_leg *from, struct kb_leg *to,
                              char *why)
{
    struct kb_block *b = from->held;
    struct kb_span rest = kb_block_span(b);
    struct run run = {to, rest.data, rest.data};
    enum kb_direction d = direction(ch, from);
    uint64_t messages = from->stream.messages;
    enum kb_reason reason = KB_REASON_NONE;
    struct kb_piece piece;
    enum kb_stream_step step = KB_STREAM_MORE;
    ch->grammar.observed = ch->session->rules->grammar_observed;
    while (rest.len && !is_held(ch, d) &&
           (step = kb_stream_next(&from->stream, rest, &piece, &reason)) == KB_STREAM_PIECE) {
        if ((reason = place(ch, d, &run, &piece)) != KB_REASON_NONE)
            break;
        rest.data += piece.bytes.len;
        rest.len -= piece.bytes.len;
    }
    if (rest.len && step == KB_STREAM_BAD) {
        describe(ch, d, kb_get_u16(rest.data), kb_get_u32(rest.data + 2), why);
        report_breach(ch, d, reason, KB_RULE_BLOCKED, why);
    }
    send_run(&run, rest.data, d == KB_FROM_SERVER);
    /* Between two messages both ways may say what the edits put in. */
    if (reason == KB_REASON_NONE)
        for (int way = 0; way < KB_DIRECTIONS; way++)
            if ((way == KB_FROM_CLIENT ? &ch->client : &ch->server)->stream.left == 0)
                send_edited(ch, (enum kb_direction)way);
    size_t sent = kb_block_span(b).len - rest.len;
    from->bytes += sent;
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

void kb_channel_say(struct kb_channel *ch, enum kb_direction d, uint16_t type, struct kb_span body)
{
    kb_content_send(&ch->edited, d, type, body, kb_span(NULL, 0));
    if ((d == KB_FROM_CLIENT ? &ch->client : &ch->server)->stream.left)
        return;
    send_edited(ch, d);
    /* A broken connection shows itself to the relay. */
    (void)!kb_conn_flush((d == KB_FROM_CLIENT ? &ch->server : &ch->client)->conn);
}

static bool leaves_answers_unread(const struct kb_channel *ch, const struct kb_leg *from)
{
    const struct kb_buf *waiting = &ch->edited.to[kb_other(direction(ch, from))];
    return ch->edit && kb_conn_backlog(from->conn) + waiting->len > ANSWERS_MAX;
}

static enum kb_reason reason_of_end(const struct kb_channel *ch, const struct kb_leg *leg,
                                    enum kb_io io)
{
    if (leg == &ch->client)
        return io == KB_IO_END ? KB_REASON_CLIENT_CLOSED : KB_REASON_CLIENT_LOST;
    return io == KB_IO_END ? KB_REASON_SERVER_CLOSED : KB_REASON_SERVER_LOST;
}

/* Sends on what was read. False: the channel has ended, or its server leg is another now, and all
 * that could be read of it has been. */
static bool send_on(struct kb_channel *ch, struct kb_leg *from, struct kb_leg *to)
{
    /* What waits to be sent to `from` goes when its socket is writable, and its end is told by
     * drained(), for which the other leg may wait; only what the edits add to nothing is sent from
     * here. */
    bool idle = kb_conn_backlog(from->conn) == 0;
    char why[MESSAGE_TEXT_SIZE] = "";
    enum kb_reason reason = forward(ch, from, to, why);
    if (!kb_conn_flush(to->conn))
        kb_channel_close(ch, reason_of_end(ch, to, KB_IO_ERROR), to->conn->detail);
    else if (idle && kb_conn_backlog(from->conn) && !kb_conn_flush(from->conn))
        kb_channel_close(ch, reason_of_end(ch, from, KB_IO_ERROR), from->conn->detail);
    else if (leaves_answers_unread(ch, from))
        kb_channel_close(ch, KB_REASON_MESSAGE_FLOOD, "answers are not read");
    else if (reason == KB_REASON_MIGRATED)
        kb_session_end(ch->session, reason, NULL);
    else if (reason != KB_REASON_NONE)
        kb_channel_close(ch, reason, *why ? why : NULL);
    else
        return !kb_migrate_step(ch);
    return false;
}

/* Whether the leg is not to be read now. */
static bool must_wait(struct kb_channel *ch, struct kb_leg *from, const struct kb_leg *to)
{
    if (kb_conn_backlog(to->conn)) {
        from->paused = true;
        return true;
    }
    return from == &ch->server ? !kb_ceiling_may_read(ch) : kb_migrate_holds_client(ch);
}

static void put_held(struct kb_channel *ch, struct kb_leg *leg)
{
    kb_block_put(&ch->shard->loop->blocks, leg->held);
    leg->held = NULL;
}

static void pump(struct kb_channel *ch, struct kb_leg *from, struct kb_leg *to)
{
    for (int i = 0; i < READS_PER_TURN && ch->state == KB_STATE_RELAY; i++) {
        if (must_wait(ch, from, to)) {
            kb_conn_want_read(from->conn, false);
            return;
        }
        size_t room = from->held ? kb_block_room(from->held) : KB_BLOCK_SIZE;
        if (from == &ch->server && ch->gate && !(room = kb_gate_room(ch, room))) {
            kb_conn_want_read(from->conn, false);
            return;
        }
        if (!from->held)
            from->held = kb_block_get(&ch->shard->loop->blocks);
        struct kb_block *b = from->held;
        size_t got;
        enum kb_io io = kb_conn_read(from->conn, b->data + b->end, room, &got);
        if (io == KB_IO_AGAIN) {
            if (b->start == b->end)
                put_held(ch, from);
            return;
        }
        if (ch->session->switching_us && (io == KB_IO_OK || from == &ch->server)) {
            /* The client leaves, in its own time; what is still said concerns nobody. */
            put_held(ch, from);
            if (io == KB_IO_OK)
                continue;
            kb_conn_want_read(from->conn, false);
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
        if (!send_on(ch, from, to) || (emptied && !kb_conn_backlog(to->conn)))
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
    if (ch->session->switching_us && c == ch->server.conn)
        kb_conn_want_read(c, false);
    else
        kb_channel_close(ch, reason_of_end(ch, leg_of(ch, c), KB_IO_ERROR), c->detail);
}

static void ignore(struct kb_conn *c)
{
    (void)c;
}

static void on_rule(void *owner, enum kb_rule rule, enum kb_rule_action action, enum kb_direction d,
                    const char *detail)
{
    kb_channel_verdict(owner, rule, action, d, detail);
}

static void on_fact(void *owner, const struct kb_fact *fact)
{
    kb_channel_fact(owner, fact);
}

static const struct kb_conn_events events = {ignore, on_readable, on_drained, on_failed};

struct kb_conn *kb_channel_swap_server(struct kb_channel *ch, struct kb_conn *conn)
{
    struct kb_conn *left = ch->server.conn;
    if (ch->server.held) /* nothing may follow what it has said */
        put_held(ch, &ch->server);
    ch->server.conn = conn;
    ch->client.paused = false;
    conn->setup = false;
    kb_gate_moved(ch);
    kb_conn_set_owner(conn, &events, ch);
    return left;
}

void kb_channel_go_on(struct kb_channel *ch)
{
    if (!kb_conn_flush(ch->server.conn)) {
        kb_channel_close(ch, KB_REASON_SERVER_LOST, ch->server.conn->detail);
        return;
    }
    if (ch->client.held && !send_on(ch, &ch->client, &ch->server))
        return;
    kb_channel_resume(ch);
    if (ch->state != KB_STATE_RELAY)
        return;
    kb_conn_want_read(ch->client.conn, true);
    pump(ch, &ch->client, &ch->server);
}

void kb_channel_relay(struct kb_channel *ch)
{
    kb_channel_enter(ch, KB_STATE_RELAY);
    ch->opened_us = kb_clock_us();
    ch->opened_at = kb_clock_wall_ms();
    kb_grammar_init(&ch->grammar, ch->type, false);
    kb_stream_init(&ch->client.stream, &ch->grammar, KB_FROM_CLIENT);
    kb_stream_init(&ch->server.stream, &ch->grammar, KB_FROM_SERVER);
    ch->edit = kb_edit_create(ch->type, ch->id, &ch->session->edit);
    ch->edited.on_rule = on_rule;
    ch->edited.on_fact = on_fact;
    ch->edited.owner = ch;
    ch->gate = kb_gate_create(ch);
    kb_count_channel_opened(ch->type);
    kb_count_linked();
    kb_channel_audit(ch, "channel.opened", KB_REASON_NONE, NULL);
    if (ch == ch->session->main)
        kb_switch_done(ch->session);
    kb_migrate_add(ch);
    kb_conn_set_owner(ch->client.conn, &events, ch);
    kb_conn_set_owner(ch->server.conn, &events, ch);
    kb_conn_watch(ch->client.conn, false);
    ch->client.conn->setup = ch->server.conn->setup = false;
    kb_conn_want_read(ch->client.conn, true);
    kb_conn_want_read(ch->server.conn, true);
    /* Bytes that TLS has decrypted already make no socket readable. */
    pump(ch, &ch->server, &ch->client);
    if (ch->state == KB_STATE_RELAY)
        pump(ch, &ch->client, &ch->server);
}
