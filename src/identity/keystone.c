/* Keystone v3: logs users in and reads their groups. Blocks; a login worker's thread. The calls are
 * POST and GET /v3/auth/tokens and GET /v3/users/{id}/groups of the Identity API v3; the last two
 * are a user's own right by Keystone's default policy. */
#include "identity/keystone.h"

#include "base/fetch.h"
#include "base/log.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdio.h>
#include <time.h>

#define TOKEN_MAX 4096
#define DEADLINE_MS 10000

bool kb_keystone_admits(const struct kb_keystone_config *c, const char *groups)
{
    return !c->access_group || kb_access_listed(groups, c->access_group) ||
           (c->admin_group && kb_access_listed(groups, c->admin_group));
}

enum kb_role kb_keystone_role(const struct kb_keystone_config *c, const char *groups,
                              bool has_rules)
{
    if (c->admin_group && kb_access_listed(groups, c->admin_group))
        return KB_ROLE_ADMIN;
    if (!has_rules && c->access_group && kb_access_listed(groups, c->access_group))
        return KB_ROLE_USER;
    return KB_ROLE_NONE;
}

__attribute__((format(printf, 3, 4))) static enum kb_provider_result
say(struct kb_provider_call *call, enum kb_provider_result result, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(call->why, sizeof call->why, format, args);
    va_end(args);
    return result;
}

/* --- requests --------------------------------------------------------------------------------- */

static char *url_of(const struct kb_keystone_config *c, const char *path)
{
    size_t len = strlen(c->url);
    if (len > 3 && strcmp(c->url + len - 3, "/v3") == 0)
        len -= 3;
    return kb_printf("%.*s/v3%s", (int)len, c->url, path);
}

/* Keystone's own words for an error, {"error": {"message": ...}}, else none. */
static const char *message_of(json_t *body)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(body, "error"), "message"));
    return text ? text : "";
}

/* The answer as JSON if it has the status, else NULL and *result. refused: the statuses that mean
 * that the user or the token is none. */
static json_t *ask(const struct kb_keystone_config *c, struct kb_fetch *f, long good,
                   const char *what, bool not_found_refuses, struct kb_provider_call *call,
                   enum kb_provider_result *result)
{
    f->ca_pem = c->ca;
    f->no_verify = !c->verify;
    f->deadline = DEADLINE_MS;
    f->stop = call->stop;
    *result = KB_PROVIDER_OK;
    if (!kb_fetch_run(f)) {
        *result = say(call, KB_PROVIDER_FAILED, "Keystone, %s: %s", what, f->error);
        return NULL;
    }
    json_t *body = json_loadb((const char *)f->answer.data, f->answer.len, 0, NULL);
    if (f->status == good && json_is_object(body))
        return body;
    if (f->status == 401 || (f->status == 404 && not_found_refuses))
        *result = say(call, KB_PROVIDER_REFUSED, "Keystone refused it");
    else if (f->status == good)
        *result = say(call, KB_PROVIDER_FAILED, "Keystone, %s: the answer is no JSON", what);
    else
        *result = say(call, KB_PROVIDER_FAILED, "Keystone, %s: status %ld %.150s", what, f->status,
                      message_of(body));
    json_decref(body);
    return NULL;
}

/* --- what it says of a user ------------------------------------------------------------------- */

static bool is_id(const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return text && *text && strlen(text) <= 64 && !text[strspn(text, plain)];
}

