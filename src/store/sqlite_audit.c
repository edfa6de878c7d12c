/* Audit events in SQLite: appended, and read newest first. */
#include "store/sqlite_lists.h"

#include "base/mem.h"

#include <string.h>

/* What the caller did not know: one lookup with two columns, each for a text that is still empty.
 * False: failed. */
static bool look_up(struct kb_sqlite *db, enum kb_sql which, const char *first, const char *second,
                    char text[KB_NAME_SIZE], char owner[KB_NAME_SIZE])
{
    if ((*text && *owner) || !*first || (second && !*second))
        return true;
    const struct kb_bind values[] = {
        KB_TEXT(first),
        {.kind = second ? KB_BIND_TEXT : KB_BIND_END, .text = second},
        {.kind = KB_BIND_END},
    };
    kb_sql_use struct kb_rows q = kb_sql_start(db, which, values);
    if (!kb_sql_next(&q))
        return !q.failed;
    if (!*text)
        kb_sql_copy_to(&q, 0, text, KB_NAME_SIZE);
    if (!*owner)
        kb_sql_copy_to(&q, 1, owner, KB_NAME_SIZE);
    return !q.failed;
}

bool kb_sqlite_append_event(struct kb_backend *b, const struct kb_audit_event *e)
{
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    char user[KB_NAME_SIZE], name[KB_NAME_SIZE], owner[KB_NAME_SIZE];
    kb_copy_str(user, sizeof user, e->user);
    kb_copy_str(name, sizeof name, e->console_name);
    kb_copy_str(owner, sizeof owner, e->owner);
    return look_up(db, KB_SQL_SESSION_FACTS, e->session_id, NULL, user, owner) &&
           (*user || look_up(db, KB_SQL_GRANT_FACTS, e->grant_id, NULL, user, owner)) &&
           look_up(db, KB_SQL_CONSOLE_FACTS, e->source, e->console, name, owner) &&
           kb_sql_do(db, KB_SQL_AUDIT_INSERT, KB_NUMBER(e->time ? e->time : b->now),
                     KB_TEXT(e->event), KB_TEXT(e->node), KB_TEXT(e->request_id),
                     KB_TEXT(e->session_id), KB_TEXT(e->grant_id), KB_TEXT(e->actor), KB_TEXT(user),
                     KB_TEXT(e->client_address), KB_TEXT(e->source), KB_TEXT(e->console),
                     KB_TEXT(name), KB_TEXT(e->channel), KB_TEXT(e->reason), KB_TEXT(e->detail),
                     KB_NUMBER_OR_NULL(e->has_bytes, e->bytes_from_client),
                     KB_NUMBER_OR_NULL(e->has_bytes, e->bytes_from_server),
                     KB_NUMBER_OR_NULL(e->has_bytes, e->duration),
                     KB_NUMBER(e->count ? e->count : 1), KB_TEXT(*owner ? owner : NULL));
}

enum kb_store_status kb_sqlite_append_audit(struct kb_backend *b, struct kb_store_call *call)
{
    const struct kb_store_append_audit *c = (const struct kb_store_append_audit *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    bool ok = kb_sqlite_append_event(b, &c->event);
    if (ok && c->along == KB_ALONG_CHANNEL)
        ok = kb_sqlite_add_channel(db, c->event.session_id, &c->channel);
    else if (ok && c->along == KB_ALONG_TERMINATION)
        ok = kb_sqlite_add_termination(db, &c->event, c->apikey_id);
    return ok ? KB_STORE_OK : KB_STORE_FAILED;
}

/* The columns of kb_query_audit. */
static uint64_t read_row(struct kb_rows *q, struct kb_audit_event *e)
{
    *e = (struct kb_audit_event){.time = kb_sql_number(q, 1)};
    const struct {
        char *to;
        size_t size;
    } texts[] = {
        {e->event, sizeof e->event},
        {e->node, sizeof e->node},
        {e->request_id, sizeof e->request_id},
        {e->session_id, sizeof e->session_id},
        {e->grant_id, sizeof e->grant_id},
        {e->actor, sizeof e->actor},
        {e->user, sizeof e->user},
        {e->client_address, sizeof e->client_address},
        {e->source, sizeof e->source},
        {e->console, sizeof e->console},
        {e->console_name, sizeof e->console_name},
        {e->channel, sizeof e->channel},
        {e->reason, sizeof e->reason},
        {e->detail, sizeof e->detail},
    };
    int column = 2;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        kb_sql_copy_to(q, column++, texts[i].to, texts[i].size);
    e->has_bytes = !kb_sql_is_null(q, column);
    e->bytes_from_client = (uint64_t)kb_sql_number(q, column);
    e->bytes_from_server = (uint64_t)kb_sql_number(q, column + 1);
    e->duration = kb_sql_number(q, column + 2);
    e->count = (unsigned)kb_sql_number(q, column + 3);
    kb_sql_copy_to(q, column + 4, e->owner, sizeof e->owner);
    return (uint64_t)kb_sql_number(q, 0);
}

enum kb_store_status kb_sqlite_list_audit(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_list_audit *c = (struct kb_store_list_audit *)call;
    c->rows = NULL;
    c->ids = NULL;
    c->count = 0;
    c->next = NULL;
    kb_auto(kb_cursor_finish) struct kb_cursor after;
    if (!kb_cursor_read(c->after, 2, &after))
        return KB_STORE_NOT_FOUND;
    unsigned limit = kb_list_limit(c->limit), reach = kb_list_reach(&c->filter, limit), seen = 0;
    kb_auto(kb_query_finish) struct kb_query query;
    kb_query_audit(&query, c, &after, reach + 1);
    kb_sql_use struct kb_rows q = kb_query_start((struct kb_sqlite *)b, &query);
    int64_t last_time = 0;
    uint64_t last_id = 0;
    while (kb_sql_next(&q)) {
        if (c->count == limit || seen++ == reach) {
            kb_auto_free char *time = kb_printf("%lld", (long long)last_time);
            kb_auto_free char *id = kb_printf("%llu", (unsigned long long)last_id);
            c->next = kb_cursor_write((const char *[]){time, id}, 2);
            break;
        }
        c->rows = kb_list_grow(c->rows, c->count, sizeof *c->rows);
        c->ids = kb_list_grow(c->ids, c->count, sizeof *c->ids);
        struct kb_audit_event *e = &c->rows[c->count];
        c->ids[c->count] = last_id = read_row(&q, e);
        last_time = e->time;
        const struct kb_store_place place = {e->source, e->console, e->console_name,
                                             *e->owner ? e->owner : NULL};
        c->count += kb_list_wants(&c->filter, &place);
    }
    return q.failed ? KB_STORE_FAILED : KB_STORE_OK;
}
