/* Runs statements on a SQLite connection, its transactions, and the table of verbs. What each verb
 * does is in sqlite_<subject>.c, how a connection comes about in sqlite_open.c. Runs on the thread
 * of the connection. */
#include "store/sqlite.h"

#include "base/mem.h"

#include <string.h>

/* --- statements ------------------------------------------------------------------------------- */

bool kb_sqlite_failed(struct kb_sqlite *db)
{
    int code = sqlite3_extended_errcode(db->db);
    free(db->base.error);
    db->base.error = kb_printf("%s (%d)", sqlite3_errmsg(db->db), code);
    switch (code & 0xff) {
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PROTOCOL:
    case SQLITE_PERM:
        db->base.damaged = true;
        break;
    default:
        break;
    }
    return false;
}

static int bind_text(sqlite3_stmt *st, int at, const char *text)
{
    if (!text)
        return sqlite3_bind_null(st, at);
    if (kb_utf8_valid(text))
        return sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC);
    struct kb_buf clean = {0};
    kb_buf_add_utf8(&clean, text);
    return sqlite3_bind_text(st, at, kb_buf_steal(&clean), -1, free);
}

static struct kb_rows start(struct kb_sqlite *db, sqlite3_stmt *st, const struct kb_bind *values)
{
    struct kb_rows q = {.db = db, .statement = st};
    int rc = SQLITE_OK;
    for (int at = 1; rc == SQLITE_OK && values->kind != KB_BIND_END; at++, values++) {
        if (values->kind == KB_BIND_TEXT)
            rc = bind_text(st, at, values->text);
        else if (values->kind == KB_BIND_INT)
            rc = sqlite3_bind_int64(st, at, values->i);
        else if (values->kind == KB_BIND_HASH && values->hash)
            rc = sqlite3_bind_blob(st, at, values->hash->bytes, KB_HASH_SIZE, SQLITE_STATIC);
        else
            rc = sqlite3_bind_null(st, at);
    }
    q.failed = rc != SQLITE_OK && !kb_sqlite_failed(db);
    return q;
}

struct kb_rows kb_sql_start(struct kb_sqlite *db, enum kb_sql which, const struct kb_bind *values)
{
    return start(db, db->statements[which], values);
}

struct kb_rows kb_sql_start_text(struct kb_sqlite *db, const char *sql,
                                 const struct kb_bind *values)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db->db, sql, -1, &st, NULL) != SQLITE_OK) {
        kb_sqlite_failed(db);
        return (struct kb_rows){.db = db, .failed = true};
    }
    struct kb_rows q = start(db, st, values);
    q.temporary = true;
    return q;
}

bool kb_sql_next(struct kb_rows *q)
{
    if (q->failed)
        return false;
    int rc = sqlite3_step(q->statement);
    if (rc == SQLITE_ROW)
        return true;
    if (rc != SQLITE_DONE)
        q->failed = !kb_sqlite_failed(q->db);
    return false;
}

void kb_sql_finish(struct kb_rows *q)
{
    if (!q->statement)
        return;
    if (q->temporary) {
        sqlite3_finalize(q->statement);
    } else {
        sqlite3_reset(q->statement);
        sqlite3_clear_bindings(q->statement);
    }
    q->statement = NULL;
}

bool kb_sql_run(struct kb_sqlite *db, enum kb_sql which, const struct kb_bind *values)
{
    kb_sql_use struct kb_rows q = kb_sql_start(db, which, values);
    while (kb_sql_next(&q))
        ;
    return !q.failed;
}

int64_t kb_sql_changes(struct kb_sqlite *db)
{
    return sqlite3_changes64(db->db);
}

/* --- columns ---------------------------------------------------------------------------------- */

const char *kb_sql_text(struct kb_rows *q, int column)
{
    const char *text = (const char *)sqlite3_column_text(q->statement, column);
    return text ? text : "";
}

char *kb_sql_copy(struct kb_rows *q, int column)
{
    return kb_strdup((const char *)sqlite3_column_text(q->statement, column));
}

void kb_sql_copy_to(struct kb_rows *q, int column, char *to, size_t size)
{
    kb_copy_str(to, size, kb_sql_text(q, column));
}

int64_t kb_sql_number(struct kb_rows *q, int column)
{
    return sqlite3_column_int64(q->statement, column);
}

