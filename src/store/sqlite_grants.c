/* Grants in SQLite: made, traded, redeemed, revoked, expired. Trading and redeeming are one UPDATE
 * each, so that of two that come at once, also on two nodes, one wins; only when it changes nothing
 * the reason is looked up. */
#include "store/sqlite_lists.h"

#include "base/mem.h"

#include <string.h>

static void read_row(struct kb_rows *q, struct kb_grant_row *r)
{
    *r = (struct kb_grant_row){
        .source = kb_sql_copy(q, 1),
        .uuid = kb_sql_copy(q, 2),
        .user = kb_sql_copy(q, 3),
        .created_by = kb_sql_copy(q, 4),
        .client_address = kb_sql_copy(q, 5),
        .policy = kb_sql_copy(q, 6),
        .created_at = kb_sql_number(q, 7),
        .expires_at = kb_sql_number(q, 8),
        .redeemed_at = kb_sql_number(q, 9),
        .revoked_at = kb_sql_number(q, 10),
        .max_session = kb_sql_number(q, 11),
        .idle_timeout = kb_sql_number(q, 12),
        .reusable = kb_sql_number(q, 13),
    };
    kb_sql_copy_to(q, 0, r->id, sizeof r->id);
}
#define EXCHANGED_AT 14
#define LIST_CONSOLE_NAME 15 /* kb_query_grants alone */
#define LIST_OWNER 16

/* Returns OK with *row filled in, NOT_FOUND with it zeroed, or FAILED. Steps to the end: a
 * statement that changes something is done only then. */
static enum kb_store_status one_row(struct kb_rows *q, struct kb_grant_row *row, int64_t *exchanged)
{
    *row = (struct kb_grant_row){0};
    bool found = kb_sql_next(q);
    if (found) {
        read_row(q, row);
        if (exchanged)
            *exchanged = kb_sql_number(q, EXCHANGED_AT);
        kb_sql_next(q);
    }
    if (q->failed) {
        kb_grant_row_finish(row);
        return KB_STORE_FAILED;
    }
    return found ? KB_STORE_OK : KB_STORE_NOT_FOUND;
}

static struct kb_audit_event *audit_grant(struct kb_sqlite *db, const char *event,
                                          const struct kb_grant_row *r)
{
    struct kb_audit_event *e = kb_backend_audit(&db->base, event);
    kb_copy_str(e->grant_id, sizeof e->grant_id, r->id);
    kb_copy_str(e->user, sizeof e->user, r->user);
    kb_copy_str(e->source, sizeof e->source, r->source);
    kb_copy_str(e->console, sizeof e->console, r->uuid);
    return e;
}

/* --- made and listed -------------------------------------------------------------------------- */

