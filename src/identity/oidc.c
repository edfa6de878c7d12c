/* An OpenID Connect provider: discovery, keys, the two steps of a login. Blocks; a login worker's
 * thread. The lock is held while the provider's documents are fetched: whoever comes meanwhile
 * needs them too. */
#include "identity/oidc.h"

#include "base/clock.h"
#include "base/fetch.h"
#include "base/mem.h"
#include "identity/jwt.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define DEADLINE_MS 10000
#define KEEP_MS (10 * 60 * 1000) /* discovery and keys */
#define RETRY_MS 3000            /* after a failure, everybody is told the same for so long */
#define NEW_KEY_MS 30000         /* between two looks for a key that a token names */
#define TOKEN_MAX 65536

struct kb_oidc {
    const struct kb_oidc_config *config;
    pthread_mutex_t lock;
    char *authorization_endpoint, *token_endpoint, *jwks_uri;
    bool post_secret; /* the secret goes into the form, not into a header */
    struct kb_jwt_keys *keys;
    int64_t found_at, keys_at, failed_at, looked_at; /* ms, steady; 0: never */
    char failed_why[256];
};

struct kb_oidc *kb_oidc_create(const struct kb_oidc_config *config)
{
    struct kb_oidc *o = kb_zalloc(sizeof *o);
    o->config = config;
    pthread_mutex_init(&o->lock, NULL);
    return o;
}

static void forget(struct kb_oidc *o)
{
    free(o->authorization_endpoint);
    free(o->token_endpoint);
    free(o->jwks_uri);
    o->authorization_endpoint = o->token_endpoint = o->jwks_uri = NULL;
}

