/* Reads the audit: page by page as JSON, or as a file of JSON lines or CSV. HTTP threads. */
#include "base/log.h"
#include "http/access.h"
#include "http/route.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static json_t *event_json(const struct kb_audit_event *e, uint64_t id)
{
    char id_text[24];
    snprintf(id_text, sizeof id_text, "%" PRIu64, id);
    json_t *o = json_pack(
        "{s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", id_text,
        "time", kb_json_time(e->time), "event", e->event, "node", kb_json_text(e->node),
        "request_id", kb_json_text(e->request_id), "session_id", kb_json_text(e->session_id),
        "grant_id", kb_json_text(e->grant_id), "actor", kb_json_text(e->actor), "client_address",
        kb_json_text(e->client_address), "source", kb_json_text(e->source), "console",
        kb_json_text(e->console), "channel", kb_json_text(e->channel), "reason",
        kb_json_text(e->reason), "detail", kb_json_text(e->detail));
    json_object_set_new(o, "user", kb_json_text(e->user));
    json_object_set_new(o, "console_name", kb_json_text(e->console_name));
    json_object_set_new(o, "count", json_integer(e->count));
    if (e->has_bytes) {
        json_object_set_new(o, "bytes_from_client", kb_json_uint(e->bytes_from_client));
        json_object_set_new(o, "bytes_from_server", kb_json_uint(e->bytes_from_server));
        json_object_set_new(o, "duration", kb_json_duration(e->duration));
    }
    return o;
}

/* --- files --------------------------------------------------------------------------------------
 */

enum format { FORMAT_JSON, FORMAT_JSONL, FORMAT_CSV };

/* Events in one piece of a file: no call holds the store up for long. */
#define PIECE 1000

static const char *const columns[] = {
    "id",
    "time",
    "event",
    "node",
    "request_id",
    "session_id",
    "grant_id",
    "actor",
    "user",
    "client_address",
    "source",
    "console",
    "console_name",
    "channel",
    "reason",
    "detail",
    "bytes_from_client",
    "bytes_from_server",
    "duration",
    "count",
};
#define COLUMNS (sizeof columns / sizeof *columns)

static bool read_format(struct kb_request *r, enum format *format)
{
    const char *wanted = kb_http_target_query(&r->target, "format");
    *format = FORMAT_JSON;
    if (!wanted || !*wanted)
        *format = kb_request_accepts(r, "text/csv")               ? FORMAT_CSV
                  : kb_request_accepts(r, "application/x-ndjson") ? FORMAT_JSONL
                                                                  : FORMAT_JSON;
    else if (strcmp(wanted, "csv") == 0)
        *format = FORMAT_CSV;
    else if (strcmp(wanted, "jsonl") == 0)
        *format = FORMAT_JSONL;
    else if (strcmp(wanted, "json") != 0) {
        kb_reply_error(r, 422, "invalid_parameter", "format must be json, jsonl or csv");
        return false;
    }
    return true;
}

/* RFC 4180. A spreadsheet takes a cell that begins with one of these for a formula, and names come
 * from outside; a quotation mark before it makes it a text. */
static void add_cell(struct kb_buf *out, const char *text)
{
    kb_buf_add_str(out, "\"");
    if (*text && strchr("=+-@\t\r", *text))
        kb_buf_add_str(out, "'");
    for (; *text; text++)
        kb_buf_add(out, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
    kb_buf_add_str(out, "\"");
}

static void add_csv(struct kb_buf *out, const json_t *event)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        const json_t *v = json_object_get(event, columns[i]);
        if (i > 0)
            kb_buf_add_str(out, ",");
        if (json_is_integer(v))
            kb_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        else if (json_is_string(v))
            add_cell(out, json_string_value(v));
    }
    kb_buf_add_str(out, "\r\n");
}

static int add_json(const char *data, size_t len, void *out)
{
    kb_buf_add(out, data, len);
    return 0;
}

static void add_page(struct kb_buf *out, enum format format, const struct kb_store_list_audit *c)
{
    for (size_t i = 0; i < c->count; i++) {
        json_t *event = event_json(&c->rows[i], c->ids[i]);
        if (format == FORMAT_CSV) {
            add_csv(out, event);
        } else {
            json_dump_callback(event, add_json, out, JSON_COMPACT);
            kb_buf_add_str(out, "\n");
        }
        json_decref(event);
    }
}

static void begin_file(struct kb_request *r, enum format format)
{
    bool csv = format == FORMAT_CSV;
    kb_reply_text(r, 200, csv ? "text/csv; charset=utf-8" : "application/x-ndjson", "");
    for (size_t i = 0; csv && i < COLUMNS; i++)
        kb_buf_printf(&r->out, "%s%s", columns[i], i + 1 < COLUMNS ? "," : "\r\n");
}