enum kb_store_status kb_sqlite_create_grant(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_create_grant *c = (struct kb_store_create_grant *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    c->row = (struct kb_grant_row){0};
    kb_auto(kb_console_row_finish) struct kb_console_row console;
    enum kb_store_status found = kb_sqlite_read_console(db, c->source, c->uuid, &console);
    if (found != KB_STORE_OK)
        return found;
    char id[KB_ID_SIZE], address[64] = "";
    kb_id_create(id);
    if (c->client_address)
        kb_backend_address(c->client_address, address);
    int64_t good_for = c->exchange ? c->exchange_within : c->start_within;
    if (!kb_sql_do(db, KB_SQL_GRANT_INSERT, KB_TEXT(id), KB_TEXT(c->source), KB_TEXT(c->uuid),
                   KB_TEXT(c->user), KB_TEXT(c->created_by),
                   KB_TEXT(c->client_address ? address : NULL), KB_TEXT(c->policy),
                   KB_HASH(c->exchange ? NULL : &c->hash), KB_HASH(c->exchange ? &c->hash : NULL),
                   KB_NUMBER(b->now), KB_NUMBER(b->now + good_for), KB_NUMBER(c->start_within),
                   KB_NUMBER(c->max_session), KB_NUMBER(c->idle_timeout), KB_NUMBER(c->reusable)))
        return KB_STORE_FAILED;
    if (kb_sql_changes(db) == 0)
        return KB_STORE_CONFLICT;
    kb_sql_use struct kb_rows q = kb_sql(db, KB_SQL_GRANT_BY_ID, KB_TEXT(id));
    if (one_row(&q, &c->row, NULL) != KB_STORE_OK)
        return KB_STORE_FAILED;
    struct kb_audit_event *e = audit_grant(db, "grant.created", &c->row);
    kb_copy_str(e->actor, sizeof e->actor, c->created_by);
    kb_copy_str(e->request_id, sizeof e->request_id, c->request_id);
    kb_copy_str(e->console_name, sizeof e->console_name, console.name);
    return KB_STORE_OK;
}

enum kb_store_status kb_sqlite_list_grants(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_list_grants *c = (struct kb_store_list_grants *)call;
    c->rows = NULL;
    c->count = 0;
    c->next = NULL;
    kb_auto(kb_cursor_finish) struct kb_cursor after;
    if (!kb_cursor_read(c->after, 2, &after))
        return KB_STORE_NOT_FOUND;
    unsigned limit = kb_list_limit(c->limit), reach = kb_list_reach(&c->filter, limit), seen = 0;
    kb_auto(kb_grant_row_finish) struct kb_grant_row row = {0};
    kb_auto(kb_query_finish) struct kb_query query;
    kb_query_grants(&query, c, &after, reach + 1);
    kb_sql_use struct kb_rows q = kb_query_start((struct kb_sqlite *)b, &query);
    while (kb_sql_next(&q)) {
        if (c->count == limit || seen++ == reach) {
            /* row is the last one that was passed over, if it comes after the last of the list */
            const struct kb_grant_row *last = row.source ? &row : &c->rows[c->count - 1];
            kb_auto_free char *time = kb_printf("%lld", (long long)last->created_at);
            c->next = kb_cursor_write((const char *[]){time, last->id}, 2);
            break;
        }
        kb_grant_row_finish(&row);
        read_row(&q, &row);
        row.console_name = kb_sql_copy(&q, LIST_CONSOLE_NAME);
        kb_auto_free char *owner = kb_sql_copy(&q, LIST_OWNER);
        const struct kb_store_place place = {row.source, row.uuid, row.console_name, owner};
        if (!kb_list_wants(&c->filter, &place))
            continue;
        c->rows = kb_list_grow(c->rows, c->count, sizeof *c->rows);
        c->rows[c->count++] = row;
        row = (struct kb_grant_row){0};
    }
    return q.failed ? KB_STORE_FAILED : KB_STORE_OK;
}

/* --- why not ---------------------------------------------------------------------------------- */

/* The rules of KB_SQL_MAY_START once more, in the order in which a person would want to hear them.
 * used_at: when the token had its one use; address NULL: not asked. */
static enum kb_reason why_not(struct kb_sqlite *db, const struct kb_grant_row *r, int64_t used_at,
                              const char *address)
{
    if (r->revoked_at)
        return KB_REASON_TOKEN_REVOKED;
    if (used_at)
        return KB_REASON_TOKEN_USED;
    if (r->expires_at < db->base.now)
        return KB_REASON_TOKEN_EXPIRED;
    if (r->client_address && address && strcmp(r->client_address, address) != 0)
        return KB_REASON_TOKEN_ADDRESS;
    kb_auto(kb_console_row_finish) struct kb_console_row console;
    enum kb_store_status found = kb_sqlite_read_console(db, r->source, r->uuid, &console);
    return found == KB_STORE_OK          ? KB_REASON_NONE
           : found == KB_STORE_NOT_FOUND ? KB_REASON_CONSOLE_GONE
                                         : KB_REASON_STORE_FAILED;
}

static enum kb_reason why_not_redeem(struct kb_sqlite *db, const struct kb_hash *token,
                                     const char *address, struct kb_grant_row *row)
{
    kb_sql_use struct kb_rows q = kb_sql(db, KB_SQL_GRANT_BY_TOKEN, KB_HASH(token));
    enum kb_store_status found = one_row(&q, row, NULL);
    if (found != KB_STORE_OK)
        return found == KB_STORE_FAILED ? KB_REASON_STORE_FAILED : KB_REASON_TOKEN_UNKNOWN;
    return why_not(db, row, row->reusable ? 0 : row->redeemed_at, address);
}

/* A token that is good, but whose user or address has sessions enough. */
static enum kb_reason why_full(struct kb_sqlite *db, const struct kb_store_redeem_grant *c,
                               const char *user, const char *address)
{
    kb_sql_use struct kb_rows q =
        kb_sql(db, KB_SQL_SESSIONS_FULL, KB_TEXT(user), KB_NUMBER(c->user_sessions),
               KB_TEXT(address), KB_NUMBER(c->address_sessions));
    if (!kb_sql_next(&q))
        return KB_REASON_STORE_FAILED;
    return kb_sql_number(&q, 0)   ? KB_REASON_USER_SESSIONS
           : kb_sql_number(&q, 1) ? KB_REASON_ADDRESS_SESSIONS
                                  : KB_REASON_NONE;
}

static enum kb_reason why_not_exchange(struct kb_sqlite *db, const struct kb_hash *token,
                                       const char *address, struct kb_grant_row *row)
{
    int64_t exchanged = 0;
    kb_sql_use struct kb_rows q = kb_sql(db, KB_SQL_GRANT_BY_EXCHANGE, KB_HASH(token));
    enum kb_store_status found = one_row(&q, row, &exchanged);
    if (found != KB_STORE_OK)
        return found == KB_STORE_FAILED ? KB_REASON_STORE_FAILED : KB_REASON_TOKEN_UNKNOWN;
    return why_not(db, row, exchanged, address);
}

static struct kb_audit_event *audit_denied(struct kb_sqlite *db, const struct kb_grant_row *r,
                                           enum kb_reason reason, const char *address)
{
    struct kb_audit_event *e = audit_grant(db, "grant.denied", r);
    kb_copy_str(e->reason, sizeof e->reason, kb_reason_name(reason));
    kb_copy_str(e->client_address, sizeof e->client_address, address);
    return e;
}

/* The status for a reason that why_not gave after the UPDATE changed nothing. NONE cannot be: both
 * ran in one transaction. */
static enum kb_store_status denied(enum kb_reason reason)
{
    return reason == KB_REASON_STORE_FAILED || reason == KB_REASON_NONE ? KB_STORE_FAILED
                                                                        : KB_STORE_DENIED;
}

enum kb_store_status kb_sqlite_explain_token(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_explain_token *c = (struct kb_store_explain_token *)call;
    kb_auto(kb_grant_row_finish) struct kb_grant_row row;
    c->reason = why_not_redeem((struct kb_sqlite *)b, &c->token_hash, NULL, &row);
    kb_copy_str(c->grant_id, sizeof c->grant_id, row.id);
    if (c->reason == KB_REASON_STORE_FAILED)
        return KB_STORE_FAILED;
    if (c->reason == KB_REASON_NONE)
        c->reason = KB_REASON_CONNECTION_ID;
    return KB_STORE_OK;
}

/* --- traded and redeemed ---------------------------------------------------------------------- */

static enum kb_store_status look(struct kb_sqlite *db, struct kb_store_exchange_grant *c,
                                 const char *address)
{
    c->reason = why_not_exchange(db, &c->exchange_hash, address, &c->row);
    if (c->reason != KB_REASON_NONE) {
        kb_grant_row_finish(&c->row);
        return denied(c->reason);
    }
    return kb_sqlite_read_console(db, c->row.source, c->row.uuid, &c->console);
}

enum kb_store_status kb_sqlite_exchange_grant(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_exchange_grant *c = (struct kb_store_exchange_grant *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    char address[64];
    kb_backend_address(c->client_address ? c->client_address : "", address);
    c->reason = KB_REASON_NONE;
    c->row = (struct kb_grant_row){0};
    c->console = (struct kb_console_row){0};
    if (c->look_only)
        return look(db, c, address);
    kb_sql_use struct kb_rows q =
        kb_sql(db, KB_SQL_GRANT_EXCHANGE, KB_HASH(&c->exchange_hash), KB_NUMBER(b->now),
               KB_TEXT(address), KB_HASH(&c->token_hash));
    enum kb_store_status status = one_row(&q, &c->row, NULL);
    struct kb_audit_event *e;
    if (status == KB_STORE_NOT_FOUND) {
        c->reason = why_not_exchange(db, &c->exchange_hash, address, &c->row);
        status = denied(c->reason);
        e = audit_denied(db, &c->row, c->reason, address);
        kb_grant_row_finish(&c->row);
    } else if (status == KB_STORE_OK) {
        status = kb_sqlite_read_console(db, c->row.source, c->row.uuid, &c->console);
        e = audit_grant(db, "grant.exchanged", &c->row);
        kb_copy_str(e->client_address, sizeof e->client_address, address);
    } else {
        return status;
    }
    kb_copy_str(e->request_id, sizeof e->request_id, c->request_id);
    return status;
}

static void fill_session(const struct kb_sqlite *db, const struct kb_grant_row *r,
                         const struct kb_console_row *console, struct kb_session_row *s)
{
    kb_id_create(s->id);
    kb_copy_str(s->grant_id, sizeof s->grant_id, r->id);
    kb_copy_str(s->source, sizeof s->source, r->source);
    kb_copy_str(s->uuid, sizeof s->uuid, r->uuid);
    kb_copy_str(s->console_name, sizeof s->console_name, console->name);
    kb_copy_str(s->owner, sizeof s->owner, console->owner);
    kb_copy_str(s->user, sizeof s->user, r->user);
    /* A list that was cut would allow more than is meant: "?" is no name, so it allows nothing. */
    if (!kb_copy_str(s->policy, sizeof s->policy, r->policy ? r->policy : "default"))
        kb_copy_str(s->policy, sizeof s->policy, "?");
    s->started_at = db->base.now;
    s->max_session = r->max_session;
    s->idle_timeout = r->idle_timeout;
}

static void audit_session(struct kb_sqlite *db, const char *event, const struct kb_grant_row *r,
                          const struct kb_session_row *s, const char *address)
{
    struct kb_audit_event *e = audit_grant(db, event, r);
    kb_copy_str(e->session_id, sizeof e->session_id, s->id);
    kb_copy_str(e->actor, sizeof e->actor, r->user);
    kb_copy_str(e->client_address, sizeof e->client_address, address);
    kb_copy_str(e->console_name, sizeof e->console_name, s->console_name);
}

static bool start_session(struct kb_sqlite *db, const struct kb_grant_row *r, const char *address,
                          struct kb_session_row *s)
{
    kb_auto(kb_console_row_finish) struct kb_console_row console;
    if (kb_sqlite_read_console(db, r->source, r->uuid, &console) != KB_STORE_OK)
        return false;
    fill_session(db, r, &console, s);
    audit_session(db, "grant.redeemed", r, s, address);
    audit_session(db, "session.started", r, s, address);
    return kb_sql_do(db, KB_SQL_SESSION_INSERT, KB_TEXT(s->id), KB_TEXT(db->base.node),
                     KB_TEXT(r->id), KB_TEXT(r->source), KB_TEXT(r->uuid), KB_TEXT(console.name),
                     KB_TEXT(r->user), KB_TEXT(address), KB_TEXT(r->policy),
                     KB_NUMBER(s->started_at), KB_TEXT(console.owner));
}

enum kb_store_status kb_sqlite_redeem_grant(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_redeem_grant *c = (struct kb_store_redeem_grant *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    char address[64];
    kb_backend_address(c->client_address, address);
    c->reason = KB_REASON_NONE;
    c->session = (struct kb_session_row){0};
    kb_auto(kb_grant_row_finish) struct kb_grant_row row;
    kb_sql_use struct kb_rows q =
        kb_sql(db, KB_SQL_GRANT_REDEEM, KB_HASH(&c->token_hash), KB_NUMBER(b->now),
               KB_TEXT(address), KB_NUMBER(c->user_sessions), KB_NUMBER(c->address_sessions));
    enum kb_store_status status = one_row(&q, &row, NULL);
    if (status == KB_STORE_OK)
        return start_session(db, &row, address, &c->session) ? KB_STORE_OK : KB_STORE_FAILED;
    if (status != KB_STORE_NOT_FOUND)
        return status;
    c->reason = why_not_redeem(db, &c->token_hash, address, &row);
    if (c->reason == KB_REASON_NONE)
        c->reason = why_full(db, c, row.user, address);
    audit_denied(db, &row, c->reason, address);
    return denied(c->reason);
}

/* --- revoked and expired ---------------------------------------------------------------------- */

static bool is_wanted(struct kb_sqlite *db, const struct kb_store_revoke_grant *c,
                      const struct kb_grant_row *row)
{
    kb_auto(kb_console_row_finish) struct kb_console_row console = {0};
    if (!c->filter.wants)
        return true;
    kb_sqlite_read_console(db, row->source, row->uuid, &console);
    const struct kb_store_place place = {row->source, row->uuid, console.name, console.owner};
    return kb_list_wants(&c->filter, &place);
}

enum kb_store_status kb_sqlite_revoke_grant(struct kb_backend *b, struct kb_store_call *call)
{
    struct kb_store_revoke_grant *c = (struct kb_store_revoke_grant *)call;
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    c->unwanted = false;
    kb_auto(kb_grant_row_finish) struct kb_grant_row row;
    kb_sql_use struct kb_rows q =
        kb_sql(db, KB_SQL_GRANT_REVOKE, KB_TEXT(c->id), KB_TEXT(c->created_by), KB_NUMBER(b->now));
    enum kb_store_status status = one_row(&q, &row, NULL);
    if (status != KB_STORE_OK)
        return status;
    if (!is_wanted(db, c, &row)) {
        c->unwanted = true;
        return KB_STORE_NOT_FOUND;
    }
    struct kb_audit_event *e = audit_grant(db, "grant.revoked", &row);
    kb_copy_str(e->actor, sizeof e->actor, c->actor);
    kb_copy_str(e->request_id, sizeof e->request_id, c->request_id);
    return KB_STORE_OK;
}

bool kb_sqlite_revoke_console(struct kb_sqlite *db, const char *source,
                              const struct kb_console_row *console)
{
    kb_sql_use struct kb_rows q = kb_sql(db, KB_SQL_GRANTS_REVOKE_CONSOLE, KB_TEXT(source),
                                         KB_TEXT(console->uuid), KB_NUMBER(db->base.now));
    while (kb_sql_next(&q)) {
        kb_auto(kb_grant_row_finish) struct kb_grant_row row;
        read_row(&q, &row);
        struct kb_audit_event *e = audit_grant(db, "grant.revoked", &row);
        kb_copy_str(e->reason, sizeof e->reason, kb_reason_name(KB_REASON_CONSOLE_GONE));
        kb_copy_str(e->owner, sizeof e->owner, console->owner);
    }
    return !q.failed;
}

bool kb_sqlite_expire_grants(struct kb_sqlite *db, unsigned limit, bool *more)
{
    unsigned count = 0;
    kb_sql_use struct kb_rows q =
        kb_sql(db, KB_SQL_GRANTS_EXPIRE, KB_NUMBER(db->base.now), KB_NUMBER(limit));
    while (kb_sql_next(&q)) {
        kb_auto(kb_grant_row_finish) struct kb_grant_row row;
        read_row(&q, &row);
        struct kb_audit_event *e = audit_grant(db, "grant.expired", &row);
        kb_copy_str(e->reason, sizeof e->reason, kb_reason_name(KB_REASON_TOKEN_EXPIRED));
        count++;
    }
    *more = *more || count == limit;
    return !q.failed;
}
