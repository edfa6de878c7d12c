/* State AUTHORIZE: the ticket's token decides which session the channel belongs to.
 *
 * All channels of a token live on one loop, named by the token's hash, so a session needs no lock.
 * The channel moves there first; the client waits for our answer, so its connection is quiet.
 * There, a main link asks the store to redeem the grant and becomes a session; any other joins a
 * live one. Questions to the store and the source travel as messages that know their channel; a
 * channel that ends meanwhile takes its name off them, and the late answer is dropped (or undone).
 * The loop's thread. */
#include "base/mem.h"
#include "proxy/channel.h"
#include "proxy/metrics.h"
#include "proxy/session_state.h"
#include "proxy/switch.h"
#include "source/source.h"
#include "store/store.h"

#include <stdlib.h>
#include <utlist.h>

/* A question under way. */
struct kb_pending {
    union {
        struct kb_store_redeem_grant redeem;
        struct kb_store_explain_token explain;
        struct kb_source_open open;
        struct kb_source_move move;
    } ask;
    struct kb_channel *channel; /* NULL: it ended meanwhile */
    struct kb_shard *shard;
};

static struct kb_pending *ask(struct kb_channel *ch)
{
    struct kb_pending *q = kb_zalloc(sizeof *q);
    q->channel = ch;
    q->shard = ch->shard;
    ch->setup->pending = q;
    return q;
}

static struct kb_channel *answered(struct kb_pending *q)
{
    struct kb_channel *ch = q->channel;
    if (ch)
        ch->setup->pending = NULL;
    return ch;
}

void kb_channel_forget_answers(struct kb_channel *ch)
{
    if (ch->setup->pending)
        ch->setup->pending->channel = NULL;
    ch->setup->pending = NULL;
}

/* --- how to reach the console ----------------------------------------------------------------- */

static void on_vouched(struct kb_source_move *m)
{
    struct kb_pending *q = (struct kb_pending *)m;
    struct kb_channel *ch = answered(q);
    kb_target_unref(m->from);
    if (!ch) {
        kb_target_unref(m->target);
    } else if (m->reason != KB_REASON_NONE) {
        kb_channel_close(ch, m->reason, m->host);
    } else {
        ch->session->target = m->target;
        kb_channel_dial(ch);
    }
    free(q);
}

/* The source has it where it was before it moved: it went where its hypervisor said, if that may
 * be. Takes the target over. */
static void find_moved(struct kb_channel *ch, struct kb_target *target)
{
    struct kb_source_move *m = &ask(ch)->ask.move;
    kb_switch_fill(m, ch->session, &ch->session->place, target);
    kb_target_unref(target);
    m->done = on_vouched;
    kb_source_move(ch->shard->proxy->sources, m);
}

static void on_opened(struct kb_source_open *o)
{
    struct kb_pending *q = (struct kb_pending *)o;
    struct kb_channel *ch = answered(q);
    if (!ch) {
        kb_target_unref(o->target);
    } else if (o->reason != KB_REASON_NONE) {
        kb_channel_close(ch, o->reason, *o->detail ? o->detail : NULL);
    } else if (kb_switch_is_left(ch->session, o->target)) {
        find_moved(ch, o->target);
    } else {
        ch->session->target = o->target;
        kb_channel_dial(ch);
    }
    free(q);
}

static void find_target(struct kb_channel *ch)
{
    if (ch->session->target) {
        kb_channel_dial(ch);
        return;
    }
    struct kb_source_open *o = &ask(ch)->ask.open;
    kb_copy_str(o->source, sizeof o->source, ch->session->row.source);
    kb_copy_str(o->uuid, sizeof o->uuid, ch->session->row.uuid);
    kb_copy_str(o->user, sizeof o->user, ch->session->row.user);
    o->reply_to = &ch->shard->loop->box;
    o->done = on_opened;
    kb_source_open(ch->shard->proxy->sources, o);
}

