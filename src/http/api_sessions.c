/* Shows live sessions and ends them. Sessions live on the proxy's loops; what is seen here are
 * copies. HTTP threads; waits for the loops. */
#include "http/access.h"
#include "http/route.h"
#include "http/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define REASON_MAX 200

/* Channel types by number, spice/enums.h of spice-protocol. */
static const char *channel_name(uint8_t type)
{
    static const char *const names[] = {NULL,        "main",     "display", "inputs",
                                        "cursor",    "playback", "record",  "tunnel",
                                        "smartcard", "usbredir", "port",    "webdav"};
    return type < sizeof names / sizeof *names && names[type] ? names[type] : "other";
}

static json_t *channel_json(const struct kb_channel_view *c)
{
    char name[32];
    snprintf(name, sizeof name, "%s:%u", channel_name(c->type), c->id);
    return json_pack(
        "{s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "channel", name, "type",
        channel_name(c->type), "id", (int)c->id, "opened_at", kb_json_time(c->opened_at),
        "bytes_from_client", kb_json_uint(c->bytes_from_client), "bytes_from_server",
        kb_json_uint(c->bytes_from_server), "messages_from_client",
        kb_json_uint(c->messages_from_client), "messages_from_server",
        kb_json_uint(c->messages_from_server), "rate_from_client",
        kb_json_uint(c->rate_from_client), "rate_from_server", kb_json_uint(c->rate_from_server),
        "client_rtt_us", c->client_rtt_us ? kb_json_uint(c->client_rtt_us) : json_null());
}

static json_t *session_json(const struct kb_session_view *v)
{
    json_t *channels = json_array();
    uint64_t from_client = 0, from_server = 0;
    for (size_t i = 0; i < v->channel_count; i++) {
        json_array_append_new(channels, channel_json(&v->channels[i]));
        from_client += v->channels[i].rate_from_client;
        from_server += v->channels[i].rate_from_server;
    }
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", v->id,
        "grant_id", v->grant_id, "source", kb_json_text(v->source), "uuid", kb_json_text(v->uuid),
        "console", kb_json_text(v->console_name), "user", kb_json_text(v->user), "policy",
        kb_json_text(v->policy), "client_address", kb_json_text(v->client_address), "hypervisor",
        kb_json_text(v->hypervisor), "started_at", kb_json_time(v->started_at), "bytes_from_client",
        kb_json_uint(v->bytes_from_client), "bytes_from_server", kb_json_uint(v->bytes_from_server),
        "rate_from_client", kb_json_uint(from_client), "rate_from_server",
        kb_json_uint(from_server), "channels", channels);
}

static int newest_first(const void *a, const void *b)
{
    const struct kb_session_view *x = a, *y = b;
    if (x->started_at != y->started_at)
        return x->started_at > y->started_at ? -1 : 1;
    return strcmp(x->id, y->id);
}

static bool may(const struct kb_request *r, enum kb_action a, const struct kb_session_view *v)
{
    return kb_request_may_at(r, a, v->source, v->uuid, v->console_name);
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
        json_array_append_new(items, session_json(last));
    }
    kb_session_views_free(views, count);
    kb_reply_list(r, items, next);
}

void kb_api_session(struct kb_request *r)
{
    struct kb_session_view *views;
    size_t count = kb_proxy_list_sessions(r->http->proxy, r->params[0], &views);
    if (count > 0 && !may(r, KB_MAY_LIST_SESSIONS, &views[0]))
        kb_reply_hidden(r, "session_not_found", "there is no such live session");
    else if (count > 0)
        kb_reply_json(r, 200, session_json(&views[0]));
    else
        kb_reply_error(r, 404, "session_not_found", "there is no such live session");
    kb_session_views_free(views, count);
}

static bool read_reason(struct kb_request *r, const char **reason)
{
    const struct kb_json_field fields[] = {{"reason", KB_JSON_TEXT, false, REASON_MAX, reason}};
    return kb_request_read(r, fields, 1);
}

static void reply_terminated(struct kb_request *r, unsigned count)
{
    kb_reply_json(r, 200, json_pack("{s:i}", "terminated", (int)count));
}

/* False: answered. A session that is not there is left to the one who ends it. */
static bool may_end(struct kb_request *r, const char *id)
{
    struct kb_session_view *views;
    if (kb_access_everywhere(&r->asker.principal, KB_MAY_END_SESSION))
        return true;
    size_t count = kb_proxy_list_sessions(r->http->proxy, id, &views);
    bool yes = count == 0 || may(r, KB_MAY_END_SESSION, &views[0]);
    kb_session_views_free(views, count);
    if (!yes)
        kb_reply_hidden(r, "session_not_found", "there is no such live session");
    return yes;
}

void kb_api_session_terminate(struct kb_request *r)
{
    const char *reason = NULL;
    if (!read_reason(r, &reason))
        return;
    if (!may_end(r, r->params[0]))
        return;
    struct kb_session_match match = {.id = r->params[0]};
    unsigned count = kb_proxy_terminate(r->http->proxy, &match, r->asker.actor, reason);
    if (count > 0)
        reply_terminated(r, count);
    else
        kb_reply_error(r, 404, "session_not_found", "there is no such live session");
}

/* Whoever has a scope ends, of those that match, the ones in it; the others are not there for him.
 */
static unsigned terminate(struct kb_request *r, const struct kb_session_match *match,
                          const char *reason)
{
    if (kb_access_everywhere(&r->asker.principal, KB_MAY_END_SESSION))
        return kb_proxy_terminate(r->http->proxy, match, r->asker.actor, reason);
    struct kb_session_view *views;
    size_t count = kb_proxy_list_sessions(r->http->proxy, NULL, &views);
    unsigned ended = 0;
    for (size_t i = 0; i < count; i++) {
        struct kb_session_match one = *match;
        one.id = views[i].id;
        if (may(r, KB_MAY_END_SESSION, &views[i]))
            ended += kb_proxy_terminate(r->http->proxy, &one, r->asker.actor, reason);
    }
    kb_session_views_free(views, count);
    return ended;
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
        reply_terminated(r, terminate(r, &match, reason));
}

void kb_api_console_terminate(struct kb_request *r)
{
    const char *reason = NULL;
    if (!read_reason(r, &reason))
        return;
    if (!kb_request_need_on(r, KB_MAY_END_SESSION, r->params[0], r->params[1], true))
        return;
    struct kb_session_match match = {.source = r->params[0], .uuid = r->params[1]};
    unsigned count = kb_proxy_terminate(r->http->proxy, &match, r->asker.actor, reason);
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