/* "2026-11-20T18:52:29.000000Z" */
static bool read_time(const char *text, int64_t *wall_ms)
{
    struct tm tm = {0};
    const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (rest && *rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (!rest || strcmp(rest, "Z") != 0)
        return false;
    *wall_ms = (int64_t)timegm(&tm) * 1000;
    return true;
}

/* body: what both calls on tokens answer. */
static enum kb_provider_result read_user(const struct kb_keystone_config *c, json_t *body,
                                         struct kb_provider_call *call,
                                         struct kb_provider_user *user, const char **id)
{
    json_t *token = json_object_get(body, "token"), *u = json_object_get(token, "user");
    json_t *domain = json_object_get(u, "domain");
    const char *name = json_string_value(json_object_get(u, "name"));
    const char *domain_id = json_string_value(json_object_get(domain, "id"));
    const char *domain_name = json_string_value(json_object_get(domain, "name"));
    *id = json_string_value(json_object_get(u, "id"));
    if (!is_id(*id) || !name || !domain_id || !domain_name ||
        !read_time(json_string_value(json_object_get(token, "expires_at")), &user->expires_at))
        return say(call, KB_PROVIDER_FAILED, "Keystone's token lacks its user or its expiry");
    if (!kb_provider_is_name(name) || !kb_provider_is_name(domain_name))
        return say(call, KB_PROVIDER_NOT_ALLOWED, "the name of the user or the domain has : or /");
    user->name = strcmp(domain_id, c->domain) == 0 ? kb_printf("keystone:%s", name)
                                                   : kb_printf("keystone:%s/%s", domain_name, name);
    user->alias = kb_printf("keystone-id:%s", *id);
    return KB_PROVIDER_OK;
}

static enum kb_provider_result read_groups(const struct kb_keystone_config *c, json_t *body,
                                           struct kb_provider_call *call,
                                           struct kb_provider_user *user)
{
    json_t *list = json_object_get(body, "groups"), *group;
    kb_auto(kb_buf_finish) struct kb_buf groups = {0};
    size_t i;
    if (!json_is_array(list))
        return say(call, KB_PROVIDER_FAILED, "Keystone's list of groups is none");
    json_array_foreach(list, i, group)
    {
        const char *name = json_string_value(json_object_get(group, "name"));
        const char *domain = json_string_value(json_object_get(group, "domain_id"));
        if (!name || !domain || strchr(name, '/') || !is_id(domain))
            continue;
        kb_auto_free char *whole =
            strcmp(domain, c->domain) == 0 ? kb_strdup(name) : kb_printf("%s/%s", domain, name);
        kb_provider_add_group(&groups, whole);
    }
    user->groups = kb_buf_steal(&groups);
    return KB_PROVIDER_OK;
}

/* body has the user; token is his own. */
static enum kb_provider_result finish_user(const struct kb_keystone_config *c, json_t *body,
                                           const char *token, struct kb_provider_call *call,
                                           struct kb_provider_user *user)
{
    const char *id;
    enum kb_provider_result result = read_user(c, body, call, user, &id);
    if (result != KB_PROVIDER_OK)
        return result;
    kb_auto_free char *path = kb_printf("/users/%s/groups", id);
    kb_auto_free char *url = url_of(c, path);
    char *header = kb_printf("X-Auth-Token: %s", token);
    kb_auto(kb_fetch_finish) struct kb_fetch f = {.url = url,
                                                  .headers = (const char *const[]){header, NULL}};
    json_auto_t *list = ask(c, &f, 200, "groups", false, call, &result);
    kb_wipe(header, strlen(header));
    free(header);
    if (f.status == 403)
        return say(call, KB_PROVIDER_FAILED,
                   "Keystone does not let users list their own groups (403); its policy "
                   "identity:list_groups_for_user must");
    if (!list)
        return result;
    result = read_groups(c, list, call, user);
    if (result == KB_PROVIDER_OK && !kb_keystone_admits(c, user->groups))
        return say(call, KB_PROVIDER_NOT_ALLOWED, "the user is not in the access group");
    return result;
}

/* --- the two ways in -------------------------------------------------------------------------- */

static bool is_token(const char *token)
{
    size_t len = token ? strlen(token) : 0;
    for (size_t i = 0; i < len; i++)
        if (token[i] <= ' ' || token[i] > '~')
            return false;
    return len > 0 && len <= TOKEN_MAX;
}

static char *password_body(const struct kb_keystone_config *c, const char *name, const char *domain,
                           const char *password)
{
    json_auto_t *body =
        json_pack("{s:{s:{s:[s], s:{s:{s:s, s:s, s:{s:s}}}}}}", "auth", "identity", "methods",
                  "password", "password", "user", "name", name, "password", password, "domain",
                  domain ? "name" : "id", domain ? domain : c->domain);
    return body ? json_dumps(body, JSON_COMPACT) : NULL;
}

static void free_json(char *text)
{
    if (!text)
        return;
    kb_wipe(text, strlen(text));
    json_free_t give_back;
    json_get_alloc_funcs(NULL, &give_back);
    give_back(text);
}

enum kb_provider_result kb_keystone_password(const struct kb_keystone_config *c, const char *name,
                                             const char *domain, const char *password,
                                             struct kb_provider_call *call,
                                             struct kb_provider_user *user)
{
    *user = (struct kb_provider_user){0};
    call->why[0] = '\0';
    char *body = password_body(c, name, domain, password);
    if (!body)
        return say(call, KB_PROVIDER_REFUSED, "the name or the password is not UTF-8");
    enum kb_provider_result result;
    kb_auto_free char *url = url_of(c, "/auth/tokens");
    kb_auto(kb_fetch_finish) struct kb_fetch f = {
        .url = url,
        .headers = (const char *const[]){"Content-Type: application/json", NULL},
        .body = body,
        .wanted = "X-Subject-Token",
    };
    json_auto_t *answer = ask(c, &f, 201, "login", false, call, &result);
    free_json(body);
    if (!answer)
        return result;
    if (!is_token(f.header))
        return say(call, KB_PROVIDER_FAILED, "Keystone's answer has no X-Subject-Token");
    result = finish_user(c, answer, f.header, call, user);
    user->expires_at = 0; /* the password could get another token at any time */
    return result;
}

enum kb_provider_result kb_keystone_token(const struct kb_keystone_config *c, const char *token,
                                          struct kb_provider_call *call,
                                          struct kb_provider_user *user)
{
    *user = (struct kb_provider_user){0};
    call->why[0] = '\0';
    if (!is_token(token))
        return say(call, KB_PROVIDER_REFUSED, "that is no token");
    enum kb_provider_result result;
    kb_auto_free char *url = url_of(c, "/auth/tokens");
    char *auth = kb_printf("X-Auth-Token: %s", token);
    char *subject = kb_printf("X-Subject-Token: %s", token);
    kb_auto(kb_fetch_finish) struct kb_fetch f = {
        .url = url, .headers = (const char *const[]){auth, subject, NULL}};
    json_auto_t *answer = ask(c, &f, 200, "token", true, call, &result);
    kb_wipe(auth, strlen(auth));
    kb_wipe(subject, strlen(subject));
    free(auth);
    free(subject);
    return answer ? finish_user(c, answer, token, call, user) : result;
}