static void on_connected(struct kb_source_open *o)
{
    struct kb_pending *q = (struct kb_pending *)o;
    struct kb_channel *ch = answered(q);
    if (!ch && o->fd >= 0)
        close(o->fd);
    else if (ch && o->reason != KB_REASON_NONE)
        kb_channel_close(ch, o->reason, *o->detail ? o->detail : NULL);
    else if (ch)
        kb_channel_connected(ch, kb_conn_create(ch->shard->loop, o->fd, NULL, NULL));
    free(q);
}

void kb_channel_ask_source(struct kb_channel *ch)
{
    struct kb_source_open *o = &ask(ch)->ask.open;
    kb_copy_str(o->source, sizeof o->source, ch->session->row.source);
    kb_copy_str(o->uuid, sizeof o->uuid, ch->session->row.uuid);
    kb_copy_str(o->user, sizeof o->user, ch->session->row.user);
    o->reply_to = &ch->shard->loop->box;
    o->done = on_connected;
    kb_source_connect(ch->shard->proxy->sources, o);
}

/* --- which session ---------------------------------------------------------------------------- */

static void join(struct kb_channel *ch, struct kb_session *session)
{
    kb_session_add(session, ch);
    const struct kb_rules *rules = session->rules;
    enum kb_rule rule = kb_edit_channel_rule(&rules->enforced, ch->type, ch->id);
    if (rule != KB_RULE_NONE) {
        kb_count_verdict(ch->type, KB_FROM_CLIENT, kb_rule_name(rule),
                         kb_rule_action_name(KB_RULE_BLOCKED));
        kb_channel_close(ch, KB_REASON_CHANNEL_FORBIDDEN, NULL);
        return;
    }
    rule = kb_edit_channel_rule(&rules->all, ch->type, ch->id);
    if (rule != KB_RULE_NONE)
        kb_channel_verdict(ch, rule, KB_RULE_OBSERVED, KB_FROM_CLIENT, NULL);
    find_target(ch);
}

/* A further channel. */
static void join_if_room(struct kb_channel *ch, struct kb_session *session)
{
    if (session->channel_count < kb_proxy_options_now(ch->shard->proxy).max_session_channels) {
        join(ch, session);
        return;
    }
    kb_session_add(session, ch); /* so that the audit knows whose it was */
    kb_channel_close(ch, KB_REASON_SESSION_CHANNELS, "limits.session_channels is reached");
}

/* The session's first channel: are there rules for it, and do they allow it now? */
static void begin(struct kb_channel *ch, struct kb_session *session)
{
    char unknown[KB_POLICY_NAME_SIZE];
    enum kb_reason over = KB_REASON_NONE;
    if (!kb_session_take_rules(session, unknown))
        over = KB_REASON_POLICY_UNKNOWN;
    else
        over = kb_session_time_over(session, session->began_us);
    if (over == KB_REASON_NONE) {
        join(ch, session);
        return;
    }
    kb_session_add(session, ch);
    kb_channel_close(ch, over, over == KB_REASON_POLICY_UNKNOWN ? unknown : NULL);
}

/* The grant was redeemed long ago: it is the same session, at another hypervisor. */
static void come_back(struct kb_channel *ch, struct kb_session *session)
{
    kb_switch_arrive(session, ch);
    find_target(ch);
}

static void on_redeemed(struct kb_store_call *call)
{
    struct kb_store_redeem_grant *r = (struct kb_store_redeem_grant *)call;
    struct kb_pending *q = (struct kb_pending *)call;
    struct kb_shard *shard = q->shard;
    struct kb_channel *ch = answered(q);
    if (call->status == KB_STORE_OK && ch)
        begin(ch, kb_session_create(shard, &r->session, &r->token_hash));
    else if (call->status == KB_STORE_OK)
        kb_session_disown(shard, &r->session, KB_REASON_CLIENT_CLOSED);
    else if (ch)
        kb_channel_close(ch, call->status == KB_STORE_DENIED ? r->reason : KB_REASON_STORE_FAILED,
                         NULL);
    free(q);
}

