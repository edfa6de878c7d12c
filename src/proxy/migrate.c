/* Seamless migration in the client's place, see migrate.h. What a client does there was read in
 * spice-gtk 0.42 (channel-main.c, channel-base.c, spice-session.c), what hypervisors do in
 * spice-server (reds.c, main-channel-client.c, red-channel-client.c). The loop's thread. */
#include "proxy/migrate.h"

#include "base/clock.h"
#include "base/mem.h"
#include "proxy/gate.h"
#include "proxy/reach.h"
#include "proxy/session_state.h"
#include "proxy/switch.h"
#include "spice/migration.h"

#include <spice/enums.h>
#include <stdlib.h>
#include <utlist.h>

/* The state of a channel that goes along; real ones have some kilobytes. It waits in memory for the
 * new hypervisor to take it. */
#define STATE_MAX (1u << 20)
/* From the first MIGRATE to the last channel's swap; spice-server waits as long for its client. */
#define MOVING_MAX_US 10000000u

enum phase { ASKING, LINKING, READY, MOVING };

struct question {
    struct kb_source_move ask;
    struct kb_migration *migration; /* NULL: given up meanwhile */
};

/* Of a session. */
struct kb_migration {
    struct kb_session *session;
    enum phase phase;
    struct question *question; /* ASKING */
    struct kb_migration_place place;
    struct kb_target *target;
    bool agreed; /* the new hypervisor takes the old one's state */
    uint64_t moving_us;
};

/* Of a channel: its way to the new hypervisor. */
struct kb_move {
    struct kb_channel *channel;
    struct kb_link link;
    struct kb_approach approach;
    struct kb_conn *conn; /* linked, and waits; once moved the one that was left */
    uint8_t answer[KB_MINI_HEADER_SIZE];
    size_t answer_len;       /* main: of DST_SEAMLESS_ACK */
    bool told;               /* MIGRATE has come */
    bool mark_due, data_due; /* FLUSH_MARK is to be said, MIGRATE_DATA to come */
    bool moved;
};

void kb_migrate_audit(struct kb_session *s, const char *event, enum kb_reason reason,
                      const char *detail)
{
    struct kb_audit_event e = {0};
    kb_copy_str(e.event, sizeof e.event, event);
    kb_copy_str(e.session_id, sizeof e.session_id, s->row.id);
    kb_copy_str(e.grant_id, sizeof e.grant_id, s->row.grant_id);
    kb_copy_str(e.actor, sizeof e.actor, s->row.user);
    kb_copy_str(e.source, sizeof e.source, s->row.source);
    kb_copy_str(e.console, sizeof e.console, s->row.uuid);
    if (s->main)
        kb_copy_str(e.client_address, sizeof e.client_address, s->main->client_address);
    if (reason != KB_REASON_NONE)
        kb_copy_str(e.reason, sizeof e.reason, kb_reason_name(reason));
    kb_copy_str(e.detail, sizeof e.detail, detail);
    kb_store_audit(s->shard->proxy->store, &e);
}

/* --- the end of it ---------------------------------------------------------------------------- */

static void free_move(struct kb_channel *ch)
{
    struct kb_move *v = ch->move;
    if (!v)
        return;
    ch->move = NULL;
    kb_approach_finish(&v->approach);
    kb_target_unref(v->approach.target);
    kb_conn_close(v->conn);
    free(v);
}

void kb_migrate_drop(struct kb_session *s)
{
    struct kb_migration *m = s->migration;
    if (!m)
        return;
    s->migration = NULL;
    struct kb_channel *ch;
    DL_FOREACH2(s->channels, ch, session_next)
    free_move(ch);
    if (m->question)
        m->question->migration = NULL;
    kb_target_unref(m->target);
    free(m);
}

/* The desktop may still move, but not like this: the old hypervisor will say SWITCH_HOST. */
static void give_up(struct kb_session *s, enum kb_reason reason, const char *detail)
{
    kb_auto_free char *text = kb_printf("to %s: %s", s->migration->place.host,
                                        detail && *detail ? detail : kb_reason_text(reason));
    kb_migrate_audit(s, "session.migration_failed", reason, text);
    kb_migrate_drop(s);
    kb_channel_say(s->main, KB_FROM_CLIENT, SPICE_MSGC_MAIN_MIGRATE_CONNECT_ERROR,
                   kb_span(NULL, 0));
}

static void complete(struct kb_session *s)
{
    struct kb_migration *m = s->migration;
    struct kb_target *from = s->target;
    s->target = m->target;
    m->target = NULL;
    kb_switch_tell(s, from, "seamless");
    kb_target_unref(from);
    kb_migrate_drop(s);
}

