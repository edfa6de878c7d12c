/* API keys, for admins. The key itself is shown once, when it is made. HTTP threads. */
#include "base/clock.h"
#include "http/route.h"
#include "identity/cidr.h"

static json_t *apikey_json(const struct kb_apikey_row *k)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", k->id, "name",
                     kb_json_text(k->name), "role", kb_json_text(k->role), "created_by",
                     kb_json_text(k->created_by), "created_at", kb_json_time(k->created_at),
                     "expires_at", kb_json_time(k->expires_at), "revoked_at",
                     kb_json_time(k->revoked_at), "cidrs", kb_json_list(k->cidrs), "sources",
                     kb_json_list(k->sources), "consoles", kb_json_list(k->consoles));
}

void kb_api_apikeys(struct kb_request *r)
{
    struct kb_store_list_apikeys c = {.call.verb = KB_STORE_LIST_APIKEYS};
    if (kb_store_run(r->store, &c.call) != KB_STORE_OK) {
        kb_reply_store_failed(r);
    } else {
        json_t *items = json_array();
        for (size_t i = 0; i < c.count; i++)
            json_array_append_new(items, apikey_json(&c.rows[i]));
        kb_reply_list(r, items, NULL);
    }
    kb_store_list_apikeys_finish(&c);
}

static bool are_networks(const char *list)
{
    kb_auto_free char *copy = kb_strdup(list);
    char *rest = copy;
    for (char *one; (one = strsep(&rest, "\n"));)
        if (!kb_cidr_valid(one))
            return false;
    return true;
}

static const char *find_problem(const char *role, const char *cidrs, int64_t expires_at)
{
    if (kb_role_parse(role) == KB_ROLE_NONE && strcmp(role, "none") != 0)
        return "\"role\" must be admin, operator, auditor, broker, user, agent or none";
    if (expires_at && expires_at <= kb_clock_wall_ms())
        return "\"expires_at\" is over already";
    if (!are_networks(cidrs))
        return "\"cidrs\" must be networks such as 192.0.2.0/24 or 2001:db8::/32";
    return NULL;
}

void kb_api_apikey_create(struct kb_request *r)
{
    const char *name = NULL, *role = NULL;
    kb_auto_free char *cidrs = NULL, *sources = NULL, *consoles = NULL;
    int64_t expires_at = 0, expires_in = 0;
    const struct kb_json_field fields[] = {
        {"name", KB_JSON_TEXT, true, 128, &name},
        {"role", KB_JSON_TEXT, true, 32, &role},
        {"expires_at", KB_JSON_TIME, false, 0, &expires_at},
        {"expires_in", KB_JSON_DURATION, false, 0, &expires_in},
        {"cidrs", KB_JSON_TEXTS, false, 63, &cidrs},
        {"sources", KB_JSON_TEXTS, false, 255, &sources},
        {"consoles", KB_JSON_TEXTS, false, 255, &consoles},
    };
    if (!kb_request_read(r, fields, sizeof fields / sizeof *fields))
        return;
    if (expires_in)
        expires_at = kb_clock_wall_ms() + expires_in;
    const char *problem = find_problem(role, cidrs, expires_at);
    if (problem) {
        kb_reply_error(r, 422, "invalid_field", "%s", problem);
        return;
    }
    char key[KB_APIKEY_SIZE];
    kb_apikey_create(key);
    struct kb_store_create_apikey c = {
        .call.verb = KB_STORE_CREATE_APIKEY,
        .name = name,
        .role = role,
        .cidrs = cidrs,
        .sources = sources,
        .consoles = consoles,
        .created_by = r->asker.actor,
        .hash = kb_hash_of(key, strlen(key)),
        .expires_at = expires_at,
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status == KB_STORE_OK)
        kb_reply_json(r, 201,
                      json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "id", c.id, "key", key,
                                "name", name, "role", role, "expires_at", kb_json_time(expires_at),
                                "cidrs", kb_json_list(cidrs), "sources", kb_json_list(sources),
                                "consoles", kb_json_list(consoles)));
    else if (status == KB_STORE_CONFLICT)
        kb_reply_error(r, 409, "apikey_exists", "there is an API key of this name already");
    else
        kb_reply_store_failed(r);
    kb_wipe(key, sizeof key);
}

void kb_api_apikey_revoke(struct kb_request *r)
{
    struct kb_store_revoke_apikey c = {
        .call.verb = KB_STORE_REVOKE_APIKEY, .id = r->params[0], .actor = r->asker.actor};
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status == KB_STORE_OK)
        kb_reply_empty(r, 204);
    else if (status == KB_STORE_FAILED)
        kb_reply_store_failed(r);
    else
        kb_reply_error(r, 404, "apikey_not_found", "there is no such API key");
}