bool kb_sql_is_null(struct kb_rows *q, int column)
{
    return sqlite3_column_type(q->statement, column) == SQLITE_NULL;
}

/* --- lists ------------------------------------------------------------------------------------ */

void *kb_list_grow(void *rows, size_t count, size_t size)
{
    /* Powers of two, so that the array grows only when count is one. */
    if (count & (count - 1))
        return rows;
    size_t bytes;
    if (__builtin_mul_overflow(count ? count * 2 : 1, size, &bytes))
        abort();
    return kb_realloc(rows, bytes);
}

/* A page must not keep the reading thread for seconds when its filter wants next to nothing. */
#define REACH 20000u

bool kb_list_wants(const struct kb_store_filter *f, const struct kb_store_place *place)
{
    return !f->wants || f->wants(f->who, place);
}

unsigned kb_list_reach(const struct kb_store_filter *f, unsigned limit)
{
    return f->wants ? REACH : limit;
}

unsigned kb_list_limit(unsigned asked)
{
    return asked < 1 ? 1 : asked > 1000 ? 1000 : asked;
}

/* --- transactions ----------------------------------------------------------------------------- */

static bool plain(struct kb_backend *b, enum kb_sql which)
{
    return kb_sql_run((struct kb_sqlite *)b, which,
                      (const struct kb_bind[]){{.kind = KB_BIND_END}});
}

static bool begin(struct kb_backend *b)
{
    return plain(b, KB_SQL_BEGIN);
}

static bool commit(struct kb_backend *b)
{
    return plain(b, KB_SQL_COMMIT);
}

/* A full disk, for one, has rolled back already. */
static bool in_transaction(struct kb_backend *b)
{
    return !sqlite3_get_autocommit(((struct kb_sqlite *)b)->db);
}

static void rollback(struct kb_backend *b)
{
    if (in_transaction(b)) {
        /* What is to be logged is why it had to be rolled back. */
        char *error = b->error;
        b->error = NULL;
        plain(b, KB_SQL_ROLLBACK);
        free(b->error);
        b->error = error;
    }
}

static bool mark(struct kb_backend *b)
{
    return plain(b, KB_SQL_MARK);
}

static bool release(struct kb_backend *b)
{
    return plain(b, KB_SQL_RELEASE);
}

static bool undo(struct kb_backend *b)
{
    return in_transaction(b) && plain(b, KB_SQL_UNDO) && plain(b, KB_SQL_RELEASE);
}

/* --- the table -------------------------------------------------------------------------------- */

/* Deletes at most `rows` rows from before that time. */
static bool drop(struct kb_sqlite *db, enum kb_sql which, int64_t time, unsigned rows, bool *more)
{
    if (time <= 0)
        return true;
    if (!kb_sql_do(db, which, KB_NUMBER(time), KB_NUMBER(rows)))
        return false;
    *more = *more || kb_sql_changes(db) == rows;
    return true;
}

static bool sweep(struct kb_backend *b, const struct kb_sweep *l, bool *more)
{
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    return kb_sqlite_expire_grants(db, l->rows, more) &&
           kb_sqlite_expire_logins(db, l->rows, more) &&
           drop(db, KB_SQL_SPENT_DROP, b->now, l->rows, more) &&
           drop(db, KB_SQL_AUDIT_DROP, l->audit_before, l->rows, more) &&
           drop(db, KB_SQL_SESSIONS_DROP, l->sessions_before, l->rows, more) &&
           drop(db, KB_SQL_GRANTS_DROP, l->sessions_before, l->rows, more);
}

enum kb_store_status kb_sqlite_ping(struct kb_backend *b, struct kb_store_call *call)
{
    (void)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    return kb_sql_do(db, KB_SQL_PING, KB_TEXT(b->node), KB_NUMBER(b->now)) ? KB_STORE_OK
                                                                           : KB_STORE_FAILED;
}

const struct kb_backend_type kb_sqlite_type = {
    .scheme = "sqlite",
    .open = kb_sqlite_open,
    .close = kb_sqlite_close,
    .present = kb_sqlite_present,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .mark = mark,
    .release = release,
    .undo = undo,
    .append_event = kb_sqlite_append_event,
    .sweep = sweep,
    .verbs =
        {
#define X(verb, name) [KB_STORE_##verb] = kb_sqlite_##name,
            KB_SQLITE_VERBS(X)
#undef X
        },
};