static void complete_if_all_moved(struct kb_session *s)
{
    struct kb_channel *ch;
    DL_FOREACH2(s->channels, ch, session_next)
    if (ch->move && !ch->move->moved)
        return;
    complete(s);
}

/* --- linking ---------------------------------------------------------------------------------- */

/* The connection waits, linked; what the new hypervisor says meanwhile waits in its socket. */
static void park(struct kb_conn *c);

static void on_failed(void *owner, enum kb_reason reason, const char *detail)
{
    struct kb_move *v = owner;
    struct kb_channel *ch = v->channel;
    if (ch->session->migration->phase < READY) {
        give_up(ch->session, reason, detail);
        return;
    }
    /* It opened late; without a place to go it ends when the others go. */
    char words[160] = "";
    bool told = v->told;
    if (detail)
        kb_copy_str(words, sizeof words, detail);
    free_move(ch);
    if (told)
        kb_channel_close(ch, reason, words);
    else if (ch->session->migration->phase == MOVING)
        complete_if_all_moved(ch->session);
}

static void ready_if_all_linked(struct kb_session *s)
{
    struct kb_migration *m = s->migration;
    struct kb_channel *ch;
    if (m->phase != LINKING || !m->agreed)
        return;
    DL_FOREACH2(s->channels, ch, session_next)
    if (ch->move && !ch->move->conn)
        return;
    m->phase = READY;
    kb_channel_say(s->main, KB_FROM_CLIENT, SPICE_MSGC_MAIN_MIGRATE_CONNECTED_SEAMLESS,
                   kb_span(NULL, 0));
}

static void begin_leg(struct kb_channel *ch);

/* spice-gtk and we say it before the other channels are linked; spice-server lets them in then. */
static void on_agreed(struct kb_session *s)
{
    struct kb_migration *m = s->migration;
    m->agreed = true;
    for (struct kb_channel *ch = s->channels, *next; ch && s->migration == m; ch = next) {
        next = ch->session_next;
        if (ch->state == KB_STATE_RELAY && !ch->move)
            begin_leg(ch);
    }
    if (s->migration == m)
        ready_if_all_linked(s);
}

static void on_answer_readable(struct kb_conn *c)
{
    struct kb_move *v = c->owner;
    struct kb_session *s = v->channel->session;
    while (v->answer_len < sizeof v->answer) {
        size_t got;
        enum kb_io io =
            kb_conn_read(c, v->answer + v->answer_len, sizeof v->answer - v->answer_len, &got);
        if (io == KB_IO_AGAIN)
            return;
        if (io != KB_IO_OK) {
            give_up(s, KB_REASON_SERVER_LINK_CLOSED, io == KB_IO_ERROR ? c->detail : NULL);
            return;
        }
        v->answer_len += got;
    }
    park(c);
    if (kb_get_u16(v->answer) == SPICE_MSG_MAIN_MIGRATE_DST_SEAMLESS_ACK)
        on_agreed(s);
    else
        give_up(s, KB_REASON_MIGRATION_REFUSED, "it does not take over the state of the session");
}

static void ignore(struct kb_conn *c)
{
    (void)c;
}

/* The swap will find out; nothing is known to have been lost before. */
static void park(struct kb_conn *c)
{
    static const struct kb_conn_events parked = {ignore, ignore, ignore, ignore};
    kb_conn_set_owner(c, &parked, NULL);
    kb_conn_want_read(c, false);
}

static void on_answer_failed(struct kb_conn *c)
{
    struct kb_move *v = c->owner;
    give_up(v->channel->session, KB_REASON_SERVER_LINK_CLOSED, c->detail);
}

static void ask_for_agreement(struct kb_move *v)
{
    static const struct kb_conn_events events = {ignore, on_answer_readable, ignore,
                                                 on_answer_failed};
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    kb_buf_add_u16(&out, SPICE_MSGC_MAIN_MIGRATE_DST_DO_SEAMLESS);
    kb_buf_add_u32(&out, 4);
    kb_buf_add_u32(&out, v->channel->session->migration->place.version);
    kb_conn_set_owner(v->conn, &events, v);
    kb_conn_queue(v->conn, kb_buf_span(&out));
    if (!kb_conn_flush(v->conn))
        on_answer_failed(v->conn);
}

static void on_linked(void *owner, struct kb_conn *conn)
{
    struct kb_move *v = owner;
    struct kb_channel *ch = v->channel;
    v->conn = conn;
    if (ch == ch->session->main) {
        ask_for_agreement(v);
        return;
    }
    park(conn);
    ready_if_all_linked(ch->session);
    (void)kb_migrate_step(ch); /* it may have come late */
}