void kb_oidc_destroy(struct kb_oidc *o)
{
    if (!o)
        return;
    forget(o);
    kb_jwt_keys_destroy(o->keys);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

static int64_t steady_ms(void)
{
    return (int64_t)(kb_clock_us() / 1000) + 1; /* never 0 */
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

/* --- the flow's texts --------------------------------------------------------------------------
 */

static void encode(struct kb_hash h, char text[KB_OIDC_TEXT])
{
    sodium_bin2base64(text, KB_OIDC_TEXT, h.bytes, KB_HASH_SIZE,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static void derive(const char *what, const char *secret, char text[KB_OIDC_TEXT])
{
    char *whole = kb_printf("kerbside oidc %s %s", what, secret);
    encode(kb_hash_of(whole, strlen(whole)), text);
    kb_wipe(whole, strlen(whole));
    free(whole);
}

void kb_oidc_flow_derive(const char *secret, struct kb_oidc_flow *f)
{
    derive("state", secret, f->state);
    derive("nonce", secret, f->nonce);
    derive("verifier", secret, f->verifier);
    encode(kb_hash_of(f->verifier, strlen(f->verifier)), f->challenge);
}

/* --- the provider's documents ------------------------------------------------------------------
 */

static json_t *fetch_json(const struct kb_oidc *o, const char *url, const char *what,
                          struct kb_provider_call *call)
{
    kb_auto(kb_fetch_finish) struct kb_fetch f = {
        .url = url, .ca_pem = o->config->ca, .deadline = DEADLINE_MS, .stop = call->stop};
    if (!kb_fetch_run(&f)) {
        say(call, KB_PROVIDER_FAILED, "OIDC, %s: %s", what, f.error);
        return NULL;
    }
    json_t *body = f.status == 200 ? json_loadb((const char *)f.answer.data, f.answer.len,
                                                JSON_REJECT_DUPLICATES, NULL)
                                   : NULL;
    if (!json_is_object(body)) {
        say(call, KB_PROVIDER_FAILED, "OIDC, %s: status %ld, %s", what, f.status,
            f.status == 200 ? "but no JSON" : "not 200");
        json_decref(body);
        return NULL;
    }
    return body;
}

static bool is_https(const char *url)
{
    return url && strncmp(url, "https://", 8) == 0;
}

/* RFC 6749, 2.3.1: Basic unless the provider says that it knows something else only. */
static bool wants_post(json_t *document)
{
    json_t *methods = json_object_get(document, "token_endpoint_auth_methods_supported"), *m;
    bool basic = !json_is_array(methods), post = false;
    size_t i;
    json_array_foreach(methods, i, m)
    {
        const char *name = json_string_value(m);
        basic = basic || (name && strcmp(name, "client_secret_basic") == 0);
        post = post || (name && strcmp(name, "client_secret_post") == 0);
    }
    return post && !basic;
}

static bool read_document(struct kb_oidc *o, json_t *d, struct kb_provider_call *call)
{
    const char *issuer = json_string_value(json_object_get(d, "issuer"));
    const char *authorize = json_string_value(json_object_get(d, "authorization_endpoint"));
    const char *token = json_string_value(json_object_get(d, "token_endpoint"));
    const char *keys = json_string_value(json_object_get(d, "jwks_uri"));
    if (!issuer || strcmp(issuer, o->config->issuer) != 0) {
        say(call, KB_PROVIDER_FAILED, "OIDC: the provider calls itself %.120s, not as configured",
            issuer ? issuer : "nothing");
        return false;
    }
    if (!is_https(authorize) || !is_https(token) || !is_https(keys)) {
        say(call, KB_PROVIDER_FAILED, "OIDC: the discovery document lacks an https endpoint");
        return false;
    }
    forget(o);
    o->authorization_endpoint = kb_strdup(authorize);
    o->token_endpoint = kb_strdup(token);
    o->jwks_uri = kb_strdup(keys);
    o->post_secret = wants_post(d);
    return true;
}

static bool discover(struct kb_oidc *o, struct kb_provider_call *call)
{
    size_t len = strlen(o->config->issuer);
    len -= o->config->issuer[len - 1] == '/';
    kb_auto_free char *url =
        kb_printf("%.*s/.well-known/openid-configuration", (int)len, o->config->issuer);
    json_auto_t *d = fetch_json(o, url, "discovery", call);
    return d && read_document(o, d, call);
}

static bool fetch_keys(struct kb_oidc *o, struct kb_provider_call *call)
{
    json_auto_t *set = fetch_json(o, o->jwks_uri, "keys", call);
    char *text = set ? json_dumps(set, JSON_COMPACT) : NULL;
    struct kb_jwt_keys *keys = text ? kb_jwt_keys_parse(kb_span_str(text)) : NULL;
    json_free_t give_back;
    json_get_alloc_funcs(NULL, &give_back);
    give_back(text);
    if (!keys) {
        if (set)
            say(call, KB_PROVIDER_FAILED, "OIDC: the keys are no JWK set");
        return false;
    }
    kb_jwt_keys_destroy(o->keys);
    o->keys = keys;
    o->keys_at = steady_ms();
    return true;
}

/* Documents that are not too old. A failure is remembered for a moment, so that many who wait for a
 * provider that is gone do not wait one after the other. */
static bool refresh(struct kb_oidc *o, bool with_keys, struct kb_provider_call *call)
{
    int64_t now = steady_ms();
    if (o->failed_at && now - o->failed_at < RETRY_MS) {
        kb_copy_str(call->why, sizeof call->why, o->failed_why);
        return false;
    }
    bool good = true;
    if (!o->found_at || now - o->found_at > KEEP_MS) {
        good = discover(o, call);
        o->found_at = good ? steady_ms() : o->found_at;
    }
    if (good && with_keys && (!o->keys || now - o->keys_at > KEEP_MS))
        good = fetch_keys(o, call);
    o->failed_at = good ? 0 : steady_ms();
    kb_copy_str(o->failed_why, sizeof o->failed_why, good ? "" : call->why);
    return good;
}

/* --- there -------------------------------------------------------------------------------------
 */

static void add_parameter(struct kb_buf *b, const char *name, const char *value)
{
    kb_auto_free char *text = kb_fetch_escape(value);
    kb_buf_printf(b, "%s%s=%s", b->len ? "&" : "", name, text);
    kb_wipe(text, strlen(text));
}

enum kb_provider_result kb_oidc_begin(struct kb_oidc *o, const struct kb_oidc_flow *f,
                                      const char *redirect_uri, struct kb_provider_call *call,
                                      char **url)
{
    call->why[0] = '\0';
    *url = NULL;
    kb_auto(kb_buf_finish) struct kb_buf q = {0};
    add_parameter(&q, "response_type", "code");
    add_parameter(&q, "client_id", o->config->client_id);
    add_parameter(&q, "redirect_uri", redirect_uri);
    add_parameter(&q, "scope", o->config->scopes);
    add_parameter(&q, "state", f->state);
    add_parameter(&q, "nonce", f->nonce);
    add_parameter(&q, "code_challenge", f->challenge);
    add_parameter(&q, "code_challenge_method", "S256");
    pthread_mutex_lock(&o->lock);
    bool good = refresh(o, false, call);
    if (good)
        *url = kb_printf("%s%s%.*s", o->authorization_endpoint,
                         strchr(o->authorization_endpoint, '?') ? "&" : "?", (int)q.len,
                         (const char *)q.data);
    pthread_mutex_unlock(&o->lock);
    return good ? KB_PROVIDER_OK : KB_PROVIDER_FAILED;
}

/* --- and back ----------------------------------------------------------------------------------
 */

/* Where the code goes; a copy, so that no lock is held while the provider answers. */
struct token_call {
    char *endpoint;
    bool post_secret;
};

static char *token_form(const struct kb_oidc *o, const struct kb_oidc_flow *f,
                        const char *redirect_uri, const char *code, bool post_secret)
{
    struct kb_buf b = {0};
    kb_buf_reserve(&b, 8192); /* so that growing leaves no copy */
    add_parameter(&b, "grant_type", "authorization_code");
    add_parameter(&b, "code", code);
    add_parameter(&b, "redirect_uri", redirect_uri);
    add_parameter(&b, "code_verifier", f->verifier);
    add_parameter(&b, "client_id", o->config->client_id);
    if (post_secret)
        add_parameter(&b, "client_secret", kb_secret_text(&o->config->client_secret));
    return kb_buf_steal(&b);
}

/* The provider's answer to a code, as JSON. */
static json_t *trade(struct kb_oidc *o, const struct token_call *t, const char *form,
                     struct kb_provider_call *call, enum kb_provider_result *result)
{
    bool secret = o->config->client_secret.text && !t->post_secret;
    char *user = secret ? kb_fetch_escape(o->config->client_id) : NULL;
    char *password = secret ? kb_fetch_escape(kb_secret_text(&o->config->client_secret)) : NULL;
    kb_auto(kb_fetch_finish) struct kb_fetch f = {
        .url = t->endpoint,
        .headers = (const char *const[]){"Content-Type: application/x-www-form-urlencoded",
                                         "Accept: application/json", NULL},
        .body = form,
        .user = user,
        .password = password,
        .ca_pem = o->config->ca,
        .deadline = DEADLINE_MS,
        .stop = call->stop,
    };
    bool came = kb_fetch_run(&f);
    json_t *body = came ? json_loadb((const char *)f.answer.data, f.answer.len, 0, NULL) : NULL;
    const char *error = json_string_value(json_object_get(body, "error"));
    *result = KB_PROVIDER_OK;
    if (!came)
        *result = say(call, KB_PROVIDER_FAILED, "OIDC, token: %s", f.error);
    else if (f.status == 400 && error && strcmp(error, "invalid_grant") == 0)
        *result = say(call, KB_PROVIDER_REFUSED, "OIDC: the provider refused the code");
    else if (f.status != 200 || !json_is_object(body))
        *result = say(call, KB_PROVIDER_FAILED, "OIDC, token: status %ld %.100s", f.status,
                      error ? error : "");
    if (password)
        kb_wipe(password, strlen(password));
    free(password);
    free(user);
    if (*result == KB_PROVIDER_OK)
        return body;
    json_decref(body);
    return NULL;
}

/* Whether it is time to look for a new key. */
static bool may_look(struct kb_oidc *o)
{
    int64_t now = steady_ms();
    if (o->looked_at && now - o->looked_at < NEW_KEY_MS)
        return false;
    o->looked_at = now;
    return true;
}

static enum kb_provider_result check_token(struct kb_oidc *o, const struct kb_oidc_flow *f,
                                           const char *token, struct kb_provider_call *call,
                                           json_t **claims)
{
    const struct kb_jwt_expected expected = {
        .issuer = o->config->issuer,
        .client_id = o->config->client_id,
        .nonce = f->nonce,
        .now = kb_clock_wall_ms() / 1000,
    };
    char why[256] = "";
    enum kb_jwt_result result = KB_JWT_BAD;
    pthread_mutex_lock(&o->lock);
    bool good = refresh(o, true, call);
    if (good)
        result = kb_jwt_check(o->keys, token, &expected, claims, why);
    if (good && result == KB_JWT_NO_KEY && may_look(o) && (good = fetch_keys(o, call)))
        result = kb_jwt_check(o->keys, token, &expected, claims, why);
    pthread_mutex_unlock(&o->lock);
    if (!good)
        return KB_PROVIDER_FAILED;
    return result == KB_JWT_OK ? KB_PROVIDER_OK : say(call, KB_PROVIDER_REFUSED, "OIDC: %s", why);
}

/* A claim by its whole name, or "a.b", b inside a. */
static json_t *claim(json_t *claims, const char *path)
{
    json_t *found = json_object_get(claims, path);
    const char *dot = strchr(path, '.');
    if (found || !dot)
        return found;
    kb_auto_free char *first = kb_printf("%.*s", (int)(dot - path), path);
    return claim(json_object_get(claims, first), dot + 1);
}

static enum kb_provider_result read_user(const struct kb_oidc *o, json_t *claims,
                                         struct kb_provider_call *call,
                                         struct kb_provider_user *user)
{
    const char *name = json_string_value(claim(claims, o->config->name_claim));
    const char *sub = json_string_value(json_object_get(claims, "sub"));
    json_t *list = claim(claims, o->config->groups_claim), *one;
    if (!name)
        return say(call, KB_PROVIDER_NOT_ALLOWED,
                   "the ID token has no claim %.60s to name the user", o->config->name_claim);
    if (!kb_provider_is_name(name))
        return say(call, KB_PROVIDER_NOT_ALLOWED, "the user's name has : or / or is too long");
    kb_auto(kb_buf_finish) struct kb_buf groups = {0};
    size_t i;
    if (json_is_string(list))
        kb_provider_add_group(&groups, json_string_value(list));
    json_array_foreach(list, i, one) if (json_is_string(one))
        kb_provider_add_group(&groups, json_string_value(one));
    user->name = kb_printf("oidc:%s", name);
    user->groups = kb_buf_steal(&groups);
    if (kb_provider_is_line(sub))
        user->alias = kb_printf("oidc-sub:%s", sub);
    return KB_PROVIDER_OK;
}

enum kb_provider_result kb_oidc_complete(struct kb_oidc *o, const struct kb_oidc_flow *f,
                                         const char *redirect_uri, const char *code,
                                         struct kb_provider_call *call,
                                         struct kb_provider_user *user)
{
    *user = (struct kb_provider_user){0};
    call->why[0] = '\0';
    pthread_mutex_lock(&o->lock);
    bool good = refresh(o, false, call);
    struct token_call t = {kb_strdup(good ? o->token_endpoint : NULL), o->post_secret};
    pthread_mutex_unlock(&o->lock);
    if (!good)
        return KB_PROVIDER_FAILED;
    bool in_form = t.post_secret && o->config->client_secret.text;
    char *form = token_form(o, f, redirect_uri, code, in_form);
    enum kb_provider_result result;
    json_auto_t *answer = trade(o, &t, form, call, &result);
    kb_wipe(form, strlen(form));
    free(form);
    free(t.endpoint);
    if (!answer)
        return result;
    const char *token = json_string_value(json_object_get(answer, "id_token"));
    if (!token || strlen(token) > TOKEN_MAX)
        return say(call, KB_PROVIDER_FAILED, "OIDC: the provider gave no ID token");
    json_t *claims = NULL;
    result = check_token(o, f, token, call, &claims);
    if (result == KB_PROVIDER_OK)
        result = read_user(o, claims, call, user);
    json_decref(claims);
    return result;
}
