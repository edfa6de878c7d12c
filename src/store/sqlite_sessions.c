/* Sessions in SQLite: how they end, what stays of them, and how they are read. How they start is
 * redeeming a grant, in sqlite_grants.c. */
#include "store/sqlite.h"

#include "base/mem.h"

/* Columns of SESSION_END and SESSIONS_RECOVER. */
static struct kb_audit_event *audit_end(struct kb_sqlite *db, struct kb_rows *q,
                                        enum kb_reason reason, int64_t ended_at)
{
    struct kb_audit_event *e = kb_backend_audit(&db->base, "session.ended");
    e->time = ended_at;
    kb_sql_copy_to(q, 0, e->session_id, sizeof e->session_id);
    kb_sql_copy_to(q, 1, e->grant_id, sizeof e->grant_id);
    kb_sql_copy_to(q, 2, e->source, sizeof e->source);
    kb_sql_copy_to(q, 3, e->console, sizeof e->console);
    kb_sql_copy_to(q, 4, e->console_name, sizeof e->console_name);
    kb_sql_copy_to(q, 5, e->user, sizeof e->user);
    kb_sql_copy_to(q, 6, e->client_address, sizeof e->client_address);
    kb_copy_str(e->reason, sizeof e->reason, kb_reason_name(reason));
    int64_t started_at = kb_sql_number(q, 7);
    e->duration = ended_at > started_at ? ended_at - started_at : 0;
    return e;
}

