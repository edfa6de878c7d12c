/* Lists the sources and how they are, lists one again, tries one. HTTP threads, which wait for the
 * sources thread; what waits for a cloud is done on the threads for slow work. */
#include "http/access.h"
#include "http/route.h"
#include "http/server.h"

#include <strings.h>

static json_t *source_json(const struct kb_source_view *v)
{
    return json_pack(
        "{s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "source", kb_json_text(v->name), "type",
        kb_json_text(v->type), "state",
        v->pending        ? "pending"
        : !v->stale_since ? "ok"
        : v->last_good    ? "stale"
                          : "failed",
        "error", kb_json_text(v->error), "last_good", kb_json_time(v->last_good), "stale_since",
        kb_json_time(v->stale_since), "refreshed_at", kb_json_time(v->refreshed_at), "refresh_took",
        v->refreshed_at ? kb_json_duration((v->refresh_took + 999) / 1000) : json_null(),
        "consoles", kb_json_uint(v->consoles));
}

static bool may_see(const struct kb_request *r, const char *source)
{
    return kb_access_source(&r->asker.principal, KB_MAY_LIST_SOURCES, source);
}

/* There are few sources and they come in the order of the configuration: one page holds them all.
 */
void kb_api_sources(struct kb_request *r)
{
    struct kb_page page;
    if (!kb_request_page(r, "source", &page))
        return;
    if (page.cursor) {
        kb_reply_no_page(r, KB_STORE_NOT_FOUND);
        return;
    }
    struct kb_source_view *views;
    size_t count = kb_sources_list(r->http->sources, &views);
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++)
        if (may_see(r, views[i].name) && (!page.q || strcasestr(views[i].name, page.q)))
            json_array_append_new(items, source_json(&views[i]));
    kb_source_views_free(views, count);
    kb_reply_list(r, items, NULL);
}

void kb_api_source(struct kb_request *r)
{
    struct kb_source_view *views;
    size_t count = kb_sources_list(r->http->sources, &views);
    for (size_t i = 0; i < count && !r->status; i++)
        if (strcmp(views[i].name, r->params[0]) != 0)
            continue;
        else if (may_see(r, views[i].name))
            kb_reply_json(r, 200, source_json(&views[i]));
        else
            kb_reply_hidden(r, "source_not_found", "there is no such source");
    kb_source_views_free(views, count);
    if (!r->status)
        kb_reply_error(r, 404, "source_not_found", "there is no such source");
}

/* --- what waits for a cloud ------------------------------------------------------------------- */

static void refresh(struct kb_request *r)
{
    struct kb_source_view *view;
    size_t count = kb_sources_refresh(r->http->sources, r->params[0], &view);
    if (count)
        kb_reply_json(r, 200, source_json(view));
    else
        kb_reply_error(r, 404, "source_not_found", "there is no such source");
    kb_source_views_free(view, count);
    kb_request_done_few(r);
}

static json_t *step_json(const struct kb_check_step *s)
{
    return json_pack("{s:s, s:s, s:f, s:o, s:o}", "step", s->step, "result",
                     s->ok ? "ok" : "failed", "ms", (double)s->us / 1000, "detail",
                     kb_json_text(s->detail), "advice",
                     kb_json_text(*s->advice ? s->advice : NULL));
}

static void check(struct kb_request *r)
{
    struct kb_check c;
    if (kb_source_check(r->http->sources, r->params[0], &c)) {
        json_t *steps = json_array();
        for (size_t i = 0; i < c.count; i++)
            json_array_append_new(steps, step_json(&c.steps[i]));
        bool ok = c.count && c.steps[c.count - 1].ok;
        kb_reply_json(
            r, 200, json_pack("{s:s, s:b, s:o}", "source", r->params[0], "ok", ok, "steps", steps));
    } else {
        kb_reply_error(r, 404, "source_not_found", "there is no such source");
    }
    kb_request_done_few(r);
}

void kb_api_source_refresh(struct kb_request *r)
{
    if (!kb_request_read(r, NULL, 0))
        return;
    if (!may_see(r, r->params[0]))
        kb_api_source(r); /* knows whether that is a 403 or a 404 */
    else
        kb_request_defer_few(r, "too_many_refreshes", "refreshes", refresh);
}

void kb_api_source_check(struct kb_request *r)
{
    if (!kb_request_read(r, NULL, 0))
        return;
    if (!may_see(r, r->params[0]))
        kb_api_source(r);
    else
        kb_request_defer_few(r, "too_many_checks", "checks", check);
}
