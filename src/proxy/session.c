/* Live sessions: made by authorize.c, found by joining channels, ended with their main channel. The
 * loop's thread. */
#include "base/clock.h"
#include "base/mem.h"
#include "proxy/metrics.h"
#include "proxy/migrate.h"
#include "proxy/notice.h"
#include "proxy/session_state.h"
#include "proxy/switch.h"
#include "source/source.h"

#include <stdlib.h>
#include <utlist.h>

static struct kb_session **bucket(struct kb_shard *s, const struct kb_hash *token_hash)
{
    return &s->by_token[token_hash->bytes[0] % KB_TOKEN_BUCKETS];
}

struct kb_session *kb_session_create(struct kb_shard *s, const struct kb_session_row *row,
                                     const struct kb_hash *token_hash)
{
    struct kb_session *k = kb_zalloc(sizeof *k);
    k->shard = s;
    k->row = *row;
    k->token_hash = *token_hash;
    k->rules = kb_rules_create(); /* until kb_session_take_rules */
    k->max_session = row->max_session;
    k->idle_timeout = row->idle_timeout;
    k->began_us = k->input_us = kb_clock_us();
    DL_APPEND(s->sessions, k);
    DL_APPEND2(*bucket(s, token_hash), k, token_prev, token_next);
    atomic_fetch_add(&s->proxy->sessions, 1);
    kb_count_sessions(1);
    return k;
}

struct kb_session *kb_session_find(struct kb_shard *s, const struct kb_hash *token_hash,
                                   uint32_t connection_id, bool *token_known)
{
    *token_known = false;
    struct kb_session *k, *found = NULL;
    /* The first byte of a hash tells nothing that helps to find its token, so it may choose the
     * bucket; all of it is compared in constant time. */
    DL_FOREACH2(*bucket(s, token_hash), k, token_next)
    {
        if (k->ending || !kb_hash_equal(&k->token_hash, token_hash))
            continue;
        *token_known = true;
        if (k->linked && k->connection_id == connection_id)
            found = k;
    }
    return found;
}

void kb_session_add(struct kb_session *s, struct kb_channel *ch)
{
    ch->session = s;
    if (!s->main)
        s->main = ch;
    DL_APPEND2(s->channels, ch, session_prev, session_next);
    s->channel_count++;
}

static void free_end(struct kb_store_call *call)
{
    free(call);
}

static void write_end(struct kb_shard *shard, const struct kb_session_row *row,
                      enum kb_reason reason, const struct kb_session *s)
{
    struct kb_store_end_session *e = kb_zalloc(sizeof *e);
    e->call.verb = KB_STORE_END_SESSION;
    e->call.done = free_end;
    e->reason = reason;
    kb_copy_str(e->id, sizeof e->id, row->id);
    if (s) {
        kb_copy_str(e->actor, sizeof e->actor, s->ended_by);
        e->bytes_from_client = s->bytes_from_client;
        e->bytes_from_server = s->bytes_from_server;
    }
    kb_store_post(shard->proxy->store, &e->call);
}

void kb_session_disown(struct kb_shard *s, const struct kb_session_row *row, enum kb_reason reason)
{
    write_end(s, row, reason, NULL);
}

static void finish(struct kb_session *s, enum kb_reason reason)
{
    write_end(s->shard, &s->row, reason, s);
    DL_DELETE(s->shard->sessions, s);
    DL_DELETE2(*bucket(s->shard, &s->token_hash), s, token_prev, token_next);
    atomic_fetch_sub(&s->shard->proxy->sessions, 1);
    kb_count_sessions(-1);
    kb_migrate_drop(s);
    kb_target_unref(s->target);
    kb_target_unref(s->left);
    kb_rules_unref(s->rules);
    kb_ceiling_finish(&s->ceiling);
    free(s);
}

void kb_session_end(struct kb_session *s, enum kb_reason reason, const char *detail)
{
    if (s->ending)
        return;
    s->ending = true;
    kb_notice_end(s, reason, detail);
    while (s->channels)
        kb_channel_close(s->channels, reason, detail);
    finish(s, reason);
}

void kb_session_remove(struct kb_session *s, struct kb_channel *ch, enum kb_reason reason)
{
    DL_DELETE2(s->channels, ch, session_prev, session_next);
    s->channel_count--;
    s->bytes_from_client += ch->client.bytes;
    s->bytes_from_server += ch->server.bytes;
    ch->session = NULL;
    if (ch != s->main)
        return;
    s->main = NULL;
    if (s->ending || s->switching_us)
        return;
    /* The others end because main did; the session ends for main's own reason. */
    s->ending = true;
    while (s->channels)
        kb_channel_close(s->channels, KB_REASON_SESSION_ENDED, NULL);
    finish(s, reason);
}

static void tick_leg(struct kb_leg *leg)
{
    leg->rate = leg->bytes - leg->bytes_before;
    leg->bytes_before = leg->bytes;
}

/* Often enough for a histogram, rarely enough to cost nothing. */
#define RTT_EVERY 10

void kb_session_tick(struct kb_session *s, uint64_t now_us, unsigned ticks)
{
    struct kb_channel *ch;
    DL_FOREACH2(s->channels, ch, session_next)
    {
        tick_leg(&ch->client);
        tick_leg(&ch->server);
        kb_grammar_tick(&ch->grammar);
    }
    if (ticks % RTT_EVERY == 0 && s->main && s->main->state == KB_STATE_RELAY) {
        uint32_t rtt = kb_conn_rtt_us(s->main->client.conn);
        if (rtt)
            kb_count_client_rtt(rtt);
    }
    enum kb_reason over = kb_session_time_over(s, now_us);
    if (over != KB_REASON_NONE) {
        kb_session_end(s, over, NULL);
    } else if (s->switching_us) {
        kb_switch_tick(s, now_us);
    } else {
        kb_notice_tick(s, now_us);
        kb_migrate_tick(s, now_us);
    }
}
