/* Makes, lists and revokes grants. A grant's secret leaves here once: as the password in the .vv,
 * or as the exchange token in a URL. HTTP threads. */
#include "base/clock.h"
#include "http/access.h"
#include "http/policies.h"
#include "http/route.h"
#include "http/text.h"
#include "http/vv_file.h"
#include "http/vv_reply.h"

#define USER_MAX 200

/* What the body asks for, with the configuration's values for what it does not mention. */
struct wish {
    const char *user, *client_address, *policy;
    char policies[KB_POLICY_NAMES_MAX]; /* all that the grant is to carry */
    int64_t start_within, max_session;
    bool reusable;
    char address[64];
};

static struct wish default_wish(const struct kb_request *r)
{
    return (struct wish){
        .user = r->asker.name,
        .start_within = r->options->start_within,
        .max_session = r->options->max_session,
        .reusable = r->options->reusable,
    };
}

static bool read_wish(struct kb_request *r, struct wish *w)
{
    const struct kb_json_field fields[] = {
        {"user", KB_JSON_TEXT, false, USER_MAX, &w->user},
        {"start_within", KB_JSON_DURATION, false, 0, &w->start_within},
        {"max_session", KB_JSON_DURATION, false, 0, &w->max_session},
        {"reusable", KB_JSON_BOOL, false, 0, &w->reusable},
        {"client_address", KB_JSON_TEXT, false, 63, &w->client_address},
        {"policy", KB_JSON_TEXT, false, 63, &w->policy},
    };
    *w = default_wish(r);
    if (!kb_request_read(r, fields, sizeof fields / sizeof *fields))
        return false;
    const char *problem = NULL;
    if (w->start_within == 0)
        problem = "\"start_within\" must be longer than 0";
    else if (w->client_address && !kb_address_normalize(w->client_address, w->address))
        problem = "\"client_address\" must be an IPv4 or IPv6 address";
    else if (w->policy && !kb_policy_book_find(r->options->policies, w->policy))
        problem = "\"policy\" names no policy of this daemon";
    if (problem)
        kb_reply_error(r, 422, "invalid_field", "%s", problem);
    return !problem;
}

/* Who may only open consoles gets a grant for himself, and nothing wider than configured. */
static bool may_have(struct kb_request *r, const struct wish *w, enum kb_action as)
{
    if (as == KB_MAY_GRANT_FOR_OTHERS)
        return true;
    const char *what = NULL;
    if (strcmp(w->user, r->asker.name) != 0)
        what = "make grants for others";
    else if (w->start_within > r->options->start_within)
        what = "ask for a longer start_within than is configured";
    else if (r->options->max_session &&
             (!w->max_session || w->max_session > r->options->max_session))
        what = "ask for a longer max_session than is configured";
    else if (w->reusable && !r->options->reusable)
        what = "ask for a reusable grant";
    if (what)
        kb_reply_error(r, 403, "forbidden", "the role %s may not %s", kb_role_name(r->asker.role),
                       what);
    return !what;
}

static char *console_name(struct kb_request *r, const char *source, const char *uuid)
{
    struct kb_store_get_console c = {
        .call.verb = KB_STORE_GET_CONSOLE, .source = source, .uuid = uuid};
    kb_store_run(r->store, &c.call);
    char *name = kb_strdup(c.row.name);
    kb_console_row_finish(&c.row);
    return name;
}

static void reply_grant(struct kb_request *r, const struct kb_grant_row *row, unsigned file_status,
                        bool exchange, const char *token)
{
    if (!exchange) {
        /* The name is for the window's title; a grant without one is still good. */
        kb_auto_free char *name = console_name(r, row->source, row->uuid);
        kb_reply_header(r, "X-Grant-Id", "%s", row->id);
        kb_reply_vv(r, file_status, name, row, token);
        return;
    }
    char *url = kb_printf("%s/vv/%s.vv", r->options->public_url, token);
    kb_reply_json(r, 201,
                  json_pack("{s:s, s:o, s:s, s:s}", "grant_id", row->id, "expires_at",
                            kb_json_time(row->expires_at), "exchange_url", url, "vv_url", url));
    kb_wipe(url, strlen(url));
    free(url);
}

/* The policies of whom it is for, of who makes it, and the one that was asked for. False: answered.
 */
static bool find_policies(struct kb_request *r, struct wish *w)
{
    struct kb_store_get_console c = {
        .call.verb = KB_STORE_GET_CONSOLE, .source = r->params[0], .uuid = r->params[1]};
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    bool ok = false;
    if (status == KB_STORE_FAILED)
        kb_reply_store_failed(r);
    else if (status != KB_STORE_OK)
        kb_reply_error(r, 404, "console_not_found", "there is no such console");
    else
        ok = kb_request_grant_policies(r, w->user, w->policy, &c.row, w->policies);
    kb_console_row_finish(&c.row);
    return ok;
}

/* By which of his roles the asker opens this console. False: answered. */
static bool find_right(struct kb_request *r, enum kb_action *as)
{
    const char *source = r->params[0], *uuid = r->params[1];
    *as = KB_MAY_GRANT_FOR_OTHERS;
    if (kb_access_everywhere(&r->asker.principal, *as))
        return true;
    *as = KB_MAY_OPEN_CONSOLE;
    if (kb_request_may(r, KB_MAY_GRANT_FOR_OTHERS)) {
        struct kb_store_get_console c = {
            .call.verb = KB_STORE_GET_CONSOLE, .source = source, .uuid = uuid};
        if (kb_store_run(r->store, &c.call) == KB_STORE_OK &&
            kb_request_may_on(r, KB_MAY_GRANT_FOR_OTHERS, &c.row))
            *as = KB_MAY_GRANT_FOR_OTHERS;
        kb_console_row_finish(&c.row);
    }
    return *as == KB_MAY_GRANT_FOR_OTHERS || kb_request_need_on(r, *as, source, uuid, false);
}

