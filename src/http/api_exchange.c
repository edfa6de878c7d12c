/* Trades the tokens that clouds give their users (Nova's, Shaken Fist's) for a .vv file, once. The
 * cloud says whose console it is; that a token is used once the store sees to, for all nodes of it:
 * a grant is made whose exchange token is the cloud's, and traded at once. Who only looks (HEAD, a
 * browser's prefetch) does not use it up. Threads for slow work. */
#include "http/policies.h"
#include "http/route.h"
#include "http/server.h"
#include "http/vv_file.h"
#include "http/vv_reply.h"

#include <strings.h>

static const char *token_of(const struct kb_request *r)
{
    const char *token = kb_http_target_query(&r->target, "token");
    return token ? token : "";
}

static bool looks_only(struct kb_request *r)
{
    const char *purpose = kb_request_header(r, "Sec-Purpose");
    return r->head || (purpose && strcasestr(purpose, "prefetch"));
}

/* As upstream answers: 401 to a token of Shaken Fist's, which proves itself; 404 to one of Nova's,
 * which is looked up. */
static unsigned refusal_status(const char *type, enum kb_reason reason)
{
    if (reason == KB_REASON_SOURCE_FAILED)
        return 503;
    return reason != KB_REASON_CONSOLE_GONE && strcmp(type, "shakenfist") == 0 ? 401 : 404;
}

static void refuse(struct kb_request *r, const char *type, enum kb_reason reason, const char *why)
{
    const char *text = reason == KB_REASON_TOKEN_USED
                           ? "the link was used before; ask your cloud for a new one"
                           : kb_reason_text(reason);
    kb_reply_error(r, refusal_status(type, reason), kb_reason_name(reason), "%s%s%s", text,
                   *why ? ": " : "", why);
}

