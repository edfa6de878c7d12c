/* Local users, for admins. Passwords are hashed here, on an HTTP thread: it takes a tenth of a
 * second and 64 MiB by design. */
#include "http/route.h"

#include <string.h>

#define NAME_MAX_BYTES 128
#define PASSWORD_MIN 8
#define PASSWORD_MAX 1024

static json_t *user_json(const struct kb_user_row *u)
{
    return json_pack("{s:o, s:o, s:o}", "name", kb_json_text(u->name), "role",
                     kb_json_text(u->role), "created_at", kb_json_time(u->created_at));
}

void kb_api_users(struct kb_request *r)
{
    struct kb_store_list_users c = {.call.verb = KB_STORE_LIST_USERS};
    if (kb_store_run(r->store, &c.call) != KB_STORE_OK) {
        kb_reply_store_failed(r);
    } else {
        json_t *items = json_array();
        for (size_t i = 0; i < c.count; i++)
            json_array_append_new(items, user_json(&c.rows[i]));
        kb_reply_list(r, items, NULL);
    }
    kb_store_list_users_finish(&c);
}

/* The audit writes "apikey:nova" and "admin-socket" where a user's name may stand; and a slash
 * would make the user's own URL awkward. */
static bool is_user_name(const char *name)
{
    return !strpbrk(name, ":/") && strcmp(name, "admin-socket") != 0;
}

static bool check_role(struct kb_request *r, const char *role)
{
    if (kb_role_parse(role) != KB_ROLE_NONE || strcmp(role, "none") == 0)
        return true;
    kb_reply_error(r, 422, "invalid_field",
                   "\"role\" must be admin, operator, auditor, broker, user, agent or none");
    return false;
}

static bool check_password(struct kb_request *r, const char *password)
{
    if (strlen(password) >= PASSWORD_MIN)
        return true;
    kb_reply_error(r, 422, "invalid_field", "\"password\" needs %d characters at least",
                   PASSWORD_MIN);
    return false;
}

static bool hash_password(struct kb_request *r, const char *password,
                          char hash[KB_PASSWORD_HASH_SIZE])
{
    if (kb_password_hash(password, hash))
        return true;
    kb_reply_error(r, 503, "out_of_memory", "there is no memory to hash a password right now");
    return false;
}

void kb_api_user_add(struct kb_request *r)
{
    const char *name = NULL, *role = NULL, *password = NULL;
    const struct kb_json_field fields[] = {
        {"name", KB_JSON_TEXT, true, NAME_MAX_BYTES, &name},
        {"role", KB_JSON_TEXT, true, 32, &role},
        {"password", KB_JSON_SECRET, true, PASSWORD_MAX, &password},
    };
    char hash[KB_PASSWORD_HASH_SIZE];
    if (!kb_request_read(r, fields, 3))
        return;
    if (!is_user_name(name)) {
        kb_reply_error(r, 422, "invalid_field", "\"name\" may not hold : or /");
        return;
    }
    if (!check_role(r, role) || !check_password(r, password) || !hash_password(r, password, hash))
        return;
    struct kb_store_put_user c = {
        .call.verb = KB_STORE_PUT_USER,
        .name = name,
        .role = role,
        .password_hash = hash,
        .actor = r->asker.actor,
        .request_id = r->id,
        .client_address = r->client_address,
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    kb_wipe(hash, sizeof hash);
    if (status == KB_STORE_OK)
        kb_reply_json(r, 201, json_pack("{s:s, s:s}", "name", name, "role", role));
    else if (status == KB_STORE_CONFLICT)
        kb_reply_error(r, 409, "user_exists", "there is a user of this name already");
    else
        kb_reply_store_failed(r);
}

static void reply_changed(struct kb_request *r, enum kb_store_status status)
{
    if (status == KB_STORE_OK)
        kb_reply_empty(r, 204);
    else if (status == KB_STORE_NOT_FOUND)
        kb_reply_error(r, 404, "user_not_found", "there is no such user");
    else if (status == KB_STORE_CONFLICT)
        kb_reply_error(r, 409, "last_admin",
                       "this is the last user with the role admin: give that role to another user "
                       "first, or use the command kerbside on the server itself");
    else
        kb_reply_store_failed(r);
}

/* Nobody can lock everybody out from afar. Whoever has the admin socket needs no user. */
static bool must_keep_admin(const struct kb_request *r)
{
    return r->asker.via != KB_VIA_ADMIN_SOCKET;
}

void kb_api_user_remove(struct kb_request *r)
{
    struct kb_store_remove_user c = {
        .call.verb = KB_STORE_REMOVE_USER,
        .name = r->params[0],
        .actor = r->asker.actor,
        .request_id = r->id,
        .client_address = r->client_address,
        .keep_admin = must_keep_admin(r),
    };
    reply_changed(r, kb_store_run(r->store, &c.call));
}

/* Logins that live have the new role with their next request: they look it up each time. */
void kb_api_user_change(struct kb_request *r)
{
    const char *role = NULL;
    const struct kb_json_field fields[] = {{"role", KB_JSON_TEXT, true, 32, &role}};
    if (!kb_request_read(r, fields, 1) || !check_role(r, role))
        return;
    struct kb_store_put_user c = {
        .call.verb = KB_STORE_PUT_USER,
        .name = r->params[0],
        .role = role,
        .actor = r->asker.actor,
        .request_id = r->id,
        .client_address = r->client_address,
        .replace = true,
        .keep_admin = must_keep_admin(r),
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status == KB_STORE_OK)
        kb_reply_json(r, 200, json_pack("{s:s, s:s}", "name", c.name, "role", role));
    else
        reply_changed(r, status);
}

void kb_api_user_password(struct kb_request *r)
{
    const char *password = NULL;
    const struct kb_json_field fields[] = {
        {"password", KB_JSON_SECRET, true, PASSWORD_MAX, &password},
    };
    char hash[KB_PASSWORD_HASH_SIZE];
    if (!kb_request_read(r, fields, 1) || !check_password(r, password) ||
        !hash_password(r, password, hash))
        return;
    struct kb_store_put_user c = {
        .call.verb = KB_STORE_PUT_USER,
        .name = r->params[0],
        .password_hash = hash,
        .actor = r->asker.actor,
        .request_id = r->id,
        .client_address = r->client_address,
        .replace = true,
    };
    reply_changed(r, kb_store_run(r->store, &c.call));
    kb_wipe(hash, sizeof hash);
}
