/* Shows sessions and ends live ones. Sessions live on the proxy's loops; what is seen here are
 * copies, and what the store remembers. HTTP threads; waits for the loops. */
#include "http/access.h"
#include "http/route.h"
#include "http/server.h"
#include "http/session_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define REASON_MAX 200

static int newest_first(const void *a, const void *b)
{
    const struct kb_session_view *x = a, *y = b;
    if (x->started_at != y->started_at)
        return x->started_at > y->started_at ? -1 : 1;
    return strcmp(x->id, y->id);
}

static bool may(const struct kb_request *r, enum kb_action a, const struct kb_session_view *v)
{
    return kb_request_may_at(r, a, v->source, v->uuid, v->console_name,
                             *v->owner ? v->owner : NULL);
}

static bool is_wanted(const struct kb_session_view *v, const char *q)
{
    return !q || strcasestr(v->id, q) || strcasestr(v->user, q) || strcasestr(v->console_name, q) ||
           strcasestr(v->uuid, q) || strcasestr(v->source, q) || strcasestr(v->client_address, q);
}

/* A cursor is "started_at:id" of the last one shown: sessions that end meanwhile do not matter. */
static bool is_after(const struct kb_session_view *v, const struct kb_session_view *cursor)
{
    return !cursor || newest_first(v, cursor) > 0;
}

static bool read_cursor(struct kb_request *r, const char *text, struct kb_session_view *v)
{
    char *end;
    v->started_at = strtoll(text, &end, 10);
    if (end != text && *end == ':' && strlen(end + 1) < sizeof v->id) {
        kb_copy_str(v->id, sizeof v->id, end + 1);
        return true;
    }
    kb_reply_error(r, 422, "invalid_parameter", "cursor is not one of this list");
    return false;
}

void kb_api_sessions(struct kb_request *r)
{
    struct kb_page page;
    struct kb_session_view cursor = {0};
    if (!kb_request_page(r, "-started_at", &page) ||
        (page.cursor && !read_cursor(r, page.cursor, &cursor)))
        return;
    struct kb_session_view *views;
    size_t count = kb_proxy_list_sessions(r->http->proxy, NULL, &views);
    if (count > 1)
        qsort(views, count, sizeof *views, newest_first);
    json_t *items = json_array();
    char next[64] = "";
    const struct kb_session_view *last = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!may(r, KB_MAY_LIST_SESSIONS, &views[i]) || !is_wanted(&views[i], page.q) ||
            !is_after(&views[i], page.cursor ? &cursor : NULL))
            continue;
        if (json_array_size(items) == page.limit) {
            snprintf(next, sizeof next, "%lld:%s", (long long)last->started_at, last->id);
            break;
        }
        last = &views[i];
        json_array_append_new(items, kb_session_json(last));
    }
    kb_session_views_free(views, count);
    kb_reply_list(r, items, next);
}

/* --- one ---------------------------------------------------------------------------------------
 */

#define NO_SESSION "there is no such session"

static enum kb_store_status remember(struct kb_request *r, struct kb_store_get_session *c)
{
    *c = (struct kb_store_get_session){.call.verb = KB_STORE_GET_SESSION, .id = r->params[0]};
    enum kb_store_status status = kb_store_run(r->store, &c->call);
    if (status != KB_STORE_OK || c->record.ended_at)
        return status;
    /* It ended a moment ago, and its end is on its way: what is written now comes behind it. */
    struct kb_store_ping behind = {.call.verb = KB_STORE_PING};
    kb_store_run(r->store, &behind.call);
    kb_session_record_finish(&c->record);
    return kb_store_run(r->store, &c->call);
}

static void reply_ended(struct kb_request *r)
{
    struct kb_store_get_session c;
    enum kb_store_status status = remember(r, &c);
    const struct kb_session_row *s = &c.record.session;
    if (status == KB_STORE_FAILED)
        kb_reply_store_failed(r);
    else if (status != KB_STORE_OK)
        kb_reply_error(r, 404, "session_not_found", NO_SESSION);
    else if (!kb_request_may_at(r, KB_MAY_LIST_SESSIONS, s->source, s->uuid, s->console_name,
                                *s->owner ? s->owner : NULL))
        kb_reply_hidden(r, "session_not_found", NO_SESSION);
    else
        kb_reply_json(r, 200, kb_session_json_ended(&c.record));
    kb_session_record_finish(&c.record);
}

static void reply_live(struct kb_request *r, const struct kb_session_view *v)
{
    struct kb_store_get_session c = {.call.verb = KB_STORE_GET_SESSION, .id = v->id};
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    kb_reply_json(r, 200, kb_session_json_live(v, status == KB_STORE_OK ? &c.record : NULL));
    kb_session_record_finish(&c.record);
}

