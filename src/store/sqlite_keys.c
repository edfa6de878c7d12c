/* What stands for a user without a password, in SQLite: API keys, logins, and the ids that logging
 * in with somebody else uses up. Hashes only. */
#include "store/sqlite.h"

#include "base/mem.h"

/* --- API keys --------------------------------------------------------------------------------- */

static void audit_key(struct kb_sqlite *db, const char *event, const char *id, const char *name,
                      const char *actor)
{
    struct kb_audit_event *e = kb_backend_audit(&db->base, event);
    kb_copy_str(e->actor, sizeof e->actor, actor);
    kb_auto_free char *which = kb_printf("%s %s", id, name);
    kb_copy_str(e->detail, sizeof e->detail, which);
}

enum kb_store_status kb_sqlite_create_apikey(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_create_apikey *c = (struct kb_store_create_apikey *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    kb_id_create(c->id);
    if (!kb_sql_do(db, KB_SQL_APIKEY_INSERT, KB_TEXT(c->id), KB_TEXT(c->name), KB_TEXT(c->role),
                   KB_TEXT(c->created_by), KB_HASH(&c->hash), KB_NUMBER(b->now),
                   KB_NUMBER(c->expires_at), KB_TEXT(c->cidrs ? c->cidrs : ""),
                   KB_TEXT(c->sources ? c->sources : ""), KB_TEXT(c->consoles ? c->consoles : "")))
        return KB_STORE_FAILED;
    if (!kb_sql_changes(db))
        return KB_STORE_CONFLICT;
    audit_key(db, "apikey.created", c->id, c->name, c->created_by);
    return KB_STORE_OK;
}

static void read_key(struct kb_rows *q, struct kb_apikey_row *r)
{
    *r = (struct kb_apikey_row){
        .name = kb_sql_copy(q, 1),
        .role = kb_sql_copy(q, 2),
        .created_by = kb_sql_copy(q, 3),
        .created_at = kb_sql_number(q, 4),
        .expires_at = kb_sql_number(q, 5),
        .revoked_at = kb_sql_number(q, 6),
        .cidrs = kb_sql_copy(q, 7),
        .sources = kb_sql_copy(q, 8),
        .consoles = kb_sql_copy(q, 9),
    };
    kb_sql_copy_to(q, 0, r->id, sizeof r->id);
}

enum kb_store_status kb_sqlite_find_apikey(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_find_apikey *c = (struct kb_store_find_apikey *)call;
    c->row = (struct kb_apikey_row){0};
    kb_sql_use struct kb_rows q =
        kb_sql((struct kb_sqlite *)b, KB_SQL_APIKEY_GET, KB_HASH(&c->hash), KB_NUMBER(b->now));
    if (!kb_sql_next(&q))
        return q.failed ? KB_STORE_FAILED : KB_STORE_NOT_FOUND;
    read_key(&q, &c->row);
    return KB_STORE_OK;
}

enum kb_store_status kb_sqlite_list_apikeys(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_list_apikeys *c = (struct kb_store_list_apikeys *)call;
    c->rows = NULL;
    c->count = 0;
    kb_sql_use struct kb_rows q =
        kb_sql((struct kb_sqlite *)b, KB_SQL_APIKEYS_LIST, {.kind = KB_BIND_END});
    while (kb_sql_next(&q)) {
        c->rows = kb_list_grow(c->rows, c->count, sizeof *c->rows);
        read_key(&q, &c->rows[c->count++]);
    }
    return q.failed ? KB_STORE_FAILED : KB_STORE_OK;
}

enum kb_store_status kb_sqlite_revoke_apikey(struct kb_backend *b, struct kb_store_call *call)
{
    const struct kb_store_revoke_apikey *c = (const struct kb_store_revoke_apikey *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    kb_sql_use struct kb_rows q =
        kb_sql(db, KB_SQL_APIKEY_REVOKE, KB_TEXT(c->id), KB_NUMBER(b->now));
    if (!kb_sql_next(&q))
        return q.failed ? KB_STORE_FAILED : KB_STORE_NOT_FOUND;
    audit_key(db, "apikey.revoked", c->id, kb_sql_text(&q, 0), c->actor);
    kb_sql_next(&q);
    return q.failed ? KB_STORE_FAILED : KB_STORE_OK;
}

/* --- logins ----------------------------------------------------------------------------------- */

enum kb_store_status kb_sqlite_create_login(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_create_login *c = (struct kb_store_create_login *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    kb_id_create(c->id);
    if (!kb_sql_do(db, KB_SQL_LOGIN_INSERT, KB_HASH(&c->hash), KB_TEXT(c->id), KB_TEXT(c->user),
                   KB_TEXT(c->provider ? c->provider : "local"), KB_TEXT(c->alias),
                   KB_TEXT(c->groups), KB_TEXT(c->client_address), KB_NUMBER(b->now),
                   KB_NUMBER(c->expires_at)))
        return KB_STORE_FAILED;
    return kb_sql_changes(db) ? KB_STORE_OK : KB_STORE_NOT_FOUND;
}

static void read_login(struct kb_rows *q, struct kb_login_row *r)
{
    *r = (struct kb_login_row){
        .user = kb_sql_copy(q, 1),
        .provider = kb_sql_copy(q, 2),
        .client_address = kb_sql_copy(q, 3),
        .created_at = kb_sql_number(q, 4),
        .expires_at = kb_sql_number(q, 5),
    };
    kb_sql_copy_to(q, 0, r->id, sizeof r->id);
}

enum kb_store_status kb_sqlite_find_login(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_find_login *c = (struct kb_store_find_login *)call;
    c->row = (struct kb_login_row){0};
    kb_sql_use struct kb_rows q =
        kb_sql((struct kb_sqlite *)b, KB_SQL_LOGIN_GET, KB_HASH(&c->hash), KB_NUMBER(b->now));
    if (!kb_sql_next(&q))
        return q.failed ? KB_STORE_FAILED : KB_STORE_NOT_FOUND;
    read_login(&q, &c->row);
    c->row.role = kb_sql_copy(&q, 6);
    c->row.alias = kb_sql_copy(&q, 7);
    c->row.groups = kb_sql_copy(&q, 8);
    return KB_STORE_OK;
}

enum kb_store_status kb_sqlite_list_logins(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_list_logins *c = (struct kb_store_list_logins *)call;
    c->rows = NULL;
    c->count = 0;
    kb_sql_use struct kb_rows q =
        kb_sql((struct kb_sqlite *)b, KB_SQL_LOGINS_LIST, KB_TEXT(c->user), KB_NUMBER(b->now));
    while (kb_sql_next(&q)) {
        c->rows = kb_list_grow(c->rows, c->count, sizeof *c->rows);
        read_login(&q, &c->rows[c->count++]);
    }
    return q.failed ? KB_STORE_FAILED : KB_STORE_OK;
}

/* One event for every login that the statement has deleted. */
static enum kb_store_status end_logins(struct kb_sqlite *db, struct kb_rows *q, const char *actor,
                                       const char *request_id, unsigned *ended)
{
    while (kb_sql_next(q)) {
        struct kb_audit_event *e = kb_backend_audit(&db->base, "login.ended");
        kb_copy_str(e->user, sizeof e->user, kb_sql_text(q, 1));
        kb_copy_str(e->actor, sizeof e->actor, actor);
        kb_copy_str(e->request_id, sizeof e->request_id, request_id);
        kb_copy_str(e->detail, sizeof e->detail, kb_sql_text(q, 2));
        ++*ended;
    }
    return q->failed ? KB_STORE_FAILED : *ended ? KB_STORE_OK : KB_STORE_NOT_FOUND;
}

enum kb_store_status kb_sqlite_end_login(struct kb_backend *b, struct kb_store_call *call)
{
    const struct kb_store_end_login *c = (const struct kb_store_end_login *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    unsigned ended = 0;
    kb_sql_use struct kb_rows q = kb_sql(db, KB_SQL_LOGIN_END, KB_HASH(&c->hash));
    return end_logins(db, &q, c->actor, c->request_id, &ended);
}

enum kb_store_status kb_sqlite_end_logins(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_end_logins *c = (struct kb_store_end_logins *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    c->ended = 0;
    if (!c->id && !c->user)
        return KB_STORE_NOT_FOUND;
    kb_sql_use struct kb_rows q = kb_sql(db, KB_SQL_LOGINS_END, KB_TEXT(c->id), KB_TEXT(c->user));
    return end_logins(db, &q, c->actor, c->request_id, &c->ended);
}

bool kb_sqlite_expire_logins(struct kb_sqlite *db, unsigned limit, bool *more)
{
    if (!kb_sql_do(db, KB_SQL_LOGINS_EXPIRE, KB_NUMBER(db->base.now), KB_NUMBER(limit)))
        return false;
    *more = *more || kb_sql_changes(db) == limit;
    return true;
}

/* --- ids for one use -------------------------------------------------------------------------- */

enum kb_store_status kb_sqlite_spend_id(struct kb_backend *b, struct kb_store_call *call)
{
    const struct kb_store_spend_id *c = (const struct kb_store_spend_id *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    if (!kb_sql_do(db, KB_SQL_SPENT_INSERT, KB_TEXT(c->kind), KB_HASH(&c->hash), KB_NUMBER(b->now),
                   KB_NUMBER(c->expires_at)))
        return KB_STORE_FAILED;
    return kb_sql_changes(db) == 1 ? KB_STORE_OK : KB_STORE_CONFLICT;
}
