/* What a handler asks of its request: headers, body, query. HTTP threads. */
#include "http/request.h"

#include "http/text.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>
#include <microhttpd.h>

const char *kb_request_header(struct kb_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

/* One element of a list such as "text/html;q=0.9, *" is the type, and its weight is not 0. */
static bool lists(const char *list, const char *type)
{
    size_t len = strlen(type);
    while (*list) {
        list += strspn(list, " \t,");
        size_t element = strcspn(list, ",");
        size_t name = strcspn(list, ",; \t");
        if (name == len && strncasecmp(list, type, len) == 0)
            return !memmem(list, element, "q=0", 3) || memmem(list, element, "q=0.", 4);
        list += element;
    }
    return false;
}

bool kb_request_accepts(struct kb_request *r, const char *type)
{
    const char *accept = kb_request_header(r, "Accept");
    return accept && lists(accept, type);
}

bool kb_request_may(const struct kb_request *r, enum kb_action a)
{
    return kb_access_may(&r->asker.principal, a, NULL);
}

static bool is_json(const char *content_type)
{
    static const char json[] = "application/json";
    if (!content_type || strncasecmp(content_type, json, sizeof json - 1) != 0)
        return false;
    char next = content_type[sizeof json - 1];
    return next == '\0' || next == ';' || next == ' ';
}

bool kb_request_read(struct kb_request *r, const struct kb_json_field *fields, size_t count)
{
    char problem[400];
    if (r->body.len == 0) {
        r->json = json_object();
    } else if (!is_json(kb_request_header(r, "Content-Type"))) {
        /* A form of another site cannot say application/json without asking first. */
        kb_reply_error(r, 415, "unsupported_media_type", "the body must be application/json");
        return false;
    } else {
        json_error_t error;
        r->json =
            json_loadb((const char *)r->body.data, r->body.len, JSON_REJECT_DUPLICATES, &error);
        if (!r->json) {
            kb_reply_error(r, 400, "malformed_json", "the body is not JSON: line %d, column %d",
                           error.line, error.column);
            return false;
        }
    }
    if (kb_json_read(r->json, fields, count, problem, sizeof problem))
        return true;
    kb_reply_error(r, 422, "invalid_field", "%s", problem);
    return false;
}

bool kb_request_page(struct kb_request *r, const char *order, struct kb_page *page)
{
    *page = (struct kb_page){
        .limit = 100,
        .cursor = kb_http_target_query(&r->target, "cursor"),
        .q = kb_http_target_query(&r->target, "q"),
    };
    const char *limit = kb_http_target_query(&r->target, "limit");
    const char *sort = kb_http_target_query(&r->target, "sort");
    if (page->cursor && !*page->cursor)
        page->cursor = NULL;
    if (page->q && !*page->q)
        page->q = NULL;
    if (limit) {
        char *end;
        unsigned long n = isdigit((unsigned char)*limit) ? strtoul(limit, &end, 10) : 0;
        if (n < 1 || n > 1000 || *end) {
            kb_reply_error(r, 422, "invalid_parameter", "limit must be a number from 1 to 1000");
            return false;
        }
        page->limit = (unsigned)n;
    }
    if (sort && *sort && strcmp(sort, order) != 0) {
        kb_reply_error(r, 422, "invalid_parameter", "sort must be \"%s\" here", order);
        return false;
    }
    return true;
}

bool kb_request_time(struct kb_request *r, const char *name, int64_t *wall_ms)
{
    const char *text = kb_http_target_query(&r->target, name);
    if (!text || !*text || kb_time_parse(text, wall_ms))
        return true;
    kb_reply_error(r, 422, "invalid_parameter", "%s must be a time such as 2026-11-20T18:00:00Z",
                   name);
    return false;
}

bool kb_request_flag(struct kb_request *r, const char *name, bool *flag)
{
    const char *text = kb_http_target_query(&r->target, name);
    if (!text || !*text)
        return true;
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        *flag = *text == 't';
        return true;
    }
    kb_reply_error(r, 422, "invalid_parameter", "%s must be true or false", name);
    return false;
}

void kb_request_audit_init(const struct kb_request *r, struct kb_audit_event *e, const char *event)
{
    *e = (struct kb_audit_event){0};
    kb_copy_str(e->event, sizeof e->event, event);
    kb_copy_str(e->node, sizeof e->node, r->options->node);
    kb_copy_str(e->request_id, sizeof e->request_id, r->id);
    kb_copy_str(e->actor, sizeof e->actor, r->asker.actor);
    kb_copy_str(e->client_address, sizeof e->client_address, r->client_address);
}
