/* SQLite for the store: a connection, its prepared statements, and how to run one. Private to
 * sqlite*.c; runs on the thread of its connection.
 *
 *     kb_sql_use struct kb_rows q = kb_sql(db, KB_SQL_USER_GET, KB_TEXT(name));
 *     while (kb_sql_next(&q)) ... kb_sql_text(&q, 0) ...
 *     if (q.failed) return KB_STORE_FAILED; */
#ifndef KB_STORE_SQLITE_H
#define KB_STORE_SQLITE_H

#include "store/backend.h"
#include "store/sqlite_statements.h"

#include <sqlite3.h>
#include <sys/types.h>

struct kb_sqlite {
    struct kb_backend base;
    sqlite3 *db;
    char *path;
    dev_t device;
    ino_t inode;
    sqlite3_stmt *statements[KB_SQL_COUNT];
};

/* A value for ?1, ?2, ... Texts and hashes must live until the rows are finished. */
struct kb_bind {
    enum { KB_BIND_END, KB_BIND_TEXT, KB_BIND_INT, KB_BIND_HASH, KB_BIND_NULL } kind;
    const char *text;
    int64_t i;
    const struct kb_hash *hash;
};
#define KB_TEXT(v)                                                                                 \
    {                                                                                              \
        .kind = KB_BIND_TEXT, .text = (v)                                                          \
    } /* NULL is NULL */
#define KB_NUMBER(v)                                                                               \
    {                                                                                              \
        .kind = KB_BIND_INT, .i = (int64_t)(v)                                                     \
    }
#define KB_HASH(v)                                                                                 \
    {                                                                                              \
        .kind = KB_BIND_HASH, .hash = (v)                                                          \
    } /* NULL is NULL */
#define KB_NUMBER_OR_NULL(has, v)                                                                  \
    {                                                                                              \
        .kind = (has) ? KB_BIND_INT : KB_BIND_NULL, .i = (int64_t)(v)                              \
    }

struct kb_rows {
    struct kb_sqlite *db;
    sqlite3_stmt *statement;
    bool failed, temporary;
};

#define kb_sql_use kb_auto(kb_sql_finish)
#define kb_sql(db, which, ...)                                                                     \
    kb_sql_start((db), (which), (const struct kb_bind[]){__VA_ARGS__, {.kind = KB_BIND_END}})
/* Runs to the end, rows are not looked at. False: failed. */
#define kb_sql_do(db, which, ...)                                                                  \
    kb_sql_run((db), (which), (const struct kb_bind[]){__VA_ARGS__, {.kind = KB_BIND_END}})

struct kb_rows kb_sql_start(struct kb_sqlite *db, enum kb_sql which, const struct kb_bind *values);
struct kb_rows kb_sql_start_text(struct kb_sqlite *db, const char *sql,
                                 const struct kb_bind *values);
bool kb_sql_run(struct kb_sqlite *db, enum kb_sql which, const struct kb_bind *values);
bool kb_sql_next(struct kb_rows *q); /* a row; false at the end and when it failed */
void kb_sql_finish(struct kb_rows *q);
int64_t kb_sql_changes(struct kb_sqlite *db); /* rows that the last statement changed */

const char *kb_sql_text(struct kb_rows *q, int column); /* until the next step; NULL is "" */
char *kb_sql_copy(struct kb_rows *q, int column);       /* to be freed; NULL is NULL */
void kb_sql_copy_to(struct kb_rows *q, int column, char *to, size_t size);
int64_t kb_sql_number(struct kb_rows *q, int column); /* NULL is 0 */
bool kb_sql_is_null(struct kb_rows *q, int column);

/* Notes what the database said, for the log; false, to be returned. */
bool kb_sqlite_failed(struct kb_sqlite *db);

/* sqlite_open.c */
struct kb_backend *kb_sqlite_open(const struct kb_backend_open *o, char **error);
void kb_sqlite_close(struct kb_backend *b);
bool kb_sqlite_present(struct kb_backend *b);

/* The verbs, by subject. */
#define KB_SQLITE_VERBS(X)                                                                         \
    X(RECOVER, recover)                                                                            \
    X(PING, ping)                                                                                  \
    X(SYNC_CONSOLES, sync_consoles)                                                                \
    X(RETAIN_SOURCES, retain_sources)                                                              \
    X(LIST_CONSOLES, list_consoles)                                                                \
    X(GET_CONSOLE, get_console)                                                                    \
    X(CREATE_GRANT, create_grant)                                                                  \
    X(EXCHANGE_GRANT, exchange_grant)                                                              \
    X(REDEEM_GRANT, redeem_grant)                                                                  \
    X(EXPLAIN_TOKEN, explain_token)                                                                \
    X(LIST_GRANTS, list_grants)                                                                    \
    X(REVOKE_GRANT, revoke_grant)                                                                  \
    X(END_SESSION, end_session)                                                                    \
    X(GET_SESSION, get_session)                                                                    \
    X(APPEND_AUDIT, append_audit)                                                                  \
    X(LIST_AUDIT, list_audit)                                                                      \
    X(PUT_USER, put_user)                                                                          \
    X(FIND_USER, find_user)                                                                        \
    X(LIST_USERS, list_users)                                                                      \
    X(REMOVE_USER, remove_user)                                                                    \
    X(CREATE_APIKEY, create_apikey)                                                                \
    X(FIND_APIKEY, find_apikey)                                                                    \
    X(LIST_APIKEYS, list_apikeys)                                                                  \
    X(REVOKE_APIKEY, revoke_apikey)                                                                \
    X(CREATE_LOGIN, create_login)                                                                  \
    X(FIND_LOGIN, find_login)                                                                      \
    X(END_LOGIN, end_login)                                                                        \
    X(LIST_LOGINS, list_logins)                                                                    \
    X(END_LOGINS, end_logins)                                                                      \
    X(SPEND_ID, spend_id)
#define X(verb, name)                                                                              \
    enum kb_store_status kb_sqlite_##name(struct kb_backend *b, struct kb_store_call *call);
KB_SQLITE_VERBS(X)
#undef X

bool kb_sqlite_append_event(struct kb_backend *b, const struct kb_audit_event *e);
/* The rows that come with an event; nothing for a session that is not there. */
bool kb_sqlite_add_channel(struct kb_sqlite *db, const char *session_id,
                           const struct kb_channel_row *c);
bool kb_sqlite_add_termination(struct kb_sqlite *db, const struct kb_audit_event *e,
                               const char *apikey_id);
bool kb_sqlite_expire_grants(struct kb_sqlite *db, unsigned limit, bool *more);
bool kb_sqlite_expire_logins(struct kb_sqlite *db, unsigned limit, bool *more);
/* Fills in *row (KB_SQL_CONSOLE columns). NOT_FOUND leaves it zeroed. */
enum kb_store_status kb_sqlite_read_console(struct kb_sqlite *db, const char *source,
                                            const char *uuid, struct kb_console_row *row);
/* Revokes the console's unused grants, since it is gone. */
bool kb_sqlite_revoke_console(struct kb_sqlite *db, const char *source,
                              const struct kb_console_row *console);

/* Whether a filter wants the place. */
bool kb_list_wants(const struct kb_store_filter *f, const struct kb_store_place *place);
/* Rows that one page may look at: all it asked for, or, with a filter, a bounded number. */
unsigned kb_list_reach(const struct kb_store_filter *f, unsigned limit);
/* A list's rows as they grow. */
void *kb_list_grow(void *rows, size_t count, size_t size);
/* 1..1000 */
unsigned kb_list_limit(unsigned asked);

#endif
