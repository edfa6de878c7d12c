/* Logins that live: one's own, and, for admins, everybody's; and their end. HTTP threads. */
#include "http/route.h"

static json_t *login_json(const struct kb_request *r, const struct kb_login_row *l)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:b}", "id", l->id, "user",
                     kb_json_text(l->user), "provider", kb_json_text(l->provider), "client_address",
                     kb_json_text(l->client_address), "created_at", kb_json_time(l->created_at),
                     "expires_at", kb_json_time(l->expires_at), "current",
                     strcmp(l->id, r->asker.login_row.id) == 0);
}

/* Whose logins the asker may see and end: NULL, everybody's. False: answered. */
static bool whose(struct kb_request *r, const char **user)
{
    *user = kb_http_target_query(&r->target, "user");
    if (*user && !**user)
        *user = NULL;
    if (kb_request_may(r, KB_MAY_MANAGE_USERS))
        return true;
    bool own = r->asker.via == KB_VIA_LOGIN || r->asker.via == KB_VIA_COOKIE;
    if (!own || (*user && strcmp(*user, r->asker.name) != 0)) {
        kb_reply_error(r, 403, "forbidden", "only admins see logins of others");
        return false;
    }
    *user = r->asker.name;
    return true;
}

void kb_api_logins(struct kb_request *r)
{
    struct kb_store_list_logins c = {.call.verb = KB_STORE_LIST_LOGINS};
    if (!whose(r, &c.user))
        return;
    if (kb_store_run(r->store, &c.call) != KB_STORE_OK) {
        kb_reply_store_failed(r);
    } else {
        json_t *items = json_array();
        for (size_t i = 0; i < c.count; i++)
            json_array_append_new(items, login_json(r, &c.rows[i]));
        kb_reply_list(r, items, NULL);
    }
    kb_store_list_logins_finish(&c);
}

static void end_logins(struct kb_request *r, const char *id, const char *user)
{
    struct kb_store_end_logins c = {
        .call.verb = KB_STORE_END_LOGINS,
        .id = id,
        .user = user,
        .actor = r->asker.actor,
        .request_id = r->id,
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status == KB_STORE_FAILED)
        kb_reply_store_failed(r);
    else if (id && status == KB_STORE_NOT_FOUND)
        kb_reply_error(r, 404, "login_not_found", "there is no such login");
    else
        kb_reply_json(r, 200, json_pack("{s:i}", "ended", (int)c.ended));
}

void kb_api_login_end(struct kb_request *r)
{
    const char *user;
    if (whose(r, &user))
        end_logins(r, r->params[0], user);
}

void kb_api_logins_end(struct kb_request *r)
{
    const char *user;
    if (!whose(r, &user))
        return;
    if (!user)
        kb_reply_error(r, 422, "invalid_parameter", "user must say whose logins to end");
    else
        end_logins(r, NULL, user);
}
