/* Logging in with an OpenID Connect provider: sends the browser there, takes it back, and gives it
 * the page's cookie. What connects the two is a secret in a cookie of its own. HTTP threads; the
 * provider is asked on those of slow.c. */
#include "base/clock.h"
#include "base/log.h"
#include "http/auth.h"
#include "http/login.h"
#include "http/page.h"
#include "http/route.h"
#include "http/server.h"
#include "identity/oidc.h"
#include "identity/settings.h"

#include <sodium.h>
#include <stdio.h>

#define COOKIE "__Host-kerbside-oidc"
#define COOKIE_SECONDS 600
/* Longer than any code that a provider gave out lives: ten minutes at most (RFC 6749, 4.1.2). */
#define SPENT_MS (INT64_C(3600) * 1000)
#define BACK_MAX 150
#define CODE_MAX 4096
#define LOCATION_MAX 2000
#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

/* People come here with a browser. */
static void refuse(struct kb_request *r, unsigned status, const char *code, const char *text)
{
    if (kb_request_accepts(r, "text/html"))
        kb_page_message(r, status, "You are not logged in", text, true);
    else
        kb_reply_error(r, status, code, "%s", text);
}

static bool is_on(struct kb_request *r)
{
    if (r->options->identity && r->options->identity->oidc)
        return true;
    refuse(r, 403, "oidc_disabled", "identity.oidc is not configured here");
    return false;
}

static char *redirect_uri(const struct kb_request *r)
{
    return kb_printf("%s/api/v1/login/oidc/callback", r->options->public_url);
}

static void failed(struct kb_request *r, enum kb_provider_result result, const char *name,
                   const char *why)
{
    unsigned status;
    const char *code, *text;
    if (!kb_login_check(r, result, "oidc", name, why, &status, &code, &text))
        refuse(r, status, code, text);
}

/* --- there -------------------------------------------------------------------------------------
 */

/* A path of ours and nothing else: never a way to another site. */
static bool is_path(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~' || strchr("\\\"'<>", text[i]))
            return false;
    return len > 0 && len <= BACK_MAX && text[0] == '/' && text[1] != '/';
}

static void set_cookie(struct kb_request *r, const char *value, int seconds)
{
    kb_reply_header(r, "Set-Cookie",
                    COOKIE "=%s; Path=/; Max-Age=%d; HttpOnly; Secure; SameSite=Lax", value,
                    seconds);
}

static void begin(struct kb_request *r)
{
    struct kb_oidc_flow flow;
    struct kb_provider_call call = {.stop = &r->http->slow.stop};
    kb_auto_free char *uri = redirect_uri(r), *url = NULL;
    kb_token_create(r->login.secret);
    kb_oidc_flow_derive(r->login.secret, &flow);
    enum kb_provider_result result =
        kb_oidc_begin(r->options->identity->oidc, &flow, uri, &call, &url);
    if (result == KB_PROVIDER_OK && strlen(url) > LOCATION_MAX) {
        result = KB_PROVIDER_FAILED;
        kb_copy_str(call.why, sizeof call.why, "OIDC: the provider's address is too long");
    }
    kb_wipe(&flow, sizeof flow);
    if (result != KB_PROVIDER_OK) {
        failed(r, result, "", call.why);
        return;
    }
    char back[sodium_base64_ENCODED_LEN(BACK_MAX, VARIANT)], value[KB_TOKEN_SIZE + sizeof back];
    sodium_bin2base64(back, sizeof back, (const unsigned char *)r->login.back,
                      strlen(r->login.back), VARIANT);
    snprintf(value, sizeof value, "%s.%s", r->login.secret, back);
    set_cookie(r, value, COOKIE_SECONDS);
    kb_wipe(value, sizeof value);
    kb_reply_header(r, "Location", "%s", url);
    kb_reply_empty(r, 302);
}

void kb_api_oidc(struct kb_request *r)
{
    const char *back = kb_http_target_query(&r->target, "return");
    if (!is_on(r))
        return;
    if (back && *back && !is_path(back)) {
        refuse(r, 422, "invalid_parameter", "return must be a path of this site");
        return;
    }
    kb_copy_str(r->login.back, sizeof r->login.back, back && *back ? back : "/");
    kb_request_defer(r, begin);
}

/* --- and back ----------------------------------------------------------------------------------
 */

/* Takes secret and return path out of the cookie. */
static bool read_cookie(struct kb_request *r)
{
    const char *cookies = kb_request_header(r, "Cookie");
    struct kb_span value;
    size_t len = KB_TOKEN_SIZE - 1, n = 0;
    if (!cookies || !kb_auth_cookie(cookies, COOKIE, &value) || value.len <= len ||
        value.data[len] != '.')
        return false;
    memcpy(r->login.secret, value.data, len);
    if (sodium_base642bin((unsigned char *)r->login.back, sizeof r->login.back - 1,
                          (const char *)value.data + len + 1, value.len - len - 1, NULL, &n, NULL,
                          VARIANT) != 0)
        return false;
    r->login.back[n] = '\0';
    return is_path(r->login.back);
}