/* With a limit: one page, and X-Next-Cursor leads on. */
static void reply_page(struct kb_request *r, enum format format, struct kb_store_list_audit *c)
{
    add_page(&r->out, format, c);
    if (c->next)
        kb_reply_header(r, "X-Next-Cursor", "%s", c->next);
}

/* A file that goes on. The texts are its own: they outlive the handler. */
struct file {
    struct kb_request *r;
    enum format format;
    char *source, *console, *user, *event, *next;
    int64_t since, until;
};

static void finish_file(void *state)
{
    struct file *f = state;
    free(f->source);
    free(f->console);
    free(f->user);
    free(f->event);
    free(f->next);
    free(f);
}

static enum kb_stream_step add_piece(void *state, struct kb_buf *out)
{
    struct file *f = state;
    struct kb_request_view view;
    struct kb_store_list_audit c = {
        .call.verb = KB_STORE_LIST_AUDIT,
        .source = f->source,
        .console = f->console,
        .user = f->user,
        .event = f->event,
        .since = f->since,
        .until = f->until,
        .after = f->next,
        .limit = PIECE,
        .filter = kb_request_filter(f->r, KB_MAY_READ_AUDIT, &view),
    };
    enum kb_store_status status = kb_store_run(f->r->store, &c.call);
    if (status == KB_STORE_OK)
        add_page(out, f->format, &c);
    else
        kb_log(KB_LOG_WARNING, "audit.file_cut", KB_STR("request_id", f->r->id),
               KB_STR("actor", f->r->asker.actor));
    free(f->next);
    f->next = c.next && status == KB_STORE_OK ? kb_strdup(c.next) : NULL;
    kb_store_list_audit_finish(&c);
    return status != KB_STORE_OK ? KB_STREAM_FAILED : f->next ? KB_STREAM_MORE : KB_STREAM_END;
}

static char *copy(const char *text)
{
    return text ? kb_strdup(text) : NULL;
}

/* Without one: all there is. What comes after the first piece is sent as it is read. */
static void reply_rest(struct kb_request *r, enum format format,
                       const struct kb_store_list_audit *c)
{
    add_page(&r->out, format, c);
    if (!c->next)
        return;
    struct file *f = kb_zalloc(sizeof *f);
    *f = (struct file){
        .r = r,
        .format = format,
        .source = copy(c->source),
        .console = copy(c->console),
        .user = copy(c->user),
        .event = copy(c->event),
        .next = copy(c->next),
        .since = c->since,
        .until = c->until,
    };
    kb_reply_stream(r, add_piece, finish_file, f);
}

static void reply_file(struct kb_request *r, enum format format, struct kb_store_list_audit *c)
{
    bool limited = kb_http_target_query(&r->target, "limit");
    if (!limited)
        c->limit = PIECE;
    enum kb_store_status status = kb_store_run(r->store, &c->call);
    if (status != KB_STORE_OK) {
        kb_reply_no_page(r, status);
    } else {
        begin_file(r, format);
        kb_reply_header(r, "Content-Disposition", "attachment; filename=\"audit.%s\"",
                        format == FORMAT_CSV ? "csv" : "jsonl");
        if (limited)
            reply_page(r, format, c);
        else
            reply_rest(r, format, c);
    }
    kb_store_list_audit_finish(c);
}

/* --- the route ----------------------------------------------------------------------------------
 */

static const char *filter(struct kb_request *r, const char *name)
{
    const char *value = kb_http_target_query(&r->target, name);
    return value && *value ? value : NULL;
}

void kb_api_audit(struct kb_request *r)
{
    struct kb_page page;
    enum format format;
    struct kb_store_list_audit c = {.call.verb = KB_STORE_LIST_AUDIT};
    if (!kb_request_page(r, "-time", &page) || !kb_request_time(r, "since", &c.since) ||
        !kb_request_time(r, "until", &c.until) || !read_format(r, &format))
        return;
    c.source = filter(r, "source");
    c.console = filter(r, "console");
    c.user = filter(r, "user");
    c.event = filter(r, "event");
    c.after = page.cursor;
    c.limit = page.limit;
    struct kb_request_view view;
    c.filter = kb_request_filter(r, KB_MAY_READ_AUDIT, &view); /* of files as of pages */
    if (format != FORMAT_JSON) {
        reply_file(r, format, &c);
        return;
    }
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status != KB_STORE_OK) {
        kb_reply_no_page(r, status);
    } else {
        json_t *items = json_array();
        for (size_t i = 0; i < c.count; i++)
            json_array_append_new(items, event_json(&c.rows[i], c.ids[i]));
        kb_reply_list(r, items, c.next);
    }
    kb_store_list_audit_finish(&c);
}
