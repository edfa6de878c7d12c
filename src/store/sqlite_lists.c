/* See sqlite_lists.h. Any thread, but for kb_query_start. */
#include "store/sqlite_lists.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

void kb_query_finish(struct kb_query *q)
{
    kb_buf_finish(&q->sql);
}

struct kb_rows kb_query_start(struct kb_sqlite *db, const struct kb_query *q)
{
    return kb_sql_start_text(db, (const char *)q->sql.data, q->values);
}

/* The number of the value, for ?N. One place is kept for the end. */
static size_t value(struct kb_query *q, struct kb_bind v)
{
    if (q->count + 1 >= KB_QUERY_VALUES)
        abort();
    q->values[q->count++] = v;
    return q->count;
}

static size_t text(struct kb_query *q, const char *t)
{
    return value(q, (struct kb_bind)KB_TEXT(t));
}

static size_t number(struct kb_query *q, int64_t n)
{
    return value(q, (struct kb_bind)KB_NUMBER(n));
}

/* " AND " with the condition, in which % stands for the value's number. */
static void and_that(struct kb_buf *to, const char *condition, size_t n)
{
    kb_buf_add_str(to, " AND ");
    for (; *condition; condition++) {
        if (*condition == '%')
            kb_buf_printf(to, "?%zu", n);
        else
            kb_buf_add(to, condition, 1);
    }
}

static void end(struct kb_query *q, const char *order, unsigned rows)
{
    kb_buf_printf(&q->sql, " ORDER BY %s LIMIT ?%zu", order, number(q, rows));
    kb_buf_add(&q->sql, "", 1);
}

/* --- consoles --------------------------------------------------------------------------------- */

void kb_query_consoles(struct kb_query *q, const struct kb_store_list_consoles *c,
                       const struct kb_cursor *after, unsigned rows)
{
    *q = (struct kb_query){0};
    kb_buf_add_str(&q->sql, "SELECT " KB_SQL_CONSOLE KB_SQL_CONSOLES " WHERE 1");
    if (c->source)
        and_that(&q->sql, "c.source = %", text(q, c->source));
    if (c->q && *c->q)
        and_that(&q->sql, "(instr(fold(c.name), fold(%)) OR instr(fold(c.uuid), fold(%)))",
                 text(q, c->q));
    if (c->in_use)
        kb_buf_add_str(&q->sql, " AND " KB_SQL_IN_USE);
    if (after->parts[0]) {
        size_t first = text(q, after->parts[0]);
        text(q, after->parts[1]);
        text(q, after->parts[2]);
        kb_buf_printf(&q->sql, " AND (c.name, c.source, c.uuid) > (?%zu, ?%zu, ?%zu)", first,
                      first + 1, first + 2);
    }
    end(q, "c.name, c.source, c.uuid", rows);
}

/* --- grants ----------------------------------------------------------------------------------- */

#define CONSOLE_OF_GRANT " FROM consoles c WHERE c.source = grants.source AND c.uuid = grants.uuid)"

void kb_query_grants(struct kb_query *q, const struct kb_store_list_grants *c,
                     const struct kb_cursor *after, unsigned rows)
{
    *q = (struct kb_query){0};
    kb_buf_add_str(&q->sql, "SELECT " KB_SQL_GRANT ", (SELECT c.name" CONSOLE_OF_GRANT
                            ", (SELECT c.owner" CONSOLE_OF_GRANT " FROM grants WHERE 1");
    if (c->created_by)
        and_that(&q->sql, "created_by = %", text(q, c->created_by));
    if (after->parts[0]) {
        size_t first = number(q, strtoll(after->parts[0], NULL, 10));
        text(q, after->parts[1]);
        kb_buf_printf(&q->sql, " AND (created_at, id) < (?%zu, ?%zu)", first, first + 1);
    }
    end(q, "created_at DESC, id DESC", rows);
}

/* --- audit ------------------------------------------------------------------------------------ */

#define AUDIT                                                                                      \
    "SELECT id, time, event, node, request_id, session_id, grant_id, actor, user_name,"            \
    " client_address, source, console, console_name, channel, reason, detail,"                     \
    " bytes_from_client, bytes_from_server, duration, count, owner FROM audit WHERE 1"

/* An OR would need a sort of all that it finds. Two queries that share no row, each in order by an
 * index of its own, are merged without one. */
struct halves {
    const char *first, *second;
};
static const struct halves by_console = {
    "console = %", "console_name = % AND console_name <> console AND console_name <> ''"};
static const struct halves by_user = {"user_name = %", "actor = % AND actor <> user_name"};

static void add_rest(struct kb_query *q, const struct kb_buf *rest)
{
    kb_buf_add(&q->sql, rest->data, rest->len);
}

static void add_halves(struct kb_query *q, const struct halves *h, size_t n,
                       const struct kb_buf *rest)
{
    kb_buf_add_str(&q->sql, AUDIT);
    and_that(&q->sql, h->first, n);
    add_rest(q, rest);
    kb_buf_add_str(&q->sql, " UNION ALL " AUDIT);
    and_that(&q->sql, h->second, n);
    add_rest(q, rest);
}

static void add_times(struct kb_query *q, struct kb_buf *rest, const struct kb_store_list_audit *c,
                      const struct kb_cursor *after)
{
    if (c->since)
        and_that(rest, "time >= %", number(q, c->since));
    if (c->until)
        and_that(rest, "time < %", number(q, c->until));
    if (after->parts[0]) {
        size_t first = number(q, strtoll(after->parts[0], NULL, 10));
        number(q, strtoll(after->parts[1], NULL, 10));
        /* The first half says what the second does, in words that every index understands. */
        kb_buf_printf(rest, " AND time <= ?%zu AND (time, id) < (?%zu, ?%zu)", first, first,
                      first + 1);
    }
}

void kb_query_audit(struct kb_query *q, const struct kb_store_list_audit *c,
                    const struct kb_cursor *after, unsigned rows)
{
    *q = (struct kb_query){0};
    kb_auto(kb_buf_finish) struct kb_buf rest = {0};
    /* A + takes a column out of the search for an index: that of the console, or else of the user,
     * has fewer rows than those of an event or a source. */
    bool narrow = c->console || c->user;
    if (c->console && c->user)
        and_that(&rest, "(+user_name = % OR +actor = %)", text(q, c->user));
    if (c->source)
        and_that(&rest, narrow || c->event ? "+source = %" : "source = %", text(q, c->source));
    if (c->event)
        and_that(&rest, narrow ? "+event = %" : "event = %", text(q, c->event));
    add_times(q, &rest, c, after);
    if (c->console) {
        add_halves(q, &by_console, text(q, c->console), &rest);
    } else if (c->user) {
        add_halves(q, &by_user, text(q, c->user), &rest);
    } else {
        kb_buf_add_str(&q->sql, AUDIT);
        add_rest(q, &rest);
    }
    end(q, "time DESC, id DESC", rows);
}
