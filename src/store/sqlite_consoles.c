/* Consoles in SQLite: taking over a source's list, and reading them. */
#include "store/sqlite_lists.h"

#include "base/log.h"
#include "base/mem.h"

#include <string.h>

static void read_row(struct kb_rows *q, struct kb_console_row *r)
{
    *r = (struct kb_console_row){
        .source = kb_sql_copy(q, 0),
        .uuid = kb_sql_copy(q, 1),
        .name = kb_sql_copy(q, 2),
        .hypervisor = kb_sql_copy(q, 3),
        .hypervisor_ip = kb_sql_copy(q, 4),
        .unix_socket = kb_sql_copy(q, 5),
        .host_subject = kb_sql_copy(q, 6),
        .insecure_port = (uint16_t)kb_sql_number(q, 7),
        .secure_port = (uint16_t)kb_sql_number(q, 8),
        .first_seen = kb_sql_number(q, 9),
        .last_seen = kb_sql_number(q, 10),
        .owner = kb_sql_copy(q, 11),
        .project = kb_sql_copy(q, 12),
        .state = kb_sql_copy(q, 13),
        .protocol = kb_sql_copy(q, 14),
        .transport = kb_sql_copy(q, 15),
        .in_use = kb_sql_number(q, 16) != 0,
    };
}

enum kb_store_status kb_sqlite_read_console(struct kb_sqlite *db, const char *source,
                                            const char *uuid, struct kb_console_row *row)
{
    *row = (struct kb_console_row){0};
    kb_sql_use struct kb_rows q = kb_sql(db, KB_SQL_CONSOLE_GET, KB_TEXT(source), KB_TEXT(uuid));
    if (!kb_sql_next(&q))
        return q.failed ? KB_STORE_FAILED : KB_STORE_NOT_FOUND;
    read_row(&q, row);
    return KB_STORE_OK;
}

enum kb_store_status kb_sqlite_get_console(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_get_console *c = (struct kb_store_get_console *)call;
    return kb_sqlite_read_console((struct kb_sqlite *)b, c->source, c->uuid, &c->row);
}

enum kb_store_status kb_sqlite_list_consoles(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_list_consoles *c = (struct kb_store_list_consoles *)call;
    c->rows = NULL;
    c->count = 0;
    c->next = NULL;
    kb_auto(kb_cursor_finish) struct kb_cursor after;
    if (!kb_cursor_read(c->after, 3, &after))
        return KB_STORE_NOT_FOUND;
    unsigned limit = kb_list_limit(c->limit), reach = kb_list_reach(&c->filter, limit), seen = 0;
    kb_auto(kb_console_row_finish) struct kb_console_row row = {0};
    kb_auto(kb_query_finish) struct kb_query query;
    kb_query_consoles(&query, c, &after, reach + 1);
    kb_sql_use struct kb_rows q = kb_query_start((struct kb_sqlite *)b, &query);
    while (kb_sql_next(&q)) {
        if (c->count == limit || seen++ == reach) {
            /* row is the last one that was passed over, if it comes after the last of the list */
            const struct kb_console_row *last = row.uuid ? &row : &c->rows[c->count - 1];
            c->next = kb_cursor_write((const char *[]){last->name, last->source, last->uuid}, 3);
            break;
        }
        kb_console_row_finish(&row);
        read_row(&q, &row);
        const struct kb_store_place place = {row.source, row.uuid, row.name, row.owner};
        if (!kb_list_wants(&c->filter, &place))
            continue;
        c->rows = kb_list_grow(c->rows, c->count, sizeof *c->rows);
        c->rows[c->count++] = row;
        row = (struct kb_console_row){0};
    }
    return q.failed ? KB_STORE_FAILED : KB_STORE_OK;
}

/* --- sync ------------------------------------------------------------------------------------- */

/* A source's new list, clean and in the order of uuid, beside what is there in the same order. */
struct sync {
    struct kb_sqlite *db;
    const char *source;
    struct kb_console_row *now, *before;
    size_t now_count, before_count;
};

static void finish_rows(struct kb_console_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        kb_console_row_finish(&rows[i]);
    free(rows);
}

static void finish_sync(struct sync *s)
{
    finish_rows(s->now, s->now_count);
    finish_rows(s->before, s->before_count);
}

static char *clean(const char *text)
{
    if (!text)
        return NULL;
    struct kb_buf b = {0};
    kb_buf_add_utf8(&b, text);
    return kb_buf_steal(&b);
}

static int by_uuid(const void *a, const void *b)
{
    return strcmp(((const struct kb_console_row *)a)->uuid,
                  ((const struct kb_console_row *)b)->uuid);
}

static void leave_out(const struct sync *s, const struct kb_console_row *r, const char *why)
{
    kb_log(KB_LOG_WARNING, "console.left_out", KB_STR("source", s->source),
           KB_STR("console", r->uuid), KB_STR("console_name", r->name), KB_STR("why", why));
}