/* May give the migration up. */
static void begin_leg(struct kb_channel *ch)
{
    struct kb_migration *m = ch->session->migration;
    struct kb_move *v = kb_zalloc(sizeof *v);
    v->channel = ch;
    v->link = ch->link;
    v->link.connection_id = ch->session->connection_id; /* main's names the session here too */
    v->approach = (struct kb_approach){
        .shard = ch->shard,
        .target = kb_target_ref(m->target),
        .link = &v->link,
        .small = kb_gate_begins_small(ch),
        .done = on_linked,
        .failed = on_failed,
        .owner = v,
    };
    ch->move = v;
    kb_approach_begin(&v->approach);
}

void kb_migrate_add(struct kb_channel *ch)
{
    struct kb_migration *m = ch->session->migration;
    if (m && m->agreed && m->phase != MOVING)
        begin_leg(ch);
}

/* --- where to? -------------------------------------------------------------------------------- */

static void on_answer(struct kb_source_move *ask)
{
    struct question *q = (struct question *)ask;
    struct kb_migration *m = q->migration;
    kb_target_unref(ask->from);
    if (!m) {
        kb_target_unref(ask->target);
    } else if (ask->reason != KB_REASON_NONE) {
        m->question = NULL;
        give_up(m->session, ask->reason, NULL);
    } else {
        m->question = NULL;
        m->target = ask->target;
        m->phase = LINKING;
        begin_leg(m->session->main);
    }
    free(q);
}

static void begin(struct kb_session *s, const struct kb_migration_place *place)
{
    struct kb_migration *m = kb_zalloc(sizeof *m);
    struct question *q = kb_zalloc(sizeof *q);
    m->session = s;
    m->place = *place;
    m->question = q;
    s->migration = m;
    q->migration = m;
    kb_switch_fill(&q->ask, s, place, s->target);
    q->ask.done = on_answer;
    kb_source_move(s->shard->proxy->sources, &q->ask);
}

/* --- moving ----------------------------------------------------------------------------------- */

/* The client numbers a display's messages, and others wait for one another by these numbers; the
 * server counts what it said of the migration too. So the client gets a message that says nothing
 * in its place (edit.h). */
static void stand_in(struct kb_channel *ch)
{
    static const uint8_t none[2] = {0, 0};
    if (ch->type == KB_CHANNEL_DISPLAY)
        kb_channel_say(ch, KB_FROM_SERVER, SPICE_MSG_DISPLAY_INVAL_LIST, kb_span(none, 2));
}

static enum kb_reason on_migrate(struct kb_channel *ch, const struct kb_piece *p)
{
    struct kb_session *s = ch->session;
    struct kb_migration *m = s->migration;
    if (!p->first || !p->last || p->size < 4)
        return KB_REASON_MESSAGE_MALFORMED;
    if (!m || m->phase < READY) /* nobody has said that we are ready for it */
        return KB_REASON_MESSAGE_OUT_OF_PLACE;
    struct kb_move *v = ch->move;
    if (!v)
        return KB_REASON_SERVER_NO_CHANNEL;
    if (v->told)
        return KB_REASON_MESSAGE_OUT_OF_PLACE;
    uint32_t flags = kb_get_u32(p->bytes.data + KB_MINI_HEADER_SIZE);
    v->told = true;
    v->mark_due = flags & SPICE_MIGRATE_NEED_FLUSH;
    v->data_due = flags & SPICE_MIGRATE_NEED_DATA_TRANSFER;
    if (m->phase == READY) {
        m->phase = MOVING;
        m->moving_us = kb_clock_us();
    }
    stand_in(ch);
    return KB_REASON_NONE;
}

/* Goes to the new hypervisor as it comes. */
static enum kb_reason on_data(struct kb_channel *ch, const struct kb_piece *p)
{
    struct kb_move *v = ch->move;
    if (!v || !v->told || !v->data_due)
        return KB_REASON_MESSAGE_OUT_OF_PLACE;
    if (!v->conn)
        return KB_REASON_SERVER_NO_CHANNEL;
    if (p->size > STATE_MAX)
        return KB_REASON_MESSAGE_TOO_LONG;
    struct kb_span bytes = p->bytes;
    if (p->first) {
        uint8_t header[KB_MINI_HEADER_SIZE];
        kb_put_u16(header, SPICE_MSGC_MIGRATE_DATA);
        kb_put_u32(header + 2, p->size);
        kb_conn_queue(v->conn, kb_span(header, sizeof header));
        bytes = kb_span(bytes.data + sizeof header, bytes.len - sizeof header);
    }
    kb_conn_queue(v->conn, bytes);
    if (p->last) {
        v->data_due = false;
        stand_in(ch);
    }
    return KB_REASON_NONE;
}