/* Whether the token was traded before, here or on another node of the store. */
static bool is_used(struct kb_request *r, struct kb_hash hash, bool *failed)
{
    struct kb_store_exchange_grant c = {
        .call.verb = KB_STORE_EXCHANGE_GRANT,
        .exchange_hash = hash,
        .client_address = r->client_address,
        .request_id = r->id,
        .look_only = true,
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    *failed = status == KB_STORE_FAILED;
    bool unknown = status == KB_STORE_NOT_FOUND ||
                   (status == KB_STORE_DENIED && c.reason == KB_REASON_TOKEN_UNKNOWN);
    kb_grant_row_finish(&c.row);
    kb_console_row_finish(&c.console);
    return !unknown;
}

static enum kb_store_status make_grant(struct kb_request *r, const char *type,
                                       const struct kb_source_exchange *x, struct kb_hash hash)
{
    kb_auto_free char *by = kb_printf("%s:%s", type, x->source);
    const char *user = *x->owner ? x->owner : by;
    char policies[KB_POLICY_NAMES_MAX];
    if (!r->asker.principal.name) /* nobody logged in: the token is all there is */
        r->asker.principal.name = r->asker.name;
    struct kb_store_get_console get = {
        .call.verb = KB_STORE_GET_CONSOLE, .source = x->source, .uuid = x->uuid};
    enum kb_store_status found = kb_store_run(r->store, &get.call);
    /* What holds for the owner by role or group holds here too. */
    bool ok = found == KB_STORE_OK && kb_request_grant_policies(r, user, NULL, &get.row, policies);
    kb_console_row_finish(&get.row);
    if (!ok)
        return found == KB_STORE_OK ? KB_STORE_DENIED : found;
    struct kb_store_create_grant c = {
        .call.verb = KB_STORE_CREATE_GRANT,
        .source = x->source,
        .uuid = x->uuid,
        .user = user,
        .created_by = by,
        .policy = *policies ? policies : NULL,
        .request_id = r->id,
        .hash = hash,
        .exchange = true,
        .start_within = r->options->start_within,
        .exchange_within = r->options->exchange_within,
        .max_session = r->options->max_session,
        .idle_timeout = r->options->idle_timeout,
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    kb_grant_row_finish(&c.row);
    return status;
}

static void trade(struct kb_request *r, const char *type, struct kb_hash hash)
{
    char token[KB_TOKEN_SIZE];
    kb_token_create(token);
    struct kb_store_exchange_grant c = {
        .call.verb = KB_STORE_EXCHANGE_GRANT,
        .exchange_hash = hash,
        .token_hash = kb_hash_of(token, strlen(token)),
        .client_address = r->client_address,
        .request_id = r->id,
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status == KB_STORE_OK)
        kb_reply_vv(r, 200, c.console.name, &c.row, token);
    else if (status == KB_STORE_DENIED)
        refuse(r, type, c.reason, "");
    else
        kb_reply_store_failed(r);
    kb_wipe(token, sizeof token);
    kb_grant_row_finish(&c.row);
    kb_console_row_finish(&c.console);
}

static void grant_and_trade(struct kb_request *r, const char *type,
                            const struct kb_source_exchange *x, struct kb_hash hash)
{
    enum kb_store_status status = make_grant(r, type, x, hash);
    if (status == KB_STORE_OK)
        trade(r, type, hash);
    else if (status != KB_STORE_DENIED) /* that one was answered */
        kb_reply_store_failed(r);
}

/* What stands for the token in the store: its own hash, or that of its id where the same token can
 * be written in several ways (a JWT). A newline is in no type nor name. */
static struct kb_hash hash_of(const char *type, const struct kb_source_exchange *x,
                              const char *token)
{
    kb_auto_free char *text =
        *x->token_id ? kb_printf("%s\n%s\n%s", type, x->source, x->token_id) : kb_strdup(token);
    struct kb_hash hash = kb_hash_of(text, strlen(text));
    kb_wipe(text, strlen(text));
    return hash;
}

/* Answers where the token was used. */
static bool refuse_used(struct kb_request *r, const char *type, struct kb_hash hash)
{
    bool failed, used = is_used(r, hash, &failed);
    if (failed)
        kb_reply_store_failed(r);
    else if (used)
        refuse(r, type, KB_REASON_TOKEN_USED, "");
    return used;
}

static void exchange(struct kb_request *r, const char *type, const char *source)
{
    struct kb_source_exchange x;
    const char *token = token_of(r);
    if (refuse_used(r, type, kb_hash_of(token, strlen(token))))
        return;
    enum kb_reason reason =
        kb_source_exchange(r->http->sources, type, source, token, r->options->public_url, &x);
    if (!x.asked)
        kb_reply_error(r, 404, "exchange_unavailable",
                       "no source of the type %s takes tokens here; its key exchange says which do",
                       type);
    else if (reason != KB_REASON_NONE)
        refuse(r, type, reason, x.why);
    else if (*x.token_id && refuse_used(r, type, hash_of(type, &x, token)))
        ;
    else if (looks_only(r))
        kb_reply_text(r, 200, KB_VV_CONTENT_TYPE, "");
    else
        grant_and_trade(r, type, &x, hash_of(type, &x, token));
}

/* --- routes ----------------------------------------------------------------------------------- */

static void nova_own(struct kb_request *r)
{
    exchange(r, "openstack", r->params[0]);
}

static void nova_shared(struct kb_request *r)
{
    exchange(r, "openstack", NULL);
}

static void sf_shared(struct kb_request *r)
{
    exchange(r, "shakenfist", NULL);
}

static void begin(struct kb_request *r, void (*work)(struct kb_request *r))
{
    if (*token_of(r)) {
        kb_request_defer(r, work);
        return;
    }
    kb_reply_header(r, "WWW-Authenticate", "Bearer");
    kb_reply_error(r, 401, "token_missing", "the link lacks its token; ask your cloud for one");
}

void kb_api_nova_exchange_own(struct kb_request *r)
{
    begin(r, nova_own);
}

void kb_api_nova_exchange(struct kb_request *r)
{
    begin(r, nova_shared);
}

void kb_api_sf_exchange(struct kb_request *r)
{
    begin(r, sf_shared);
}