/* The uuid as it will be stored decides: two that differ only in bytes that are not UTF-8 are
 * one. */
static void take_rows(struct sync *s, const struct kb_console_row *rows, size_t count)
{
    s->now = kb_calloc(count, sizeof *s->now);
    for (size_t i = 0; i < count; i++) {
        struct kb_console_row r = {
            .uuid = clean(rows[i].uuid ? rows[i].uuid : ""),
            .name = clean(rows[i].name ? rows[i].name : ""),
            .hypervisor = clean(rows[i].hypervisor),
            .hypervisor_ip = clean(rows[i].hypervisor_ip),
            .unix_socket = clean(rows[i].unix_socket),
            .host_subject = clean(rows[i].host_subject),
            .insecure_port = rows[i].insecure_port,
            .secure_port = rows[i].secure_port,
            .owner = clean(rows[i].owner),
            .project = clean(rows[i].project),
            .state = clean(rows[i].state),
            .protocol = kb_strdup(rows[i].protocol ? rows[i].protocol : "spice"),
            .transport = kb_strdup(rows[i].transport ? rows[i].transport : "tcp"),
        };
        if (!*r.uuid || strlen(r.uuid) >= KB_NAME_SIZE) {
            leave_out(s, &r, *r.uuid ? "the uuid is too long" : "the uuid is empty");
            kb_console_row_finish(&r);
            continue;
        }
        s->now[s->now_count++] = r;
    }
    qsort(s->now, s->now_count, sizeof *s->now, by_uuid);
    size_t kept = 0;
    for (size_t i = 0; i < s->now_count; i++) {
        if (kept && strcmp(s->now[kept - 1].uuid, s->now[i].uuid) == 0) {
            leave_out(s, &s->now[i], "the uuid is there twice");
            kb_console_row_finish(&s->now[i]);
            continue;
        }
        s->now[kept++] = s->now[i];
    }
    s->now_count = kept;
}

static bool read_before(struct sync *s)
{
    kb_sql_use struct kb_rows q = kb_sql(s->db, KB_SQL_CONSOLES_OF, KB_TEXT(s->source));
    while (kb_sql_next(&q)) {
        s->before = kb_list_grow(s->before, s->before_count, sizeof *s->before);
        read_row(&q, &s->before[s->before_count++]);
    }
    return !q.failed;
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Says in words what changed, for the audit; "" when nothing did. */
static void differences(const struct kb_console_row *a, const struct kb_console_row *b, char *text,
                        size_t size)
{
    const struct {
        const char *name;
        bool same;
    } fields[] = {
        {"name", same(a->name, b->name)},
        {"hypervisor", same(a->hypervisor, b->hypervisor)},
        {"hypervisor_ip", same(a->hypervisor_ip, b->hypervisor_ip)},
        {"unix_socket", same(a->unix_socket, b->unix_socket)},
        {"host_subject", same(a->host_subject, b->host_subject)},
        {"insecure_port", a->insecure_port == b->insecure_port},
        {"secure_port", a->secure_port == b->secure_port},
        {"owner", same(a->owner, b->owner)},
        {"project", same(a->project, b->project)},
        {"state", same(a->state, b->state)},
        {"protocol", same(a->protocol, b->protocol)},
        {"transport", same(a->transport, b->transport)},
    };
    kb_auto(kb_buf_finish) struct kb_buf words = {0};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!fields[i].same)
            kb_buf_printf(&words, "%s%s", words.len ? " " : "", fields[i].name);
    kb_auto_free char *joined = kb_buf_steal(&words);
    kb_copy_str(text, size, joined);
}

static struct kb_audit_event *audit_console(struct sync *s, const char *event,
                                            const struct kb_console_row *r)
{
    struct kb_audit_event *e = kb_backend_audit(&s->db->base, event);
    kb_copy_str(e->source, sizeof e->source, s->source);
    kb_copy_str(e->console, sizeof e->console, r->uuid);
    kb_copy_str(e->console_name, sizeof e->console_name, r->name);
    kb_copy_str(e->owner, sizeof e->owner, r->owner);
    return e;
}

static bool put(struct sync *s, enum kb_sql which, const struct kb_console_row *r)
{
    const struct kb_bind values[] = {
        KB_TEXT(s->source),
        KB_TEXT(r->uuid),
        KB_TEXT(r->name),
        KB_TEXT(r->hypervisor),
        KB_TEXT(r->hypervisor_ip),
        KB_TEXT(r->unix_socket),
        KB_TEXT(r->host_subject),
        KB_NUMBER(r->insecure_port),
        KB_NUMBER(r->secure_port),
        KB_TEXT(r->owner),
        KB_TEXT(r->project),
        KB_TEXT(r->state),
        KB_TEXT(r->protocol),
        KB_TEXT(r->transport),
        /* first_seen, which an update leaves alone */
        {.kind = which == KB_SQL_CONSOLE_INSERT ? KB_BIND_INT : KB_BIND_END, .i = s->db->base.now},
        {.kind = KB_BIND_END},
    };
    return kb_sql_run(s->db, which, values);
}

