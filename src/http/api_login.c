/* Logging in with a password or a token of Keystone's, logging out, and who one is. A password is
 * looked at here alone and never kept. HTTP threads; Keystone is asked on those of slow.c. */
#include "http/auth.h"
#include "http/login.h"
#include "http/route.h"
#include "http/server.h"
#include "identity/keystone.h"
#include "identity/settings.h"

#define NAME_MAX_BYTES 128
#define PASSWORD_MAX 1024
#define TOKEN_MAX 4096

/* --- local users -------------------------------------------------------------------------------
 */

static void login_local(struct kb_request *r, const char *password_hash)
{
    const char *name = r->login.name;
    bool good = false;
    if (password_hash)
        good = kb_password_verify(r->login.password, password_hash);
    else
        kb_password_verify_nobody(r->login.password);
    if (!good) {
        kb_login_failed(r, name, password_hash ? "wrong password" : "unknown user");
        kb_reply_error(r, 401, "login_failed", KB_LOGIN_FAILED);
        return;
    }
    kb_login_was_good(r, name);
    const struct kb_provider_user user = {.name = (char *)(uintptr_t)name};
    kb_login_reply(r, NULL, &user, r->login.as_cookie);
}

/* --- Keystone ----------------------------------------------------------------------------------
 */

static void login_keystone(struct kb_request *r)
{
    const struct kb_keystone_config *config = &r->options->identity->config.keystone;
    kb_auto(kb_provider_user_finish) struct kb_provider_user user = {0};
    struct kb_provider_call call = {.stop = &r->http->slow.stop};
    enum kb_provider_result result =
        r->login.token ? kb_keystone_token(config, r->login.token, &call, &user)
                       : kb_keystone_password(config, r->login.name, r->login.domain,
                                              r->login.password, &call, &user);
    if (result == KB_PROVIDER_OK && !kb_login_has_role(r, "keystone", &user)) {
        result = KB_PROVIDER_NOT_ALLOWED;
        kb_copy_str(call.why, sizeof call.why, "no role is given to this user");
    }
    if (result != KB_PROVIDER_REFUSED) /* that was no guess */
        kb_login_was_good(r, r->login.name);
    const char *code, *text, *name = user.name ? user.name : r->login.name ? r->login.name : "";
    unsigned status;
    if (kb_login_check(r, result, "keystone", name, call.why, &status, &code, &text))
        kb_login_reply(r, "keystone", &user, r->login.as_cookie);
    else
        kb_reply_error(r, status, code, "%s", text);
}

/* --- POST /login -------------------------------------------------------------------------------
 */

/* With a password and no method: local users first, then Keystone. */
static void login_password(struct kb_request *r, const char *method)
{
    const struct kb_identity *i = r->options->identity;
    bool keystone = i && i->config.keystone.url && (!method || strcmp(method, "keystone") == 0);
    bool local = r->options->local_logins && (!method || strcmp(method, "local") == 0);
    struct kb_store_find_user find = {.call.verb = KB_STORE_FIND_USER, .name = r->login.name};
    enum kb_store_status status = local ? kb_store_run(r->store, &find.call) : KB_STORE_NOT_FOUND;
    if (status == KB_STORE_FAILED)
        kb_reply_store_failed(r);
    else if (local && !r->login.domain && (find.row.password_hash || !keystone))
        login_local(r, find.row.password_hash);
    else if (keystone)
        kb_request_defer(r, login_keystone);
    else
        kb_reply_error(r, 422, "invalid_field", "\"domain\" is for logins with Keystone");
    kb_user_row_finish(&find.row);
}

/* What is asked for must be there, and switched on. */
static bool check_wish(struct kb_request *r, const char *method)
{
    const struct kb_identity *i = r->options->identity;
    bool keystone = i && i->config.keystone.url;
    const char *problem = NULL;
    if (method && strcmp(method, "local") != 0 && strcmp(method, "keystone") != 0)
        problem = "\"method\" must be local or keystone";
    else if (r->login.token && (r->login.name || r->login.password || r->login.domain))
        problem = "\"keystone_token\" stands alone, without a name and a password";
    else if (!r->login.token && !r->login.name)
        problem = "\"username\" is missing";
    else if (!r->login.token && !r->login.password)
        problem = "\"password\" is missing";
    bool wants_local = method && strcmp(method, "local") == 0;
    bool wants_keystone = r->login.token || (method && !wants_local);
    if (problem)
        kb_reply_error(r, 422, "invalid_field", "%s", problem);
    else if (!r->options->local_logins && (wants_local || !keystone))
        kb_reply_error(r, 403, "local_logins_disabled", "identity.local is switched off here");
    else if (!keystone && wants_keystone)
        kb_reply_error(r, 403, "keystone_disabled", "identity.keystone is not configured here");
    else
        return true;
    return false;
}

