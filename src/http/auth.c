/* Finds out who is asking. Does not decide what they may do: that is the route table's and
 * kb_role_may's. HTTP threads; may block on the store. */
#include "http/auth.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/server.h"
#include "http/text.h"
#include "identity/cidr.h"
#include "identity/keystone.h"
#include "identity/settings.h"

#include <stdio.h>
#include <strings.h>

/* More than any token of ours has. */
#define TOKEN_MAX 256

bool kb_auth_bearer(const char *authorization, struct kb_span *token)
{
    if (strncasecmp(authorization, "Bearer ", 7) != 0)
        return false;
    const char *start = authorization + 7;
    start += strspn(start, " ");
    size_t len = strcspn(start, " \t,");
    if (len == 0 || len > TOKEN_MAX || start[len + strspn(start + len, " ")])
        return false;
    *token = kb_span(start, len);
    return true;
}

bool kb_auth_cookie(const char *cookies, const char *name, struct kb_span *value)
{
    size_t name_len = strlen(name);
    while (*cookies) {
        cookies += strspn(cookies, "; \t");
        size_t len = strcspn(cookies, ";");
        if (len > name_len && cookies[name_len] == '=' && strncmp(cookies, name, name_len) == 0) {
            const char *start = cookies + name_len + 1;
            size_t value_len = strcspn(start, "; \t");
            if (value_len == 0 || value_len > TOKEN_MAX)
                return false;
            *value = kb_span(start, value_len);
            return true;
        }
        cookies += len;
    }
    return false;
}

void kb_auth_csrf(struct kb_span login_token, char csrf[2 * KB_HASH_SIZE + 1])
{
    char text[32 + TOKEN_MAX];
    int n = snprintf(text, sizeof text, "kerbside csrf %.*s", (int)login_token.len,
                     (const char *)login_token.data);
    struct kb_hash h = kb_hash_of(text, (size_t)n);
    kb_wipe(text, sizeof text);
    for (size_t i = 0; i < KB_HASH_SIZE; i++)
        snprintf(csrf + 2 * i, 3, "%02x", h.bytes[i]);
}

static bool refuse(struct kb_request *r, const char *code, const char *text)
{
    kb_reply_header(r, "WWW-Authenticate", "Bearer realm=\"kerbside\"");
    kb_reply_error(r, 401, code, "%s", text);
    return false;
}

void kb_auth_assign(const struct kb_identity *i, const char *provider, struct kb_principal *p)
{
    if (!i)
        return;
    const struct kb_identity_config *c = &i->config;
    if (strcmp(provider, "keystone") == 0)
        kb_principal_assign(p, kb_keystone_role(&c->keystone, p->groups, c->rule_count), NULL);
    kb_principal_apply(p, c->rules, c->rule_count);
}

static void apply_rules(struct kb_request *r, const char *provider)
{
    kb_auth_assign(r->options->identity, provider, &r->asker.principal);
    r->asker.role = kb_principal_role(&r->asker.principal);
}

bool kb_auth_audits_refusal(struct kb_request *r, const char *what, const char *who)
{
    return kb_limit_take(&r->http->refusals, what, who, (int64_t)(kb_clock_us() / 1000)) == 0;
}

static void audit_refused_key(struct kb_request *r, const struct kb_apikey_row *row)
{
    kb_auto_free char *who = kb_printf("%s %s", row->id, r->client_address);
    if (!kb_auth_audits_refusal(r, "apikey", who)) {
        kb_log(KB_LOG_WARNING, "apikey.refused", KB_STR("request_id", r->id),
               KB_STR("apikey", row->id), KB_STR("client_address", r->client_address));
        return;
    }
    struct kb_audit_event e;
    kb_request_audit_init(r, &e, "apikey.refused");
    snprintf(e.actor, sizeof e.actor, "apikey:%s", row->name);
    snprintf(e.detail, sizeof e.detail, "%s may not be used from this address", row->id);
    kb_store_audit(r->store, &e);
}

static bool take_apikey(struct kb_request *r, struct kb_apikey_row *row)
{
    struct kb_asker *a = &r->asker;
    if (*row->cidrs && !kb_cidr_match(row->cidrs, r->client_address)) {
        audit_refused_key(r, row);
        return refuse(r, "apikey_address", "the API key may not be used from this address");
    }
    a->via = KB_VIA_APIKEY;
    kb_copy_str(a->name, sizeof a->name, row->name);
    snprintf(a->actor, sizeof a->actor, "apikey:%s", a->name);
    a->expires_at = row->expires_at;
    a->key_row = *row;
    *row = (struct kb_apikey_row){0};
    a->key_scope = (struct kb_scope){a->key_row.sources, a->key_row.consoles};
    a->principal.name = a->actor;
    kb_principal_assign(&a->principal, kb_role_parse(a->key_row.role), &a->key_scope);
    apply_rules(r, "");
    return true;
}