enum kb_store_status kb_sqlite_end_session(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_end_session *c = (struct kb_store_end_session *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    int64_t ended_at = c->ended_at ? c->ended_at : b->now;
    kb_sql_use struct kb_rows q =
        kb_sql(db, KB_SQL_SESSION_END, KB_TEXT(c->id), KB_NUMBER(ended_at), KB_TEXT(c->actor),
               KB_TEXT(kb_reason_name(c->reason)), KB_NUMBER(c->bytes_from_client),
               KB_NUMBER(c->bytes_from_server));
    if (!kb_sql_next(&q))
        return q.failed ? KB_STORE_FAILED : KB_STORE_NOT_FOUND;
    struct kb_audit_event *e = audit_end(db, &q, c->reason, ended_at);
    kb_copy_str(e->actor, sizeof e->actor, c->actor);
    e->has_bytes = true;
    e->bytes_from_client = c->bytes_from_client;
    e->bytes_from_server = c->bytes_from_server;
    kb_sql_next(&q);
    return q.failed ? KB_STORE_FAILED : KB_STORE_OK;
}

enum kb_store_status kb_sqlite_recover(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_recover *c = (struct kb_store_recover *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    c->ended = 0;
    kb_sql_use struct kb_rows q =
        kb_sql(db, KB_SQL_SESSIONS_RECOVER, KB_TEXT(b->node), KB_NUMBER(b->now),
               KB_TEXT(kb_reason_name(KB_REASON_NODE_RESTARTED)));
    /* No bytes and no duration: nobody counted to the end, and now is not when it ended. */
    for (; kb_sql_next(&q); c->ended++)
        audit_end(db, &q, KB_REASON_NODE_RESTARTED, b->now);
    return q.failed ? KB_STORE_FAILED : KB_STORE_OK;
}

/* --- what stays ------------------------------------------------------------------------------- */

bool kb_sqlite_add_channel(struct kb_sqlite *db, const char *session_id,
                           const struct kb_channel_row *c)
{
    return kb_sql_do(db, KB_SQL_CHANNEL_INSERT, KB_TEXT(session_id), KB_NUMBER(c->type),
                     KB_NUMBER(c->id), KB_NUMBER(c->opened_at), KB_NUMBER(c->closed_at),
                     KB_TEXT(c->reason), KB_NUMBER(c->bytes_from_client),
                     KB_NUMBER(c->bytes_from_server), KB_NUMBER(c->messages_from_client),
                     KB_NUMBER(c->messages_from_server));
}

bool kb_sqlite_add_termination(struct kb_sqlite *db, const struct kb_audit_event *e,
                               const char *apikey_id)
{
    return kb_sql_do(db, KB_SQL_TERMINATION_INSERT, KB_TEXT(e->session_id), KB_NUMBER(e->time),
                     KB_TEXT(e->actor), KB_TEXT(apikey_id), KB_TEXT(e->request_id),
                     KB_TEXT(e->detail));
}

static void read_session(struct kb_rows *q, struct kb_session_record *r)
{
    struct kb_session_row *s = &r->session;
    kb_sql_copy_to(q, 0, s->id, sizeof s->id);
    kb_sql_copy_to(q, 1, s->grant_id, sizeof s->grant_id);
    kb_sql_copy_to(q, 2, s->source, sizeof s->source);
    kb_sql_copy_to(q, 3, s->uuid, sizeof s->uuid);
    kb_sql_copy_to(q, 4, s->console_name, sizeof s->console_name);
    kb_sql_copy_to(q, 5, s->user, sizeof s->user);
    kb_sql_copy_to(q, 6, s->owner, sizeof s->owner);
    kb_copy_str(s->policy, sizeof s->policy, kb_sql_is_null(q, 7) ? "default" : kb_sql_text(q, 7));
    kb_sql_copy_to(q, 8, r->client_address, sizeof r->client_address);
    s->started_at = kb_sql_number(q, 9);
    r->ended_at = kb_sql_number(q, 10);
    kb_sql_copy_to(q, 11, r->ended_by, sizeof r->ended_by);
    kb_sql_copy_to(q, 12, r->reason, sizeof r->reason);
    r->bytes_from_client = (uint64_t)kb_sql_number(q, 13);
    r->bytes_from_server = (uint64_t)kb_sql_number(q, 14);
    struct kb_termination_row *t = &r->termination;
    t->terminated_at = kb_sql_number(q, 15);
    kb_sql_copy_to(q, 16, t->actor, sizeof t->actor);
    kb_sql_copy_to(q, 17, t->apikey_id, sizeof t->apikey_id);
    kb_sql_copy_to(q, 18, t->request_id, sizeof t->request_id);
    kb_sql_copy_to(q, 19, t->detail, sizeof t->detail);
}

static void read_channel(struct kb_rows *q, struct kb_channel_row *c)
{
    *c = (struct kb_channel_row){
        .type = (uint8_t)kb_sql_number(q, 0),
        .id = (uint8_t)kb_sql_number(q, 1),
        .opened_at = kb_sql_number(q, 2),
        .closed_at = kb_sql_number(q, 3),
        .bytes_from_client = (uint64_t)kb_sql_number(q, 5),
        .bytes_from_server = (uint64_t)kb_sql_number(q, 6),
        .messages_from_client = (uint64_t)kb_sql_number(q, 7),
        .messages_from_server = (uint64_t)kb_sql_number(q, 8),
    };
    kb_sql_copy_to(q, 4, c->reason, sizeof c->reason);
}

enum kb_store_status kb_sqlite_get_session(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_get_session *c = (struct kb_store_get_session *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    struct kb_session_record *r = &c->record;
    *r = (struct kb_session_record){0};
    kb_sql_use struct kb_rows q = kb_sql(db, KB_SQL_SESSION_GET, KB_TEXT(c->id));
    if (!kb_sql_next(&q))
        return q.failed ? KB_STORE_FAILED : KB_STORE_NOT_FOUND;
    read_session(&q, r);
    kb_sql_use struct kb_rows rows =
        kb_sql(db, KB_SQL_SESSION_CHANNELS, KB_TEXT(c->id), KB_NUMBER(KB_CHANNELS_SHOWN));
    while (kb_sql_next(&rows)) {
        r->channels = kb_list_grow(r->channels, r->channel_count, sizeof *r->channels);
        read_channel(&rows, &r->channels[r->channel_count++]);
    }
    return rows.failed ? KB_STORE_FAILED : KB_STORE_OK;
}
