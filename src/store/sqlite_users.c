/* Local users in SQLite. */
#include "store/sqlite.h"

#include "base/buf.h"
#include "base/mem.h"

#include <string.h>

#define ROLE_SIZE 32

static struct kb_audit_event *audit_user(struct kb_sqlite *db, const char *event, const char *name)
{
    struct kb_audit_event *e = kb_backend_audit(&db->base, event);
    kb_copy_str(e->user, sizeof e->user, name);
    return e;
}

static void note_by(struct kb_audit_event *e, const char *actor, const char *request_id,
                    const char *client_address)
{
    kb_copy_str(e->actor, sizeof e->actor, actor);
    kb_copy_str(e->request_id, sizeof e->request_id, request_id);
    kb_copy_str(e->client_address, sizeof e->client_address, client_address);
}

/* The user's role as it is; OK, NOT_FOUND or FAILED. */
static enum kb_store_status read_role(struct kb_sqlite *db, const char *name, char role[ROLE_SIZE])
{
    kb_sql_use struct kb_rows q = kb_sql(db, KB_SQL_USER_ROLE, KB_TEXT(name));
    if (!kb_sql_next(&q))
        return q.failed ? KB_STORE_FAILED : KB_STORE_NOT_FOUND;
    kb_sql_copy_to(&q, 0, role, ROLE_SIZE);
    return KB_STORE_OK;
}

/* OK if a user other than this one has the role admin, else CONFLICT. */
static enum kb_store_status find_other_admin(struct kb_sqlite *db, const char *name)
{
    kb_sql_use struct kb_rows q = kb_sql(db, KB_SQL_USER_OTHER_ADMIN, KB_TEXT(name));
    if (kb_sql_next(&q))
        return KB_STORE_OK;
    return q.failed ? KB_STORE_FAILED : KB_STORE_CONFLICT;
}

static enum kb_store_status add_user(struct kb_sqlite *db, const struct kb_store_put_user *c)
{
    if (!kb_sql_do(db, KB_SQL_USER_INSERT, KB_TEXT(c->name), KB_TEXT(c->role),
                   KB_TEXT(c->password_hash), KB_NUMBER(db->base.now)))
        return KB_STORE_FAILED;
    if (!kb_sql_changes(db))
        return KB_STORE_CONFLICT;
    struct kb_audit_event *e = audit_user(db, "user.added", c->name);
    note_by(e, c->actor, c->request_id, c->client_address);
    kb_copy_str(e->detail, sizeof e->detail, c->role);
    return KB_STORE_OK;
}

static void audit_change(struct kb_sqlite *db, const struct kb_store_put_user *c, const char *was)
{
    bool new_role = c->role && strcmp(c->role, was) != 0;
    if (!new_role && !c->password_hash)
        return;
    struct kb_audit_event *e = audit_user(db, "user.changed", c->name);
    note_by(e, c->actor, c->request_id, c->client_address);
    kb_auto(kb_buf_finish) struct kb_buf words = {0};
    if (new_role)
        kb_buf_printf(&words, "role %s, was %s", c->role, was);
    if (c->password_hash)
        kb_buf_printf(&words, "%spassword", words.len ? "; " : "");
    kb_auto_free char *text = kb_buf_steal(&words);
    kb_copy_str(e->detail, sizeof e->detail, text);
}

enum kb_store_status kb_sqlite_put_user(struct kb_backend *b, struct kb_store_call *call)
{
    const struct kb_store_put_user *c = (const struct kb_store_put_user *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    if (!c->replace)
        return add_user(db, c);
    char was[ROLE_SIZE];
    enum kb_store_status status = read_role(db, c->name, was);
    if (status == KB_STORE_OK && c->keep_admin && c->role && strcmp(was, "admin") == 0 &&
        strcmp(c->role, "admin") != 0)
        status = find_other_admin(db, c->name);
    if (status != KB_STORE_OK)
        return status;
    if (!kb_sql_do(db, KB_SQL_USER_UPDATE, KB_TEXT(c->name), KB_TEXT(c->role),
                   KB_TEXT(c->password_hash)))
        return KB_STORE_FAILED;
    if (c->password_hash && !kb_sql_do(db, KB_SQL_LOGINS_END_USER, KB_TEXT(c->name)))
        return KB_STORE_FAILED;
    audit_change(db, c, was);
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
    char role[ROLE_SIZE];
    enum kb_store_status status = read_role(db, c->name, role);
    if (status == KB_STORE_OK && c->keep_admin && strcmp(role, "admin") == 0)
        status = find_other_admin(db, c->name);
    if (status != KB_STORE_OK)
        return status;
    /* The user's logins go with it, by the foreign key. */
    if (!kb_sql_do(db, KB_SQL_USER_REMOVE, KB_TEXT(c->name)))
        return KB_STORE_FAILED;
    note_by(audit_user(db, "user.removed", c->name), c->actor, c->request_id, c->client_address);
    return KB_STORE_OK;
}