static bool ask_apikey(struct kb_request *r, struct kb_span key)
{
    struct kb_store_find_apikey c = {.call.verb = KB_STORE_FIND_APIKEY,
                                     .hash = kb_hash_of(key.data, key.len)};
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    bool good = false;
    if (status == KB_STORE_FAILED)
        kb_reply_store_failed(r);
    else if (status != KB_STORE_OK)
        refuse(r, "unknown_apikey", "the API key is unknown, revoked or expired");
    else
        good = take_apikey(r, &c.row);
    kb_apikey_row_finish(&c.row);
    return good;
}

static void take_login(struct kb_request *r, struct kb_store_find_login *c)
{
    struct kb_asker *a = &r->asker;
    a->via = KB_VIA_LOGIN;
    a->login_row = c->row;
    c->row = (struct kb_login_row){0};
    kb_copy_str(a->name, sizeof a->name, a->login_row.user);
    kb_copy_str(a->actor, sizeof a->actor, a->login_row.user);
    a->login = c->hash;
    a->expires_at = a->login_row.expires_at;
    a->principal.name = a->name;
    a->principal.alias = a->login_row.alias;
    a->principal.groups = a->login_row.groups;
    kb_principal_assign(&a->principal, kb_role_parse(a->login_row.role), NULL);
    apply_rules(r, a->login_row.provider);
}

static bool ask_login(struct kb_request *r, struct kb_span token)
{
    struct kb_store_find_login c = {.call.verb = KB_STORE_FIND_LOGIN,
                                    .hash = kb_hash_of(token.data, token.len)};
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status == KB_STORE_OK)
        take_login(r, &c);
    else if (status == KB_STORE_FAILED)
        kb_reply_store_failed(r);
    else
        refuse(r, "unknown_login", "the login is unknown or has expired; log in again");
    kb_login_row_finish(&c.row);
    return status == KB_STORE_OK;
}

static bool changes_state(const struct kb_request *r)
{
    return strcmp(r->method, "GET") != 0 && !r->head;
}

static bool ask_cookie(struct kb_request *r, struct kb_span token)
{
    if (!ask_login(r, token))
        return false;
    r->asker.via = KB_VIA_COOKIE;
    kb_auth_csrf(token, r->asker.csrf);
    if (!changes_state(r))
        return true;
    const char *given = kb_request_header(r, "X-CSRF-Token");
    struct kb_hash want = kb_hash_of(r->asker.csrf, strlen(r->asker.csrf));
    struct kb_hash have = given ? kb_hash_of(given, strlen(given)) : (struct kb_hash){0};
    if (given && kb_hash_equal(&want, &have))
        return true;
    kb_reply_error(
        r, 403, "csrf_failed",
        "with the cookie, X-CSRF-Token must be the csrf_token of the login or of /api/v1/me");
    return false;
}

static bool find_asker(struct kb_request *r)
{
    const char *authorization = kb_request_header(r, "Authorization");
    const char *cookies = kb_request_header(r, "Cookie");
    struct kb_span token;
    if (authorization) {
        if (!kb_auth_bearer(authorization, &token))
            return refuse(r, "bad_authorization", "Authorization must be Bearer and a token");
        char text[TOKEN_MAX + 1];
        memcpy(text, token.data, token.len);
        text[token.len] = '\0';
        bool is_key = kb_apikey_looks_like(text);
        kb_wipe(text, sizeof text);
        return is_key ? ask_apikey(r, token) : ask_login(r, token);
    }
    if (cookies && kb_auth_cookie(cookies, KB_LOGIN_COOKIE, &token))
        return ask_cookie(r, token);
    return refuse(r, "not_logged_in", "log in, or send an API key");
}

bool kb_auth_request(struct kb_request *r)
{
    if (r->door == KB_DOOR_ADMIN) {
        r->asker = (struct kb_asker){.role = KB_ROLE_ADMIN, .via = KB_VIA_ADMIN_SOCKET};
        kb_copy_str(r->asker.name, sizeof r->asker.name, "admin-socket");
        kb_copy_str(r->asker.actor, sizeof r->asker.actor, "admin-socket");
        r->asker.principal.name = r->asker.name;
        kb_principal_assign(&r->asker.principal, KB_ROLE_ADMIN, NULL);
        return true;
    }
    if (!find_asker(r))
        return false;
    if (r->asker.role == KB_ROLE_NONE) {
        kb_reply_error(r, 403, "forbidden", "this account has no role");
        return false;
    }
    return true;
}

void kb_auth_finish(struct kb_asker *a)
{
    kb_principal_finish(&a->principal);
    kb_login_row_finish(&a->login_row);
    kb_apikey_row_finish(&a->key_row);
    kb_wipe(a, sizeof *a);
}
