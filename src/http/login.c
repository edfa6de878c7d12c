/* The shared part of all ways to log in. A login is a token of which the store has the hash. HTTP
 * threads and those of slow.c. */
#include "http/login.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/auth.h"
#include "http/server.h"
#include "http/text.h"

#include <stdio.h>

static void audit_login(struct kb_request *r, const char *event, const char *name,
                        const char *detail)
{
    struct kb_audit_event e;
    kb_request_audit_init(r, &e, event);
    kb_copy_str(e.actor, sizeof e.actor, name);
    kb_copy_str(e.user, sizeof e.user, name);
    kb_copy_str(e.detail, sizeof e.detail, detail);
    kb_store_audit(r->store, &e);
}

void kb_login_failed(struct kb_request *r, const char *name, const char *detail)
{
    audit_login(r, "login.failed", name, detail);
}

/* --- the limit ---------------------------------------------------------------------------------
 */

bool kb_login_may_try(struct kb_request *r, const char *name)
{
    struct kb_limit *limit = &r->http->login_failures;
    char address[64];
    kb_address_group(r->client_address, address);
    int64_t now = (int64_t)(kb_clock_us() / 1000);
    int64_t wait = kb_limit_take(limit, "address", address, now);
    bool address_had_enough = wait > 0;
    if (wait == 0 && name) {
        wait = kb_limit_take(limit, "name", name, now);
        if (wait > 0)
            kb_limit_give_back(limit, "address", address);
    }
    if (wait == 0)
        return true;
    /* Who tries name after name is one event, as long as it is the address that has had enough. */
    kb_auto_free char *who = kb_printf("%s %s", address, address_had_enough || !name ? "" : name);
    if (kb_auth_audits_refusal(r, "login", who))
        audit_login(r, "login.limited", name,
                    address_had_enough ? "too many failures from the address"
                                       : "too many failures for the name");
    else
        kb_log(KB_LOG_WARNING, "login.limited", KB_STR("request_id", r->id),
               KB_STR("client_address", r->client_address));
    kb_reply_header(r, "Retry-After", "%d", (int)((wait + 999) / 1000));
    kb_reply_error(r, 429, "too_many_failures", "too many failed logins; try again in %d seconds",
                   (int)((wait + 999) / 1000));
    return false;
}

void kb_login_was_good(struct kb_request *r, const char *name)
{
    char address[64];
    kb_address_group(r->client_address, address);
    kb_limit_give_back(&r->http->login_failures, "address", address);
    if (name)
        kb_limit_give_back(&r->http->login_failures, "name", name);
}

/* --- the login ---------------------------------------------------------------------------------
 */

bool kb_login_make(struct kb_request *r, const char *provider, const struct kb_provider_user *user,
                   char token[KB_TOKEN_SIZE], int64_t *life)
{
    int64_t now = kb_clock_wall_ms();
    *life = r->options->login_lifetime;
    if (user->expires_at && user->expires_at - now < *life)
        *life = user->expires_at - now;
    kb_token_create(token);
    struct kb_store_create_login c = {
        .call.verb = KB_STORE_CREATE_LOGIN,
        .hash = kb_hash_of(token, strlen(token)),
        .user = user->name,
        .provider = provider,
        .alias = user->alias,
        .groups = user->groups,
        .client_address = r->client_address,
        .expires_at = now + *life,
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status == KB_STORE_OK) {
        audit_login(r, "login.ok", user->name, provider ? provider : "");
        return true;
    }
    kb_wipe(token, KB_TOKEN_SIZE);
    if (status == KB_STORE_NOT_FOUND) /* removed since the password was looked at */
        kb_reply_error(r, 401, "login_failed", KB_LOGIN_FAILED);
    else
        kb_reply_store_failed(r);
    return false;
}

void kb_login_set_cookie(struct kb_request *r, const char *token, int64_t life)
{
    kb_reply_header(r, "Set-Cookie",
                    KB_LOGIN_COOKIE "=%s; Path=/; Max-Age=%lld; HttpOnly; Secure; SameSite=Lax",
                    token, (long long)(life / 1000));
}

void kb_login_reply(struct kb_request *r, const char *provider, const struct kb_provider_user *user,
                    bool as_cookie)
{
    char token[KB_TOKEN_SIZE];
    int64_t life;
    if (!kb_login_make(r, provider, user, token, &life))
        return;
    if (as_cookie) {
        char csrf[2 * KB_HASH_SIZE + 1];
        kb_auth_csrf(kb_span_str(token), csrf);
        kb_login_set_cookie(r, token, life);
        kb_reply_json(
            r, 200,
            json_pack("{s:s, s:I}", "csrf_token", csrf, "expires_in", (json_int_t)(life / 1000)));
    } else {
        kb_reply_json(r, 200,
                      json_pack("{s:s, s:s, s:I}", "access_token", token, "token_type", "Bearer",
                                "expires_in", (json_int_t)(life / 1000)));
    }
    kb_wipe(token, sizeof token);
}

bool kb_login_has_role(struct kb_request *r, const char *provider,
                       const struct kb_provider_user *user)
{
    struct kb_principal p = {.name = user->name, .alias = user->alias, .groups = user->groups};
    kb_auth_assign(r->options->identity, provider, &p);
    bool yes = p.count > 0;
    kb_principal_finish(&p);
    return yes;
}

bool kb_login_check(struct kb_request *r, enum kb_provider_result result, const char *provider,
                    const char *name, const char *why, unsigned *status, const char **code,
                    const char **text)
{
    if (result == KB_PROVIDER_OK)
        return true;
    kb_auto_free char *detail = kb_printf("%s: %s", provider, why);
    kb_login_failed(r, name, detail);
    if (result == KB_PROVIDER_REFUSED) {
        *status = 401;
        *code = "login_failed";
        *text = *name ? KB_LOGIN_FAILED : "the token is not valid";
    } else if (result == KB_PROVIDER_NOT_ALLOWED) {
        *status = 403;
        *code = "not_allowed";
        *text = "this user may not log in here";
    } else {
        kb_log(KB_LOG_WARNING, "login.provider_failed", KB_STR("request_id", r->id),
               KB_STR("provider", provider), KB_STR("detail", why));
        *status = 503;
        *code = "provider_failed";
        *text = "who knows this user cannot be asked right now; kerbside's log says why";
    }
    return false;
}
