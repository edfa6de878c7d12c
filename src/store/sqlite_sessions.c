/* Sessions in SQLite: how they end. How they start is redeeming a grant, in sqlite_grants.c. */
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