bool kb_migrate_holds_client(const struct kb_channel *ch)
{
    const struct kb_move *v = ch->move;
    return v && v->told && !v->moved && ch->client.stream.left == 0;
}

bool kb_migrate_step(struct kb_channel *ch)
{
    struct kb_move *v = ch->move;
    if (!v || !v->told || v->moved || ch->client.stream.left || ch->state != KB_STATE_RELAY)
        return false;
    if (v->mark_due) {
        v->mark_due = false;
        kb_channel_say(ch, KB_FROM_CLIENT, SPICE_MSGC_MIGRATE_FLUSH_MARK, kb_span(NULL, 0));
    }
    if (v->data_due || !v->conn)
        return false;
    v->moved = true;
    /* Kept until all have moved: the old hypervisor takes the end of main for the end of all. */
    v->conn = kb_channel_swap_server(ch, v->conn);
    park(v->conn);
    kb_grammar_move(&ch->grammar);
    complete_if_all_moved(ch->session);
    kb_channel_go_on(ch);
    return true;
}

/* --- what main says --------------------------------------------------------------------------- */

static enum kb_reason on_main(struct kb_channel *ch, const struct kb_piece *p)
{
    struct kb_session *s = ch->session;
    struct kb_span body =
        kb_span(p->bytes.data + KB_MINI_HEADER_SIZE, p->bytes.len - KB_MINI_HEADER_SIZE);
    struct kb_migration_place place;
    if (s->migration && s->migration->phase == MOVING)
        return KB_REASON_MESSAGE_OUT_OF_PLACE;
    switch (p->type) {
    case SPICE_MSG_MAIN_MIGRATE_BEGIN:
        kb_migrate_drop(s);
        kb_channel_say(ch, KB_FROM_CLIENT, SPICE_MSGC_MAIN_MIGRATE_CONNECT_ERROR, kb_span(NULL, 0));
        return KB_REASON_NONE;
    case SPICE_MSG_MAIN_MIGRATE_BEGIN_SEAMLESS:
        if (!kb_migration_read(p->type, body, &place))
            return KB_REASON_MESSAGE_MALFORMED;
        kb_migrate_drop(s);
        begin(s, &place);
        return KB_REASON_NONE;
    case SPICE_MSG_MAIN_MIGRATE_SWITCH_HOST:
        if (!kb_migration_read(p->type, body, &place))
            return KB_REASON_MESSAGE_MALFORMED;
        return kb_switch_begin(s, &place);
    case SPICE_MSG_MAIN_MIGRATE_CANCEL:
        kb_migrate_drop(s);
        return KB_REASON_NONE;
    default: /* MIGRATE_END: of a way to migrate that we never take */
        return KB_REASON_NONE;
    }
}

enum kb_reason kb_migrate_take(struct kb_channel *ch, enum kb_direction d, const struct kb_piece *p)
{
    if (d == KB_FROM_CLIENT) /* it is never told of a migration, so it has nothing to answer */
        return KB_REASON_MESSAGE_OUT_OF_PLACE;
    if (p->type == SPICE_MSG_MIGRATE)
        return on_migrate(ch, p);
    if (p->type == SPICE_MSG_MIGRATE_DATA)
        return on_data(ch, p);
    return p->first && p->last ? on_main(ch, p) : KB_REASON_MESSAGE_MALFORMED;
}

void kb_migrate_remove(struct kb_channel *ch)
{
    struct kb_session *s = ch->session;
    free_move(ch);
    if (!s || !s->migration)
        return;
    if (s->ending || ch == s->main)
        kb_migrate_drop(s);
    else if (s->migration->phase == MOVING)
        complete_if_all_moved(s);
    else
        ready_if_all_linked(s);
}

void kb_migrate_tick(struct kb_session *s, uint64_t now_us)
{
    struct kb_migration *m = s->migration;
    if (!m || m->phase != MOVING || now_us - m->moving_us < MOVING_MAX_US)
        return;
    if (!s->main->move->moved) {
        kb_session_end(s, KB_REASON_MIGRATED, "the old hypervisor did not let go of it in time");
        return;
    }
    for (struct kb_channel *ch = s->channels, *next; ch && s->migration; ch = next) {
        next = ch->session_next;
        if (ch->move && !ch->move->moved)
            kb_channel_close(ch, KB_REASON_SERVER_NO_CHANNEL,
                             "the old hypervisor did not let go of it in time");
    }
}
