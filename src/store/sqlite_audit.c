/* Audit events in SQLite: appended, and read newest first. */
#include "store/sqlite.h"

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
                     KB_NUMBER_OR_NULL(e->has_bytes, e->duration), KB_TEXT(*owner ? owner : NULL));
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

#define COLUMNS                                                                                    \
    "id, time, event, node, request_id, session_id, grant_id, actor, user_name, client_address,"   \
    " source, console, console_name, channel, reason, detail, bytes_from_client,"                  \
    " bytes_from_server, duration, owner"

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
    kb_sql_copy_to(q, column + 3, e->owner, sizeof e->owner);
    return (uint64_t)kb_sql_number(q, 0);
}

/* Only the filters that are set, so that each query can use its index. The texts are ours; what the
 * caller gave is bound. */
struct query {
    struct kb_buf sql;
    struct kb_bind values[9];
    size_t count;
};

static void where(struct query *q, const char *condition, struct kb_bind value)
{
    q->values[q->count++] = value;
    kb_buf_add_str(&q->sql, q->count == 1 ? " WHERE " : " AND ");
    /* % stands for the value's number, as often as the condition needs it */
    for (; *condition; condition++) {
        if (*condition == '%')
            kb_buf_printf(&q->sql, "?%zu", q->count);
        else
            kb_buf_add(&q->sql, condition, 1);
    }
}

static void where_text(struct query *q, const char *condition, const char *text)
{
    if (text)
        where(q, condition, (struct kb_bind)KB_TEXT(text));
}

static void build(struct query *q, const struct kb_store_list_audit *c,
                  const struct kb_cursor *after, unsigned limit)
{
    kb_buf_add_str(&q->sql, "SELECT " COLUMNS " FROM audit");
    where_text(q, "source = %", c->source);
    where_text(q, "(console = % OR console_name = %)", c->console);
    where_text(q, "(user_name = % OR actor = %)", c->user);
    where_text(q, "event = %", c->event);
    if (c->since)
        where(q, "time >= %", (struct kb_bind)KB_NUMBER(c->since));
    if (c->until)
        where(q, "time < %", (struct kb_bind)KB_NUMBER(c->until));
    if (after->parts[0]) {
        where(q, "time <= %", (struct kb_bind)KB_NUMBER(strtoll(after->parts[0], NULL, 10)));
        size_t time = q->count;
        where(q, "(time, id) < ", (struct kb_bind)KB_NUMBER(strtoll(after->parts[1], NULL, 10)));
        kb_buf_printf(&q->sql, "(?%zu, ?%zu)", time, q->count);
    }
    q->values[q->count++] = (struct kb_bind)KB_NUMBER(limit);
    kb_buf_printf(&q->sql, " ORDER BY time DESC, id DESC LIMIT ?%zu", q->count);
    kb_buf_add(&q->sql, "", 1);
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
    struct query query = {0};
    build(&query, c, &after, reach + 1);
    kb_auto(kb_buf_finish) struct kb_buf sql = query.sql;
    kb_sql_use struct kb_rows q =
        kb_sql_start_text((struct kb_sqlite *)b, (const char *)sql.data, query.values);
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