void kb_api_session(struct kb_request *r)
{
    struct kb_session_view *views;
    size_t count = kb_proxy_list_sessions(r->http->proxy, r->params[0], &views);
    if (count == 0)
        reply_ended(r);
    else if (may(r, KB_MAY_LIST_SESSIONS, &views[0]))
        reply_live(r, &views[0]);
    else
        kb_reply_hidden(r, "session_not_found", NO_SESSION);
    kb_session_views_free(views, count);
}

/* --- the end -----------------------------------------------------------------------------------
 */

static bool read_reason(struct kb_request *r, const char **reason)
{
    const struct kb_json_field fields[] = {{"reason", KB_JSON_TEXT, false, REASON_MAX, reason}};
    return kb_request_read(r, fields, 1);
}

static void reply_terminated(struct kb_request *r, unsigned count)
{
    kb_reply_json(r, 200, json_pack("{s:i}", "terminated", (int)count));
}

static bool wants(const void *who, const struct kb_session_place *p)
{
    return kb_request_may_at(who, KB_MAY_END_SESSION, p->source, p->uuid, p->console_name,
                             p->owner);
}

/* Whoever has a scope ends, of those that match, the ones in it; the others are not there for him.
 */
static unsigned terminate(struct kb_request *r, struct kb_session_match match, const char *reason)
{
    if (!kb_access_everywhere(&r->asker.principal, KB_MAY_END_SESSION)) {
        match.wants = wants;
        match.who = r;
    }
    const struct kb_session_order order = {
        .actor = r->asker.actor,
        .request_id = r->id,
        .apikey_id = r->asker.via == KB_VIA_APIKEY ? r->asker.key_row.id : "",
        .detail = reason,
    };
    return kb_proxy_terminate(r->http->proxy, &match, &order);
}

void kb_api_session_terminate(struct kb_request *r)
{
    const char *reason = NULL;
    if (!read_reason(r, &reason))
        return;
    unsigned count = terminate(r, (struct kb_session_match){.id = r->params[0]}, reason);
    if (count > 0) {
        reply_terminated(r, count);
        return;
    }
    struct kb_session_view *views;
    size_t there = kb_proxy_list_sessions(r->http->proxy, r->params[0], &views);
    kb_session_views_free(views, there);
    if (there > 0)
        kb_reply_hidden(r, "session_not_found", "there is no such live session");
    else
        kb_reply_error(r, 404, "session_not_found", "there is no such live session");
}

/* All sessions that a body's words are true of, such as those of one user. */
void kb_api_sessions_terminate(struct kb_request *r)
{
    struct kb_session_match match = {0};
    const char *reason = NULL;
    const struct kb_json_field fields[] = {
        {"source", KB_JSON_TEXT, false, KB_NAME_SIZE - 1, &match.source},
        {"uuid", KB_JSON_TEXT, false, KB_NAME_SIZE - 1, &match.uuid},
        {"user", KB_JSON_TEXT, false, KB_NAME_SIZE - 1, &match.user},
        {"grant_id", KB_JSON_TEXT, false, KB_ID_SIZE - 1, &match.grant_id},
        {"reason", KB_JSON_TEXT, false, REASON_MAX, &reason},
    };
    if (!kb_request_read(r, fields, sizeof fields / sizeof *fields))
        return;
    if (!match.source && !match.user && !match.grant_id)
        kb_reply_error(r, 422, "invalid_field",
                       "say which sessions: \"user\", \"grant_id\", \"source\" or \"source\" and "
                       "\"uuid\"");
    else
        reply_terminated(r, terminate(r, match, reason));
}

void kb_api_console_terminate(struct kb_request *r)
{
    const char *reason = NULL;
    if (!read_reason(r, &reason))
        return;
    if (!kb_request_need_on(r, KB_MAY_END_SESSION, r->params[0], r->params[1], true))
        return;
    unsigned count = terminate(
        r, (struct kb_session_match){.source = r->params[0], .uuid = r->params[1]}, reason);
    if (count > 0) { /* also for a console that its source lists no more */
        reply_terminated(r, count);
        return;
    }
    struct kb_store_get_console c = {
        .call.verb = KB_STORE_GET_CONSOLE, .source = r->params[0], .uuid = r->params[1]};
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    kb_console_row_finish(&c.row);
    if (status == KB_STORE_OK)
        reply_terminated(r, 0);
    else if (status == KB_STORE_NOT_FOUND)
        kb_reply_error(r, 404, "console_not_found", "there is no such console");
    else
        kb_reply_store_failed(r);
}
