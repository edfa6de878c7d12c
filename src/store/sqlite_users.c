/* Local users in SQLite. */
#include "store/sqlite.h"

#include "base/mem.h"

static enum kb_store_status audit_user(struct kb_sqlite *db, const char *event, const char *name,
                                       const char *role, const char *actor)
{
    struct kb_audit_event *e = kb_backend_audit(&db->base, event);
    kb_copy_str(e->user, sizeof e->user, name);
    kb_copy_str(e->actor, sizeof e->actor, actor);
    kb_copy_str(e->detail, sizeof e->detail, role);
    return KB_STORE_OK;
}

enum kb_store_status kb_sqlite_put_user(struct kb_backend *b, struct kb_store_call *call)
{
    const struct kb_store_put_user *c = (const struct kb_store_put_user *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    if (!c->replace) {
        if (!kb_sql_do(db, KB_SQL_USER_INSERT, KB_TEXT(c->name), KB_TEXT(c->role),
                       KB_TEXT(c->password_hash), KB_NUMBER(b->now)))
            return KB_STORE_FAILED;
        return kb_sql_changes(db) ? audit_user(db, "user.added", c->name, c->role, c->actor)
                                  : KB_STORE_CONFLICT;
    }
    if (!kb_sql_do(db, KB_SQL_USER_UPDATE, KB_TEXT(c->name), KB_TEXT(c->role),
                   KB_TEXT(c->password_hash)))
        return KB_STORE_FAILED;
    if (!kb_sql_changes(db))
        return KB_STORE_NOT_FOUND;
    if (c->password_hash && !kb_sql_do(db, KB_SQL_LOGINS_END_USER, KB_TEXT(c->name)))
        return KB_STORE_FAILED;
    return KB_STORE_OK;
}

static void read_row(struct kb_rows *q, struct kb_user_row *r)
{
    *r = (struct kb_user_row){
        .name = kb_sql_copy(q, 0),
        .role = kb_sql_copy(q, 1),
        .created_at = kb_sql_number(q, 2),
    };
}

enum kb_store_status kb_sqlite_find_user(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_find_user *c = (struct kb_store_find_user *)call;
    c->row = (struct kb_user_row){0};
    kb_sql_use struct kb_rows q = kb_sql((struct kb_sqlite *)b, KB_SQL_USER_GET, KB_TEXT(c->name));
    if (!kb_sql_next(&q))
        return q.failed ? KB_STORE_FAILED : KB_STORE_NOT_FOUND;
    read_row(&q, &c->row);
    c->row.password_hash = kb_sql_copy(&q, 3);
    return KB_STORE_OK;
}

enum kb_store_status kb_sqlite_list_users(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_list_users *c = (struct kb_store_list_users *)call;
    c->rows = NULL;
    c->count = 0;
    kb_sql_use struct kb_rows q =
        kb_sql((struct kb_sqlite *)b, KB_SQL_USERS_LIST, {.kind = KB_BIND_END});
    while (kb_sql_next(&q)) {
        c->rows = kb_list_grow(c->rows, c->count, sizeof *c->rows);
        read_row(&q, &c->rows[c->count++]);
    }
    return q.failed ? KB_STORE_FAILED : KB_STORE_OK;
}

enum kb_store_status kb_sqlite_remove_user(struct kb_backend *b, struct kb_store_call *call)
{
    const struct kb_store_remove_user *c = (const struct kb_store_remove_user *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    /* The user's logins go with it, by the foreign key. */
    if (!kb_sql_do(db, KB_SQL_USER_REMOVE, KB_TEXT(c->name)))
        return KB_STORE_FAILED;
    return kb_sql_changes(db) ? audit_user(db, "user.removed", c->name, NULL, c->actor)
                              : KB_STORE_NOT_FOUND;
}