static bool is_state(struct kb_request *r)
{
    struct kb_oidc_flow flow;
    const char *state = kb_http_target_query(&r->target, "state");
    if (!state || !read_cookie(r))
        return false;
    kb_oidc_flow_derive(r->login.secret, &flow);
    struct kb_hash a = kb_hash_of(state, strlen(state));
    struct kb_hash b = kb_hash_of(flow.state, strlen(flow.state));
    kb_wipe(&flow, sizeof flow);
    return kb_hash_equal(&a, &b);
}

static void complete(struct kb_request *r)
{
    struct kb_oidc_flow flow;
    struct kb_provider_call call = {.stop = &r->http->slow.stop};
    kb_auto(kb_provider_user_finish) struct kb_provider_user user = {0};
    kb_auto_free char *uri = redirect_uri(r);
    kb_oidc_flow_derive(r->login.secret, &flow);
    enum kb_provider_result result =
        kb_oidc_complete(r->options->identity->oidc, &flow, uri, r->login.code, &call, &user);
    kb_wipe(&flow, sizeof flow);
    if (result == KB_PROVIDER_OK && !kb_login_has_role(r, "oidc", &user)) {
        result = KB_PROVIDER_NOT_ALLOWED;
        kb_copy_str(call.why, sizeof call.why, "no role is given to this user");
    }
    if (result != KB_PROVIDER_REFUSED)
        kb_login_was_good(r, NULL);
    set_cookie(r, "", 0); /* one login, one try */
    if (result != KB_PROVIDER_OK) {
        failed(r, result, user.name ? user.name : "", call.why);
        return;
    }
    char token[KB_TOKEN_SIZE];
    int64_t life;
    if (!kb_login_make(r, "oidc", &user, token, &life))
        return;
    kb_login_set_cookie(r, token, life);
    kb_wipe(token, sizeof token);
    kb_reply_header(r, "Location", "%s", r->login.back);
    kb_reply_empty(r, 303);
}

/* One login, one try, on whatever node: the browser may keep the cookie, and others may have read
 * the address with the code. False: answered. */
static bool spend_state(struct kb_request *r)
{
    const char *state = kb_http_target_query(&r->target, "state");
    struct kb_store_spend_id c = {
        .call.verb = KB_STORE_SPEND_ID,
        .kind = "oidc",
        .hash = kb_hash_of(state, strlen(state)),
        .expires_at = kb_clock_wall_ms() + SPENT_MS,
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status == KB_STORE_OK)
        return true;
    if (status == KB_STORE_FAILED) {
        kb_reply_store_failed(r);
        return false;
    }
    kb_login_failed(r, "", "oidc: this login was tried before");
    set_cookie(r, "", 0);
    refuse(r, 400, "no_such_login", "This login was used before. Please log in again.");
    return false;
}

/* What the provider says instead of a code, and what speaks for a mix-up (RFC 9207). */
static const char *find_problem(struct kb_request *r)
{
    const char *error = kb_http_target_query(&r->target, "error");
    const char *iss = kb_http_target_query(&r->target, "iss");
    if (iss && strcmp(iss, r->options->identity->config.oidc.issuer) != 0)
        return "the answer is of another issuer";
    if (error)
        return strcmp(error, "access_denied") == 0 ? "access_denied" : "the provider said no";
    if (!r->login.code || !*r->login.code || strlen(r->login.code) > CODE_MAX)
        return "there is no code";
    return NULL;
}

void kb_api_oidc_callback(struct kb_request *r)
{
    if (!is_on(r))
        return;
    if (r->head) { /* who only looks does not use the code up */
        kb_reply_empty(r, 200);
        return;
    }
    if (!is_state(r)) {
        kb_log(KB_LOG_INFO, "login.unknown_flow", KB_STR("request_id", r->id),
               KB_STR("client_address", r->client_address));
        refuse(r, 400, "no_such_login",
               "This login is too old or was begun in another browser. "
               "Please log in again.");
        return;
    }
    r->login.code = kb_http_target_query(&r->target, "code");
    if (!kb_login_may_try(r, NULL) || !spend_state(r))
        return;
    const char *problem = find_problem(r);
    if (problem) {
        kb_auto_free char *detail = kb_printf("oidc: %s", problem);
        kb_login_failed(r, "", detail);
        set_cookie(r, "", 0);
        refuse(r, 403, "login_failed", "The login was not completed. Please log in again.");
        return;
    }
    kb_request_defer(r, complete);
}