/* file_status: of an answer that is the file itself. */
static void create(struct kb_request *r, const struct wish *w, unsigned file_status, bool exchange)
{
    char token[KB_TOKEN_SIZE];
    kb_token_create(token);
    struct kb_store_create_grant c = {
        .call.verb = KB_STORE_CREATE_GRANT,
        .source = r->params[0],
        .uuid = r->params[1],
        .user = w->user,
        .created_by = r->asker.actor,
        .client_address = w->client_address ? w->address : NULL,
        .policy = *w->policies ? w->policies : NULL,
        .request_id = r->id,
        .hash = kb_hash_of(token, strlen(token)),
        .exchange = exchange,
        .reusable = w->reusable,
        .start_within = w->start_within,
        .exchange_within = r->options->exchange_within,
        .max_session = w->max_session,
        .idle_timeout = r->options->idle_timeout,
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status == KB_STORE_OK)
        reply_grant(r, &c.row, file_status, exchange, token);
    else if (status == KB_STORE_NOT_FOUND)
        kb_reply_error(r, 404, "console_not_found", "there is no such console");
    else
        kb_reply_store_failed(r);
    kb_wipe(token, sizeof token);
    kb_grant_row_finish(&c.row);
}

void kb_api_grant_create(struct kb_request *r)
{
    struct wish w = {0};
    enum kb_action as;
    if (read_wish(r, &w) && find_right(r, &as) && may_have(r, &w, as) && find_policies(r, &w))
        create(r, &w, 201, !kb_request_accepts(r, "application/x-virt-viewer"));
}

/* As upstream Kerbside has it: a URL that is the file, for oneself. Who only looks gets no
 * grant. */
void kb_api_console_proxy(struct kb_request *r)
{
    struct wish w = default_wish(r);
    if (!kb_request_need_on(r, KB_MAY_OPEN_CONSOLE, r->params[0], r->params[1], false))
        return;
    if (r->head)
        kb_reply_text(r, 200, KB_VV_CONTENT_TYPE, "");
    else if (find_policies(r, &w))
        create(r, &w, 200, false);
}

static json_t *grant_json(const struct kb_grant_row *g)
{
    int64_t now = kb_clock_wall_ms();
    const char *state = g->revoked_at                                             ? "revoked"
                        : g->redeemed_at && !(g->reusable && g->expires_at > now) ? "redeemed"
                        : g->expires_at <= now                                    ? "expired"
                                                                                  : "open";
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}",
                     "id", g->id, "state", state, "source", kb_json_text(g->source), "uuid",
                     kb_json_text(g->uuid), "user", kb_json_text(g->user), "created_by",
                     kb_json_text(g->created_by), "client_address", kb_json_text(g->client_address),
                     "policy", kb_json_text(g->policy), "created_at", kb_json_time(g->created_at),
                     "expires_at", kb_json_time(g->expires_at), "redeemed_at",
                     kb_json_time(g->redeemed_at), "revoked_at", kb_json_time(g->revoked_at),
                     "max_session", kb_json_duration(g->max_session), "idle_timeout",
                     kb_json_duration(g->idle_timeout), "reusable", g->reusable);
}

/* A broker sees and revokes what it made itself. */
static const char *own(const struct kb_request *r)
{
    return kb_request_may(r, KB_MAY_LIST_GRANTS) ? NULL : r->asker.actor;
}

/* An operator sees those on his consoles; what one has made oneself needs no leave. */
static struct kb_store_filter visible(const struct kb_request *r, struct kb_request_view *view)
{
    if (own(r))
        return (struct kb_store_filter){0};
    return kb_request_filter(r, KB_MAY_LIST_GRANTS, view);
}

void kb_api_grants(struct kb_request *r)
{
    struct kb_page page;
    if (!kb_request_page(r, "-created_at", &page))
        return;
    struct kb_request_view view;
    struct kb_store_list_grants c = {
        .call.verb = KB_STORE_LIST_GRANTS,
        .created_by = own(r),
        .after = page.cursor,
        .limit = page.limit,
        .filter = visible(r, &view),
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status != KB_STORE_OK) {
        kb_reply_no_page(r, status);
    } else {
        json_t *items = json_array();
        for (size_t i = 0; i < c.count; i++)
            json_array_append_new(items, grant_json(&c.rows[i]));
        kb_reply_list(r, items, c.next);
    }
    kb_store_list_grants_finish(&c);
}

void kb_api_grant_revoke(struct kb_request *r)
{
    struct kb_request_view view;
    struct kb_store_revoke_grant c = {
        .call.verb = KB_STORE_REVOKE_GRANT,
        .filter = visible(r, &view),
        .id = r->params[0],
        .created_by = own(r),
        .actor = r->asker.actor,
        .request_id = r->id,
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status == KB_STORE_OK)
        kb_reply_empty(r, 204);
    else if (status == KB_STORE_FAILED)
        kb_reply_store_failed(r);
    else if (c.unwanted)
        kb_reply_hidden(r, "grant_not_found", "there is no such grant");
    else
        kb_reply_error(r, 404, "grant_not_found", "there is no such grant");
}