void kb_api_login(struct kb_request *r)
{
    const char *method = NULL;
    const struct kb_json_field fields[] = {
        {"username", KB_JSON_TEXT, false, NAME_MAX_BYTES, &r->login.name},
        {"password", KB_JSON_SECRET, false, PASSWORD_MAX, &r->login.password},
        {"domain", KB_JSON_TEXT, false, NAME_MAX_BYTES, &r->login.domain},
        {"keystone_token", KB_JSON_SECRET, false, TOKEN_MAX, &r->login.token},
        {"method", KB_JSON_TEXT, false, 32, &method},
        {"as_cookie", KB_JSON_BOOL, false, 0, &r->login.as_cookie},
    };
    if (!kb_request_read(r, fields, sizeof fields / sizeof *fields) || !check_wish(r, method) ||
        !kb_login_may_try(r, r->login.name))
        return;
    if (r->login.token)
        kb_request_defer(r, login_keystone);
    else
        login_password(r, method);
}

/* --- logging out, and who one is ---------------------------------------------------------------
 */

void kb_api_logout(struct kb_request *r)
{
    if (r->asker.via != KB_VIA_LOGIN && r->asker.via != KB_VIA_COOKIE) {
        kb_reply_error(r, 409, "not_a_login", "this request carries no login that could end");
        return;
    }
    struct kb_store_end_login c = {.call.verb = KB_STORE_END_LOGIN,
                                   .hash = r->asker.login,
                                   .actor = r->asker.actor,
                                   .request_id = r->id};
    if (kb_store_run(r->store, &c.call) == KB_STORE_FAILED) {
        kb_reply_store_failed(r);
        return;
    }
    if (r->asker.via == KB_VIA_COOKIE)
        kb_reply_header(r, "Set-Cookie", "%s",
                        KB_LOGIN_COOKIE "=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax");
    kb_reply_empty(r, 204);
}

void kb_api_login_methods(struct kb_request *r)
{
    const struct kb_identity *i = r->options->identity;
    kb_reply_json(r, 200,
                  json_pack("{s:b, s:b, s:b}", "local", r->options->local_logins, "keystone",
                            i && i->config.keystone.url, "oidc", i && i->config.oidc.issuer));
}

static json_t *roles_json(const struct kb_request *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->asker.principal.count; i++) {
        const struct kb_assignment *a = &r->asker.principal.assignments[i];
        json_array_append_new(
            list, json_pack("{s:s, s:o, s:o}", "role", kb_role_name(a->role), "sources",
                            kb_json_list(a->scope ? a->scope->sources : NULL), "consoles",
                            kb_json_list(a->scope ? a->scope->consoles : NULL)));
    }
    return list;
}

/* What holds for whoever opens a console here, so that a page can say it beforehand. */
static json_t *limits_json(const struct kb_http_options *o)
{
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:b}", "start_within", kb_json_duration(o->start_within),
        "exchange_within", kb_json_duration(o->exchange_within), "max_session",
        kb_json_duration(o->max_session), "idle_timeout", kb_json_duration(o->idle_timeout),
        "login_lifetime", kb_json_duration(o->login_lifetime), "reusable", o->reusable);
}

void kb_api_me(struct kb_request *r)
{
    static const char *const via[] = {"nothing", "login", "cookie", "apikey", "admin_socket"};
    static const char *const actions[KB_ACTIONS] = {
        [KB_MAY_LIST_CONSOLES] = "list_consoles",
        [KB_MAY_OPEN_CONSOLE] = "open_console",
        [KB_MAY_GRANT_FOR_OTHERS] = "grant_for_others",
        [KB_MAY_LIST_GRANTS] = "list_grants",
        [KB_MAY_LIST_SOURCES] = "list_sources",
        [KB_MAY_LIST_SESSIONS] = "list_sessions",
        [KB_MAY_END_SESSION] = "end_session",
        [KB_MAY_READ_AUDIT] = "read_audit",
        [KB_MAY_MANAGE_USERS] = "manage_users",
        [KB_MAY_OPEN_DIRECT] = "open_direct",
        [KB_MAY_REGISTER] = "register",
    };
    json_t *may = json_array();
    for (int a = 0; a < KB_ACTIONS; a++)
        if (kb_request_may(r, (enum kb_action)a))
            json_array_append_new(may, json_string(actions[a]));
    const struct kb_login_row *login = &r->asker.login_row;
    json_t *me =
        json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "name",
                  kb_json_text(r->asker.name), "role", kb_role_name(r->asker.role), "via",
                  via[r->asker.via], "provider", kb_json_text(login->provider), "groups",
                  kb_json_list(login->groups), "roles", roles_json(r), "may", may, "expires_at",
                  kb_json_time(r->asker.expires_at), "csrf_token", kb_json_text(r->asker.csrf));
    json_object_set_new(me, "version", kb_json_text(r->options->version));
    json_object_set_new(me, "node", kb_json_text(r->options->node));
    json_object_set_new(me, "limits", limits_json(r->options));
    kb_reply_json(r, 200, me);
}