static void redeem(struct kb_channel *ch)
{
    struct kb_store_redeem_grant *r = &ask(ch)->ask.redeem;
    r->call.verb = KB_STORE_REDEEM_GRANT;
    r->call.reply_to = &ch->shard->loop->box;
    r->call.done = on_redeemed;
    r->token_hash = ch->setup->token_hash;
    kb_copy_str(r->client_address, sizeof r->client_address, ch->client_address);
    struct kb_proxy_options o = kb_proxy_options_now(ch->shard->proxy);
    r->user_sessions = o.max_user_sessions;
    r->address_sessions = o.max_address_sessions;
    kb_store_post(ch->shard->proxy->store, &r->call);
}

static void on_explained(struct kb_store_call *call)
{
    struct kb_store_explain_token *x = (struct kb_store_explain_token *)call;
    struct kb_pending *q = (struct kb_pending *)call;
    struct kb_channel *ch = answered(q);
    if (ch)
        kb_channel_close(ch, call->status == KB_STORE_FAILED ? KB_REASON_STORE_FAILED : x->reason,
                         NULL);
    free(q);
}

/* A further channel without a session: the token says why. */
static void explain(struct kb_channel *ch)
{
    struct kb_store_explain_token *x = &ask(ch)->ask.explain;
    x->call.verb = KB_STORE_EXPLAIN_TOKEN;
    x->call.reply_to = &ch->shard->loop->box;
    x->call.done = on_explained;
    x->token_hash = ch->setup->token_hash;
    kb_store_post(ch->shard->proxy->store, &x->call);
}

/* On the loop of the token. */
static void decide(struct kb_channel *ch)
{
    const struct kb_link *link = &ch->setup->client_link.link;
    bool is_main = link->channel_type == KB_CHANNEL_MAIN;
    if (link->connection_id == 0 && is_main) {
        struct kb_session *back =
            kb_switch_find(ch->shard, &ch->setup->token_hash, ch->client_address);
        if (back)
            come_back(ch, back);
        else
            redeem(ch);
        return;
    }
    /* Main with an id would be the target of a migration, of which no client is ever told; another
     * channel with 0 names no session. */
    bool token_known;
    struct kb_session *s =
        kb_session_find(ch->shard, &ch->setup->token_hash, link->connection_id, &token_known);
    if (s && !is_main && link->connection_id != 0)
        join_if_room(ch, s);
    else if (token_known)
        kb_channel_close(ch, KB_REASON_CONNECTION_ID, NULL);
    else
        explain(ch);
}

/* --- the move --------------------------------------------------------------------------------- */

struct move {
    struct kb_message message;
    struct kb_channel *channel;
};

static void arrive(struct kb_message *m)
{
    struct kb_channel *ch = ((struct move *)m)->channel;
    free(m);
    kb_conn_attach(ch->client.conn, ch->shard->loop);
    DL_APPEND(ch->shard->channels, ch);
    if (ch->shard->stopped)
        kb_channel_close(ch, KB_REASON_DRAINED, NULL);
    else
        decide(ch);
}

static void move_to(struct kb_channel *ch, struct kb_shard *home)
{
    kb_conn_detach(ch->client.conn);
    DL_DELETE(ch->shard->channels, ch);
    ch->shard = home;
    struct move *m = kb_zalloc(sizeof *m);
    m->message.run = arrive;
    m->channel = ch;
    kb_loop_post(home->loop, &m->message);
}

void kb_channel_authorize(struct kb_channel *ch)
{
    struct kb_setup *setup = ch->setup;
    char token[KB_PASSWORD_MAX + 1];
    bool ok = kb_ticket_open(setup->key, setup->client_link.ticket, token);
    kb_ticket_key_unref(setup->key);
    setup->key = NULL;
    if (!ok) {
        kb_channel_close(ch, KB_REASON_TICKET_MALFORMED, NULL);
        return;
    }
    setup->token_hash = kb_hash_of(token, strlen(token));
    kb_wipe(token, sizeof token);
    struct kb_proxy *p = ch->shard->proxy;
    struct kb_shard *home = &p->shards[kb_get_u32(setup->token_hash.bytes) % p->shard_count];
    if (home == ch->shard)
        decide(ch);
    else
        move_to(ch, home);
}
