/* Asks kb_access_may on behalf of handlers. HTTP threads; the filter runs on the store's. */
#include "http/access.h"

bool kb_request_may_at(const struct kb_request *r, enum kb_action a, const char *source,
                       const char *uuid, const char *name, const char *owner)
{
    const struct kb_access_console c = {source, uuid, name, owner};
    return kb_access_may(&r->asker.principal, a, &c);
}

bool kb_request_may_on(const struct kb_request *r, enum kb_action a,
                       const struct kb_console_row *row)
{
    const struct kb_access_console c = {row->source, row->uuid, row->name, row->owner};
    return kb_access_may(&r->asker.principal, a, &c);
}

void kb_reply_hidden(struct kb_request *r, const char *code, const char *text)
{
    if (kb_access_may_know(&r->asker.principal))
        kb_reply_error(r, 403, "forbidden", "your roles do not allow this here");
    else
        kb_reply_error(r, 404, code, "%s", text);
}

bool kb_request_need_on(struct kb_request *r, enum kb_action a, const char *source,
                        const char *uuid, bool gone_is_fine)
{
    if (kb_access_everywhere(&r->asker.principal, a))
        return true;
    struct kb_store_get_console c = {
        .call.verb = KB_STORE_GET_CONSOLE, .source = source, .uuid = uuid};
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    bool allowed = false;
    if (status == KB_STORE_FAILED)
        kb_reply_store_failed(r);
    else if (status != KB_STORE_OK)
        allowed = gone_is_fine && kb_request_may_at(r, a, source, uuid, NULL, NULL);
    else
        allowed = kb_request_may_on(r, a, &c.row);
    if (allowed || r->status)
        ;
    else if (status != KB_STORE_OK)
        kb_reply_error(r, 404, "console_not_found", "there is no such console");
    else if (kb_request_may_on(r, KB_MAY_LIST_CONSOLES, &c.row))
        kb_reply_error(r, 403, "forbidden", "your roles do not allow this here");
    else
        kb_reply_hidden(r, "console_not_found", "there is no such console");
    kb_console_row_finish(&c.row);
    return allowed;
}

static bool wants(const void *who, const struct kb_store_place *place)
{
    const struct kb_request_view *view = who;
    const struct kb_access_console c = {place->source, place->uuid, place->name, place->owner};
    return kb_access_may(&view->r->asker.principal, view->action, &c);
}

struct kb_store_filter kb_request_filter(const struct kb_request *r, enum kb_action a,
                                         struct kb_request_view *view)
{
    *view = (struct kb_request_view){r, a};
    if (kb_access_everywhere(&r->asker.principal, a))
        return (struct kb_store_filter){0};
    return (struct kb_store_filter){wants, view};
}
