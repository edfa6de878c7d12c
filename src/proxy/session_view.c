/* session.h: copies of live sessions for pages, and their end by an operator. Called on HTTP
 * threads; the copying and ending runs on each shard's own thread. */
#include "base/mem.h"
#include "proxy/session_state.h"
#include "source/source.h"

#include <stdlib.h>
#include <utlist.h>

struct list {
    const char *id;
    pthread_mutex_t lock; /* the shards append one after the other */
    struct kb_session_view *views;
    size_t count;
};

static struct kb_channel_view view_channel(const struct kb_channel *ch)
{
    return (struct kb_channel_view){
        .type = ch->type,
        .id = ch->id,
        .opened_at = ch->opened_at,
        .bytes_from_client = ch->client.bytes,
        .bytes_from_server = ch->server.bytes,
        .messages_from_client = ch->client.stream.messages,
        .messages_from_server = ch->server.stream.messages,
        .rate_from_client = ch->client.rate,
        .rate_from_server = ch->server.rate,
        .client_rtt_us = kb_conn_rtt_us(ch->client.conn),
    };
}

static void format_hypervisor(const struct kb_target *t, char *text, size_t size)
{
    if (!t)
        kb_copy_str(text, size, "");
    else
        kb_copy_str(text, size, t->unix_socket ? t->unix_socket : t->host ? t->host : "");
}

static void view_session(const struct kb_session *s, struct kb_session_view *v)
{
    *v = (struct kb_session_view){0};
    kb_copy_str(v->id, sizeof v->id, s->row.id);
    kb_copy_str(v->grant_id, sizeof v->grant_id, s->row.grant_id);
    kb_copy_str(v->source, sizeof v->source, s->row.source);
    kb_copy_str(v->uuid, sizeof v->uuid, s->row.uuid);
    kb_copy_str(v->console_name, sizeof v->console_name, s->row.console_name);
    kb_copy_str(v->user, sizeof v->user, s->row.user);
    kb_copy_str(v->owner, sizeof v->owner, s->row.owner);
    kb_copy_str(v->policy, sizeof v->policy, s->rules->names ? s->rules->names : s->row.policy);
    kb_copy_str(v->client_address, sizeof v->client_address,
                s->main ? s->main->client_address : "");
    format_hypervisor(s->target, v->hypervisor, sizeof v->hypervisor);
    v->started_at = s->row.started_at;
    v->bytes_from_client = s->bytes_from_client;
    v->bytes_from_server = s->bytes_from_server;
    size_t count = 0;
    const struct kb_channel *ch;
    DL_COUNT2(s->channels, ch, count, session_next);
    v->channels = kb_calloc(count, sizeof *v->channels);
    DL_FOREACH2(s->channels, ch, session_next)
    {
        if (ch->state != KB_STATE_RELAY)
            continue;
        v->channels[v->channel_count++] = view_channel(ch);
        v->bytes_from_client += ch->client.bytes;
        v->bytes_from_server += ch->server.bytes;
    }
}

static void list_here(struct kb_shard *shard, void *arg)
{
    struct list *l = arg;
    size_t count = 0;
    struct kb_session *s;
    DL_COUNT(shard->sessions, s, count);
    pthread_mutex_lock(&l->lock);
    l->views = kb_realloc(l->views, (l->count + count) * sizeof *l->views);
    DL_FOREACH (shard->sessions, s)
        if (!l->id || strcmp(l->id, s->row.id) == 0)
            view_session(s, &l->views[l->count++]);
    pthread_mutex_unlock(&l->lock);
}

size_t kb_proxy_list_sessions(struct kb_proxy *p, const char *id, struct kb_session_view **views)
{
    struct list l = {.id = id};
    pthread_mutex_init(&l.lock, NULL);
    kb_proxy_visit(p, list_here, &l);
    pthread_mutex_destroy(&l.lock);
    *views = l.views;
    return l.count;
}

void kb_session_views_free(struct kb_session_view *views, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(views[i].channels);
    free(views);
}

struct terminate {
    const struct kb_session_match *match;
    const struct kb_session_order *order;
    atomic_uint ended;
};

static bool equal_or_any(const char *wanted, const char *is)
{
    return !wanted || strcmp(wanted, is) == 0;
}

static bool matches(const struct kb_session_match *m, const struct kb_session_row *row)
{
    return equal_or_any(m->id, row->id) && equal_or_any(m->source, row->source) &&
           equal_or_any(m->uuid, row->uuid) && equal_or_any(m->user, row->user) &&
           equal_or_any(m->grant_id, row->grant_id);
}

static bool is_wanted(const struct kb_session_match *m, const struct kb_session_row *row)
{
    const struct kb_session_place place = {row->source, row->uuid, row->console_name,
                                           *row->owner ? row->owner : NULL};
    return matches(m, row) && (!m->wants || m->wants(m->who, &place));
}

static void audit_terminated(struct kb_session *s, const struct terminate *t)
{
    struct kb_audit_event e = {0};
    kb_copy_str(e.event, sizeof e.event, "session.terminated");
    kb_copy_str(e.session_id, sizeof e.session_id, s->row.id);
    kb_copy_str(e.grant_id, sizeof e.grant_id, s->row.grant_id);
    kb_copy_str(e.actor, sizeof e.actor, t->order->actor);
    kb_copy_str(e.request_id, sizeof e.request_id, t->order->request_id);
    kb_copy_str(e.source, sizeof e.source, s->row.source);
    kb_copy_str(e.console, sizeof e.console, s->row.uuid);
    kb_copy_str(e.reason, sizeof e.reason, kb_reason_name(KB_REASON_TERMINATED));
    kb_copy_str(e.detail, sizeof e.detail, t->order->detail);
    kb_store_audit_termination(s->shard->proxy->store, &e, t->order->apikey_id);
}

static void terminate_here(struct kb_shard *shard, void *arg)
{
    struct terminate *t = arg;
    for (struct kb_session *s = shard->sessions, *next; s; s = next) {
        next = s->next;
        if (!is_wanted(t->match, &s->row))
            continue;
        kb_copy_str(s->ended_by, sizeof s->ended_by, t->order->actor);
        audit_terminated(s, t);
        kb_session_end(s, KB_REASON_TERMINATED, t->order->detail);
        atomic_fetch_add(&t->ended, 1);
    }
}

unsigned kb_proxy_terminate(struct kb_proxy *p, const struct kb_session_match *match,
                            const struct kb_session_order *order)
{
    if (!match->id && !match->source && !match->uuid && !match->user && !match->grant_id)
        return 0;
    struct terminate t = {.match = match, .order = order};
    kb_proxy_visit(p, terminate_here, &t);
    return atomic_load(&t.ended);
}
