/* What all states of a channel share: creation, the clock of each state, and the one way out. The
 * loop's thread. */
#include "proxy/channel.h"

#include "base/clock.h"
#include "base/mem.h"
#include "proxy/gate.h"
#include "proxy/metrics.h"
#include "proxy/migrate.h"
#include "proxy/session_state.h"
#include "source/source.h"

#include <stdlib.h>
#include <utlist.h>

void kb_channel_name(const struct kb_channel *ch, char name[KB_CHANNEL_NAME_SIZE])
{
    name[0] = '\0';
    if (ch->type)
        snprintf(name, KB_CHANNEL_NAME_SIZE, "%s:%u", kb_channel_type_name(ch->type), ch->id);
}

void kb_channel_describe(const struct kb_channel *ch, struct kb_audit_event *e)
{
    kb_channel_name(ch, e->channel);
    kb_copy_str(e->client_address, sizeof e->client_address, ch->client_address);
    if (!ch->session)
        return;
    const struct kb_session_row *row = &ch->session->row;
    kb_copy_str(e->session_id, sizeof e->session_id, row->id);
    kb_copy_str(e->grant_id, sizeof e->grant_id, row->grant_id);
    kb_copy_str(e->actor, sizeof e->actor, row->user);
    kb_copy_str(e->source, sizeof e->source, row->source);
    kb_copy_str(e->console, sizeof e->console, row->uuid);
}

static struct kb_audit_event make_event(const struct kb_channel *ch, const char *event,
                                        enum kb_reason reason, const char *detail)
{
    struct kb_audit_event e = {0};
    kb_copy_str(e.event, sizeof e.event, event);
    kb_channel_describe(ch, &e);
    if (reason != KB_REASON_NONE) {
        kb_copy_str(e.reason, sizeof e.reason, kb_reason_name(reason));
        kb_copy_str(e.detail, sizeof e.detail, detail && *detail ? detail : kb_reason_text(reason));
    }
    if (ch->opened_us) {
        e.has_bytes = true;
        e.bytes_from_client = ch->client.bytes;
        e.bytes_from_server = ch->server.bytes;
        e.duration = (int64_t)(kb_clock_us() - ch->opened_us) / 1000;
    }
    return e;
}

void kb_channel_audit(const struct kb_channel *ch, const char *event, enum kb_reason reason,
                      const char *detail)
{
    struct kb_audit_event e = make_event(ch, event, reason, detail);
    kb_store_audit(ch->shard->proxy->store, &e);
}

/* What a channel moved stays with its session, also when the session is gone. */
static void audit_closed(const struct kb_channel *ch, enum kb_reason reason, const char *detail)
{
    struct kb_audit_event e = make_event(ch, "channel.closed", reason, detail);
    struct kb_channel_row row = {
        .type = ch->type,
        .id = ch->id,
        .opened_at = ch->opened_at,
        .closed_at = ch->opened_at + e.duration,
        .bytes_from_client = ch->client.bytes,
        .bytes_from_server = ch->server.bytes,
        .messages_from_client = ch->client.stream.messages,
        .messages_from_server = ch->server.stream.messages,
    };
    kb_copy_str(row.reason, sizeof row.reason, kb_reason_name(reason));
    kb_store_audit_channel(ch->shard->proxy->store, &e, &row);
}

static void free_setup(struct kb_channel *ch)
{
    if (!ch->setup)
        return;
    kb_approach_finish(&ch->setup->approach);
    kb_target_unref(ch->setup->approach.target);
    kb_channel_forget_answers(ch);
    kb_ticket_key_unref(ch->setup->key);
    kb_wipe(ch->setup, sizeof *ch->setup);
    free(ch->setup);
    ch->setup = NULL;
}

/* Of LINK alone. The states after it have deadlines of their own: the store's, the source's, the
 * approach's. */
static void on_link_deadline(void *arg)
{
    struct kb_channel *ch = arg;
    kb_channel_close(ch, KB_REASON_SETUP_TIMEOUT,
                     ch->setup->replied ? "no ticket" : "no link message");
}

/* One time for all that the client does before its ticket, TLS included. */
static uint64_t setup_left_ms(const struct kb_channel *ch, uint64_t setup_ms, uint64_t now_us)
{
    uint64_t gone_ms = (now_us - ch->setup->accepted_us) / 1000;
    return gone_ms < setup_ms ? setup_ms - gone_ms : 0;
}