static bool remove_console(struct sync *s, const struct kb_console_row *r)
{
    audit_console(s, "console.removed", r);
    return kb_sqlite_revoke_console(s->db, s->source, r) &&
           kb_sql_do(s->db, KB_SQL_CONSOLE_REMOVE, KB_TEXT(s->source), KB_TEXT(r->uuid));
}

static bool change_console(struct sync *s, const struct kb_console_row *before,
                           const struct kb_console_row *now, unsigned *changed)
{
    char what[sizeof(((struct kb_audit_event *)0)->detail)];
    differences(before, now, what, sizeof what);
    if (!*what)
        return true;
    struct kb_audit_event *e = audit_console(s, "console.changed", now);
    kb_copy_str(e->detail, sizeof e->detail, what);
    ++*changed;
    return put(s, KB_SQL_CONSOLE_UPDATE, now);
}

static bool merge(struct sync *s, struct kb_store_sync_consoles *c)
{
    size_t i = 0, j = 0;
    bool ok = true;
    while (ok && (i < s->before_count || j < s->now_count)) {
        int order = i == s->before_count ? 1
                    : j == s->now_count  ? -1
                                         : strcmp(s->before[i].uuid, s->now[j].uuid);
        if (order < 0) {
            c->removed++;
            ok = remove_console(s, &s->before[i++]);
        } else if (order > 0) {
            c->added++;
            audit_console(s, "console.added", &s->now[j]);
            ok = put(s, KB_SQL_CONSOLE_INSERT, &s->now[j++]);
        } else {
            ok = change_console(s, &s->before[i++], &s->now[j++], &c->changed);
        }
    }
    return ok;
}

enum kb_store_status kb_sqlite_sync_consoles(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_sync_consoles *c = (struct kb_store_sync_consoles *)call;
    kb_auto_free char *source = clean(c->source);
    kb_auto(finish_sync) struct sync s = {.db = (struct kb_sqlite *)b, .source = source};
    c->added = c->changed = c->removed = 0;
    if (c->unchanged)
        return kb_sql_do(s.db, KB_SQL_SOURCE_SYNCED, KB_TEXT(source), KB_NUMBER(b->now))
                   ? KB_STORE_OK
                   : KB_STORE_FAILED;
    take_rows(&s, c->rows, c->count);
    bool ok = kb_sql_do(s.db, KB_SQL_SOURCE_SYNCED, KB_TEXT(source), KB_NUMBER(b->now)) &&
              read_before(&s) && merge(&s, c);
    return ok ? KB_STORE_OK : KB_STORE_FAILED;
}

static bool is_named(const struct kb_store_retain_sources *c, const char *source)
{
    for (size_t i = 0; i < c->count; i++) {
        kb_auto_free char *name = clean(c->sources[i]);
        if (strcmp(name, source) == 0)
            return true;
    }
    return false;
}

static enum kb_store_status remove_source(struct kb_backend *b, const char *source,
                                          unsigned *removed)
{
    struct kb_store_sync_consoles none = {.source = source};
    enum kb_store_status status = kb_sqlite_sync_consoles(b, &none.call);
    *removed += none.removed;
    if (status == KB_STORE_OK &&
        !kb_sql_do((struct kb_sqlite *)b, KB_SQL_SOURCE_REMOVE, KB_TEXT(source)))
        status = KB_STORE_FAILED;
    return status;
}

enum kb_store_status kb_sqlite_retain_sources(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_retain_sources *c = (struct kb_store_retain_sources *)call;
    c->removed = 0;
    /* Read to the end first: rows must not change under an open statement. */
    kb_auto(kb_buf_finish) struct kb_buf gone = {0};
    {
        kb_sql_use struct kb_rows q =
            kb_sql((struct kb_sqlite *)b, KB_SQL_SOURCE_NAMES, {.kind = KB_BIND_END});
        while (kb_sql_next(&q))
            if (!is_named(c, kb_sql_text(&q, 0)))
                kb_buf_add(&gone, kb_sql_text(&q, 0), strlen(kb_sql_text(&q, 0)) + 1);
        if (q.failed)
            return KB_STORE_FAILED;
    }
    enum kb_store_status status = KB_STORE_OK;
    for (size_t at = 0; status == KB_STORE_OK && at < gone.len;) {
        const char *source = (const char *)gone.data + at;
        at += strlen(source) + 1;
        status = remove_source(b, source, &c->removed);
    }
    return status;
}