void kb_channel_enter(struct kb_channel *ch, enum kb_channel_state state)
{
    static const enum kb_phase phase_of[] = {
        [KB_STATE_LINK] = KB_PHASE_LINK,
        [KB_STATE_AUTHORIZE] = KB_PHASE_AUTHORIZE,
        [KB_STATE_DIAL] = KB_PHASE_DIAL,
        [KB_STATE_SERVER_LINK] = KB_PHASE_DIAL,
    };
    uint64_t now = kb_clock_us();
    if (state > ch->state) {
        /* Connecting and linking to the hypervisor are one phase to whoever waits for it. */
        bool one_phase = ch->state == KB_STATE_DIAL && state == KB_STATE_SERVER_LINK;
        if (!one_phase) {
            kb_count_phase(phase_of[ch->state], now - ch->setup->step_us);
            ch->setup->step_us = now;
        }
    }
    ch->state = state;
    struct kb_proxy_options o = kb_proxy_options_now(ch->shard->proxy);
    if (state == KB_STATE_LINK)
        kb_timer_start(ch->shard->loop, &ch->deadline, setup_left_ms(ch, o.setup_ms, now), 0,
                       on_link_deadline, ch);
    else
        kb_timer_finish(&ch->deadline);
    if (state == KB_STATE_RELAY) {
        kb_count_phase(KB_PHASE_TOTAL, now - ch->setup->began_us);
        ch->link = ch->setup->client_link.link;
        free_setup(ch);
    }
}

void kb_channel_create(struct kb_shard *s, struct kb_conn *client, struct kb_span prefix,
                       bool clear, uint64_t accepted_us)
{
    struct kb_channel *ch = kb_zalloc(sizeof *ch);
    ch->shard = s;
    ch->client.conn = client;
    kb_copy_str(ch->client_address, sizeof ch->client_address, client->peer);
    ch->setup = kb_zalloc(sizeof *ch->setup);
    ch->setup->clear = clear;
    ch->setup->accepted_us = accepted_us;
    ch->setup->began_us = ch->setup->step_us = kb_clock_us();
    DL_APPEND(s->channels, ch);
    kb_channel_link(ch, prefix);
}

static void free_channel(struct kb_deferred *d)
{
    struct kb_channel *ch = (struct kb_channel *)((char *)d - offsetof(struct kb_channel, end));
    free(ch);
}

/* While the link is not finished the client can be told a code: in a full reply before our key is
 * out, as a bare result after. */
static void tell_client(struct kb_channel *ch, enum kb_reason reason)
{
    unsigned code = kb_reason_link_error(reason);
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    if (code == KB_LINK_OK)
        code = KB_LINK_ERROR; /* a setup never ends well */
    if (ch->setup->replied)
        kb_link_result(&out, code);
    else
        kb_link_refuse(&out, code);
    kb_conn_queue(ch->client.conn, kb_buf_span(&out));
    kb_count_refused(reason);
}

static void finish_leg(struct kb_channel *ch, struct kb_leg *leg)
{
    kb_block_put(&ch->shard->loop->blocks, leg->held);
    leg->held = NULL;
    kb_conn_close(leg->conn);
    leg->conn = NULL;
}

/* The store has its own word for a token that it would not redeem (grant.denied), so that one
 * failure is one event. Only main links ask it to redeem. */
static bool is_the_stores(const struct kb_channel *ch, enum kb_reason reason)
{
    return ch->state == KB_STATE_AUTHORIZE && !ch->session && reason >= KB_REASON_TOKEN_UNKNOWN &&
           reason <= KB_REASON_ADDRESS_SESSIONS && ch->type == KB_CHANNEL_MAIN &&
           ch->setup->client_link.link.connection_id == 0;
}

void kb_channel_close(struct kb_channel *ch, enum kb_reason reason, const char *detail)
{
    if (ch->state == KB_STATE_CLOSED)
        return;
    kb_loop_assert(ch->shard->loop);
    bool relayed = ch->state == KB_STATE_RELAY;
    kb_edit_destroy(ch->edit, &ch->edited);
    ch->edit = NULL;
    kb_gate_destroy(ch->gate);
    ch->gate = NULL;
    kb_content_finish(&ch->edited);
    kb_channel_sum_verdicts(ch);
    if (relayed) {
        audit_closed(ch, reason, detail);
        kb_count_channel_closed(ch->type);
    } else {
        if (!is_the_stores(ch, reason))
            kb_channel_audit(ch, "channel.refused", reason, detail);
        bool left = reason == KB_REASON_CLIENT_CLOSED || reason == KB_REASON_CLIENT_LOST;
        if (!left && ch->session &&
            (ch->state == KB_STATE_DIAL || ch->state == KB_STATE_SERVER_LINK))
            kb_count_dial_failed(ch->session->row.source, reason);
        tell_client(ch, reason);
    }
    ch->state = KB_STATE_CLOSED;
    free_setup(ch);
    kb_migrate_remove(ch);
    kb_timer_finish(&ch->deadline);
    finish_leg(ch, &ch->client);
    finish_leg(ch, &ch->server);
    DL_DELETE(ch->shard->channels, ch);
    atomic_fetch_sub(&ch->shard->proxy->connections, 1);
    if (ch->session)
        kb_session_remove(ch->session, ch, reason);
    kb_loop_defer(ch->shard->loop, &ch->end, free_channel);
}
