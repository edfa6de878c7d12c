/* What is remembered: one interface of calls named by intention, answered by message from the store
 * thread. No SQL above it. A backend (SQLite; others may follow) is a table of functions, one a
 * verb.
 *
 * A call is a struct that begins with kb_store_call: what goes in, then what comes out. The caller
 * allocates it, fills in what goes in, and either posts it (loops: done() gets it back on the
 * thread of reply_to) or runs it (threads that may block). Texts that go in are borrowed while a
 * call that is run is under way; a posted call must own what it points to, so the calls that loops
 * post hold fixed arrays. Texts that come out belong to the call and are freed by its finish
 * function.
 *
 * What writes, and what a client waits for, goes through one thread and one transaction per batch
 * of calls; pages and lists are read by a second thread, so that a long list never holds a session
 * up. A read sees every write that was answered before the read was posted. Audit events that
 * nobody waits for may be written up to 10 ms after they were posted.
 *
 * Texts that are not UTF-8 are kept with U+FFFD in place of each wrong byte, and looked up the same
 * way. Nothing else about a text is changed: who shows it escapes it.
 *
 * Times are wall clock milliseconds since 1970 (0: not set), durations milliseconds (0: none).
 * Nothing here may assume that there is one node. Never stored: a backend ticket, a password or a
 * token in clear. */
#ifndef KB_STORE_STORE_H
#define KB_STORE_STORE_H

#include "base/auto.h"
#include "base/buf.h"
#include "base/mailbox.h"
#include "base/reason.h"
#include "base/secret.h"

struct kb_store;

enum kb_store_status {
    KB_STORE_OK,
    KB_STORE_NOT_FOUND, /* also: after is not a next of this list */
    KB_STORE_CONFLICT,  /* it exists already */
    KB_STORE_DENIED,    /* redeem, exchange: reason says why */
    KB_STORE_FAILED,    /* the store is full, locked, broken; nothing was changed */
};

enum kb_store_verb {
    KB_STORE_RECOVER,
    KB_STORE_PING,
    KB_STORE_SYNC_CONSOLES,
    KB_STORE_RETAIN_SOURCES,
    KB_STORE_LIST_CONSOLES,
    KB_STORE_GET_CONSOLE,
    KB_STORE_CREATE_GRANT,
    KB_STORE_EXCHANGE_GRANT,
    KB_STORE_REDEEM_GRANT,
    KB_STORE_EXPLAIN_TOKEN,
    KB_STORE_LIST_GRANTS,
    KB_STORE_REVOKE_GRANT,
    KB_STORE_END_SESSION,
    KB_STORE_GET_SESSION,
    KB_STORE_APPEND_AUDIT,
    KB_STORE_LIST_AUDIT,
    KB_STORE_PUT_USER,
    KB_STORE_FIND_USER,
    KB_STORE_LIST_USERS,
    KB_STORE_REMOVE_USER,
    KB_STORE_CREATE_APIKEY,
    KB_STORE_FIND_APIKEY,
    KB_STORE_LIST_APIKEYS,
    KB_STORE_REVOKE_APIKEY,
    KB_STORE_CREATE_LOGIN,
    KB_STORE_FIND_LOGIN,
    KB_STORE_END_LOGIN,
    KB_STORE_LIST_LOGINS,
    KB_STORE_END_LOGINS,
    KB_STORE_SPEND_ID,
    KB_STORE_VERBS
};

struct kb_store_call {
    struct kb_message message;
    enum kb_store_verb verb;
    enum kb_store_status status;
    struct kb_mailbox *reply_to;              /* NULL: done runs on a thread of the store */
    void (*done)(struct kb_store_call *call); /* owns the call from then on */
    /* The store's own: */
    struct kb_latch *latch;
    uint64_t posted_us;
};

/* Opens or makes the database, applies migrations, starts the store thread. url is "sqlite:PATH"
 * (relative to state_dir). NULL and *error (to be freed) on failure, also for a schema newer than
 * this program. */
struct kb_store *kb_store_create(const char *url, const char *state_dir, const char *node,
                                 char **error);
void kb_store_destroy(struct kb_store *s); /* answers what was posted, then ends */

/* Audit events, and ended sessions with the grants that nobody needs any more, are deleted once
 * they are older than this many milliseconds; 0: never (so it begins). Some rows at a time, when
 * no call waits for an answer. Any thread, any time. */
void kb_store_set_retention(struct kb_store *s, int64_t audit, int64_t sessions);

/* Loops: hands the call over; done() is always called, also when the store is broken. */
void kb_store_post(struct kb_store *s, struct kb_store_call *call);
/* Threads that may block: posts, waits, returns the status. The call may live on the stack. done
 * and reply_to are not used. Answers are durable: they are given after the commit. */
enum kb_store_status kb_store_run(struct kb_store *s, struct kb_store_call *call);

/* At start, before anything else: sessions of this node that have no end get one (NODE_RESTARTED),
 * each with its audit event. */
struct kb_store_recover {
    struct kb_store_call call;
    unsigned ended; /* out */
};

/* KB_STORE_OK if a row can be written right now, and was. */
struct kb_store_ping {
    struct kb_store_call call;
};

/* Which rows of a list the caller may see; asked on a thread of the store while the caller waits.
 * With a filter a page may hold fewer rows than its limit, even none: only next says whether there
 * is more. */
struct kb_store_place {
    const char *source, *uuid, *name, *owner; /* NULL: unknown; source "": of no source */
};
struct kb_store_filter {
    bool (*wants)(const void *who, const struct kb_store_place *place); /* NULL: every row */
    const void *who;
};

/* --- consoles --------------------------------------------------------------------------------- */

struct kb_console_row {
    char *source, *uuid, *name;
    char *hypervisor, *hypervisor_ip, *unix_socket, *host_subject; /* may be NULL */
    char *owner;                         /* whom the source calls its owner; may be NULL */
    char *project, *state;               /* in the source's own words; may be NULL */
    char *protocol, *transport;          /* NULL in a sync: "spice", "tcp" */
    uint16_t insecure_port, secure_port; /* 0: none */
    int64_t first_seen, last_seen;
    bool in_use; /* a session on it lives, on whichever node */
};
void kb_console_row_finish(struct kb_console_row *r);

/* Makes the source's consoles exactly these; audits console.added, console.changed,
 * console.removed. Grants that were not redeemed are revoked with a removed console (grant.revoked,
 * console_gone). A row is left out, with a log line, when its uuid is empty, longer than
 * KB_NAME_SIZE - 1 or there already. */
struct kb_store_sync_consoles {
    struct kb_store_call call;
    const char *source;
    const struct kb_console_row *rows; /* source, *_seen and in_use are not looked at */
    size_t count;
    bool unchanged; /* the rows are those of the sync before and not given again: only the time of
                       it is noted */
    unsigned added, changed, removed; /* out */
};

/* Removes the consoles of every source that is not named, as a sync with no rows does: for sources
 * that went from the configuration while kerbside was stopped. */
struct kb_store_retain_sources {
    struct kb_store_call call;
    const char *const *sources;
    size_t count;
    unsigned removed; /* out: consoles */
};

/* In order of (name, source, uuid). */
struct kb_store_list_consoles {
    struct kb_store_call call;
    const char *source; /* NULL: of all */
    const char *q;      /* NULL, or a part of the name or uuid, any case */
    bool in_use;        /* only those that are */
    const char *after;  /* NULL, or next of the page before; opaque */
    unsigned limit;     /* 1..1000 */
    struct kb_store_filter filter;
    struct kb_console_row *rows; /* out */
    size_t count;                /* out */
    char *next;                  /* out; NULL at the end */
};
void kb_store_list_consoles_finish(struct kb_store_list_consoles *c);

struct kb_store_get_console {
    struct kb_store_call call;
    const char *source, *uuid;
    struct kb_console_row row; /* out; finish it */
};

/* --- grants ----------------------------------------------------------------------------------- */

struct kb_grant_row {
    char id[KB_ID_SIZE];
    char *source, *uuid, *user, *created_by, *client_address, *policy; /* last two may be NULL */
    char *console_name; /* in lists; NULL when the console is gone */
    int64_t created_at;
    int64_t expires_at; /* the exchange token, once traded the console token, is good until then */
    int64_t redeemed_at, revoked_at;
    int64_t max_session, idle_timeout;
    bool reusable;
};
void kb_grant_row_finish(struct kb_grant_row *r);

/* Makes a grant for one console; audits grant.created. With exchange set, hash is that of an
 * exchange token, good until now + exchange_within; else it is that of the console token itself.
 * NOT_FOUND: no such console. */
struct kb_store_create_grant {
    struct kb_store_call call;
    const char *source, *uuid, *user, *created_by;
    const char *client_address; /* NULL or the only address (no port) that may use it */
    const char *policy;     /* names divided by spaces, below KB_POLICY_NAMES_MAX; NULL: default */
    const char *request_id; /* for the audit; may be NULL */
    struct kb_hash hash;
    bool exchange, reusable;
    int64_t start_within, exchange_within, max_session, idle_timeout;
    struct kb_grant_row row; /* out; finish it */
};

/* Trades an exchange token for a console token, once (one atomic statement). Audits
 * grant.exchanged, or grant.denied (neither with look_only). DENIED: reason is TOKEN_UNKNOWN,
 * TOKEN_EXPIRED, TOKEN_USED, TOKEN_REVOKED, TOKEN_ADDRESS or CONSOLE_GONE. */
struct kb_store_exchange_grant {
    struct kb_store_call call;
    struct kb_hash exchange_hash, token_hash;
    const char *client_address, *request_id;
    bool look_only;                /* say what it is for, change nothing */
    enum kb_reason reason;         /* out */
    struct kb_grant_row row;       /* out when OK; finish it */
    struct kb_console_row console; /* out when OK; finish it */
};

#define KB_NAME_SIZE 256

/* Of a grant's policies, with the NUL. Who makes a grant sees to it that its names fit. */
#define KB_POLICY_NAMES_MAX 512

/* What a session is, as the store made it. */
struct kb_session_row {
    char id[KB_ID_SIZE], grant_id[KB_ID_SIZE];
    char source[KB_NAME_SIZE], uuid[KB_NAME_SIZE], console_name[KB_NAME_SIZE], user[KB_NAME_SIZE];
    char owner[KB_NAME_SIZE]; /* whom the console belonged to when it started; "": nobody said */
    char policy[KB_POLICY_NAMES_MAX]; /* divided by spaces; "default" when the grant has none */
    int64_t started_at, max_session, idle_timeout;
};

/* A client's main link: makes the session, or says why not, in one atomic statement. Posted by
 * loops. Audits grant.redeemed and session.started, or grant.denied with the reason (the same
 * reasons as exchange, and USER_SESSIONS, ADDRESS_SESSIONS). */
struct kb_store_redeem_grant {
    struct kb_store_call call;
    struct kb_hash token_hash;
    char client_address[64]; /* no port; an IPv4 address in IPv6 clothes is the IPv4 address */
    /* Live sessions, of all nodes, that the grant's user and the client's address (of IPv6: its
     * /64) may have with this one; 0: any number. A grant that fails by this alone stays good. */
    unsigned user_sessions, address_sessions;
    enum kb_reason reason;         /* out */
    struct kb_session_row session; /* out when OK */
};

/* Why a token that has no live session here cannot join one: reason is as for redeem; a grant that
 * could still start a session gives CONNECTION_ID (its session does not exist). Posted by loops.
 * Writes nothing. */
struct kb_store_explain_token {
    struct kb_store_call call;
    struct kb_hash token_hash;
    enum kb_reason reason;     /* out */
    char grant_id[KB_ID_SIZE]; /* out; "" if unknown */
};

/* Newest first. */
struct kb_store_list_grants {
    struct kb_store_call call;
    const char *created_by; /* NULL: of all */
    const char *after;
    unsigned limit;
    struct kb_store_filter filter;
    struct kb_grant_row *rows; /* out */
    size_t count;              /* out */
    char *next;                /* out */
};
void kb_store_list_grants_finish(struct kb_store_list_grants *c);

/* Audits grant.revoked. NOT_FOUND also when created_by is set and is not the grant's, or when the
 * filter does not want its console (unwanted is set then). */
struct kb_store_revoke_grant {
    struct kb_store_call call;
    const char *id, *created_by, *actor, *request_id;
    struct kb_store_filter filter;
    bool unwanted; /* out */
};

/* --- sessions --------------------------------------------------------------------------------- */

/* Writes the end of a session; audits session.ended with bytes and duration. Posted by loops.
 * NOT_FOUND: no such session, or it has ended. FAILED: not written yet; the store keeps it and
 * writes it when it can. */
struct kb_store_end_session {
    struct kb_store_call call;
    char id[KB_ID_SIZE];
    char actor[KB_NAME_SIZE]; /* who ended it; "" for nobody */
    enum kb_reason reason;
    uint64_t bytes_from_client, bytes_from_server;
    int64_t ended_at; /* 0: now */
};

/* One channel that a session had. */
struct kb_channel_row {
    uint8_t type, id; /* SPICE's numbers */
    int64_t opened_at, closed_at;
    char reason[40]; /* kb_reason_name */
    uint64_t bytes_from_client, bytes_from_server, messages_from_client, messages_from_server;
};

/* Who ended a session by order, and why. */
struct kb_termination_row {
    int64_t terminated_at; /* 0: nobody did */
    char actor[KB_NAME_SIZE], apikey_id[KB_ID_SIZE], request_id[KB_ID_SIZE];
    char detail[512];
};

/* A session as it is remembered. While it lives only its start is written, and the channels that
 * have closed; of one that was found without an end at a start there are no bytes. */
struct kb_session_record {
    struct kb_session_row session;
    char client_address[64], ended_by[KB_NAME_SIZE], reason[40];
    int64_t ended_at; /* 0: it has no end yet */
    uint64_t bytes_from_client, bytes_from_server;
    struct kb_termination_row termination;
    struct kb_channel_row *channels; /* in the order in which they closed, KB_CHANNELS_SHOWN last */
    size_t channel_count;
};
#define KB_CHANNELS_SHOWN 1000
void kb_session_record_finish(struct kb_session_record *r);

struct kb_store_get_session {
    struct kb_store_call call;
    const char *id;
    struct kb_session_record record; /* out when OK; finish it */
};

/* --- audit ------------------------------------------------------------------------------------ */

/* One audit event. The names are the contract's (session.started, channel.refused, ...). Texts are
 * "" when there is nothing to say; node, user, console_name and owner are filled in when they can
 * be known (from the session or grant, and the console). */
struct kb_audit_event {
    char event[32];
    int64_t time; /* 0: now */
    char node[64], request_id[KB_ID_SIZE], session_id[KB_ID_SIZE], grant_id[KB_ID_SIZE];
    char actor[KB_NAME_SIZE]; /* who did it */
    char user[KB_NAME_SIZE];  /* whose grant or session it is about */
    char client_address[64], source[KB_NAME_SIZE];
    char console[KB_NAME_SIZE], console_name[KB_NAME_SIZE]; /* console: the uuid */
    char owner[KB_NAME_SIZE]; /* whose console; says who may read the event, is not shown */
    char channel[24];         /* "display:0" */
    char reason[40];          /* kb_reason_name */
    char detail[512]; /* free text: what exactly, e.g. the system's or the TLS library's words */
    bool has_bytes;
    uint64_t bytes_from_client, bytes_from_server;
    int64_t duration;
    unsigned count; /* how many alike it stands for; 0 is 1 */
};

/* Writes the event as a log line and hands it to the store thread. Any thread, never waits. While
 * the store is failing some thousands of events are kept and written later; more are dropped and
 * counted. grant.denied and channel.refused that come again and again are counted into one event
 * that comes later (store/repeats.h), also those that calls audit. */
void kb_store_audit(struct kb_store *s, const struct kb_audit_event *e);
/* The same with a row that belongs to the event, in one transaction: the channel of a
 * channel.closed; who ended the session of a session.terminated (apikey_id "": not with a key). */
void kb_store_audit_channel(struct kb_store *s, const struct kb_audit_event *e,
                            const struct kb_channel_row *channel);
void kb_store_audit_termination(struct kb_store *s, const struct kb_audit_event *e,
                                const char *apikey_id);

/* Newest first. */
struct kb_store_list_audit {
    struct kb_store_call call;
    const char *source;  /* NULL: any, also below */
    const char *console; /* uuid or name */
    const char *user;    /* who did it, or whom it is about */
    const char *event;
    int64_t since, until; /* since <= time < until; 0: open */
    const char *after;
    unsigned limit;
    struct kb_store_filter filter;
    struct kb_audit_event *rows; /* out */
    uint64_t *ids;               /* out, one a row */
    size_t count;                /* out */
    char *next;                  /* out */
};
void kb_store_list_audit_finish(struct kb_store_list_audit *c);

/* --- users, API keys, logins ------------------------------------------------------------------ */

struct kb_user_row {
    char *name, *role, *password_hash; /* argon2id, as libsodium writes it */
    int64_t created_at;
};
void kb_user_row_finish(struct kb_user_row *r);

/* Makes (audits user.added; CONFLICT if there) or, with replace, changes (audits user.changed if
 * anything does; NOT_FOUND if not there; a new password ends the user's logins). */
struct kb_store_put_user {
    struct kb_store_call call;
    const char *name, *role, *password_hash; /* replace: NULL keeps what is there */
    const char *actor, *request_id, *client_address;
    bool replace;
    bool keep_admin; /* CONFLICT when no user would have the role admin any more */
};
struct kb_store_find_user {
    struct kb_store_call call;
    const char *name;
    struct kb_user_row row; /* out; finish it */
};
struct kb_store_list_users { /* all, by name; password_hash stays NULL */
    struct kb_store_call call;
    struct kb_user_row *rows;
    size_t count;
};
void kb_store_list_users_finish(struct kb_store_list_users *c);
struct kb_store_remove_user { /* ends the user's logins too; audits user.removed */
    struct kb_store_call call;
    const char *name, *actor, *request_id, *client_address;
    bool keep_admin; /* CONFLICT when no user would have the role admin any more */
};

struct kb_apikey_row {
    char id[KB_ID_SIZE];
    char *name, *role, *created_by;
    char *cidrs, *sources, *consoles;           /* lists, one entry a line; "": any */
    int64_t created_at, expires_at, revoked_at; /* expires_at 0: never */
};
void kb_apikey_row_finish(struct kb_apikey_row *r);

struct kb_store_create_apikey { /* audits apikey.created */
    struct kb_store_call call;
    const char *name, *role, *created_by;
    const char *cidrs, *sources, *consoles; /* lists, one entry a line; NULL: any */
    struct kb_hash hash;
    int64_t expires_at;
    char id[KB_ID_SIZE]; /* out */
};
struct kb_store_find_apikey { /* NOT_FOUND also when revoked or expired */
    struct kb_store_call call;
    struct kb_hash hash;
    struct kb_apikey_row row; /* out; finish it */
};
struct kb_store_list_apikeys {
    struct kb_store_call call;
    struct kb_apikey_row *rows;
    size_t count;
};
void kb_store_list_apikeys_finish(struct kb_store_list_apikeys *c);
struct kb_store_revoke_apikey { /* audits apikey.revoked; NOT_FOUND also when revoked before */
    struct kb_store_call call;
    const char *id, *actor;
};

/* A login of the page or of `POST /login`: a token (hash only) that stands for a user for a
 * while. */
struct kb_store_create_login { /* NOT_FOUND: no such local user */
    struct kb_store_call call;
    struct kb_hash hash;
    const char *user;                            /* the whole name of the principal */
    const char *provider;                        /* NULL: a local user; else "keystone", "oidc" */
    const char *alias, *groups, *client_address; /* may be NULL; groups one a line */
    int64_t expires_at;
    char id[KB_ID_SIZE]; /* out */
};
struct kb_login_row {
    char id[KB_ID_SIZE];
    char *user, *provider, *client_address;
    char *role;           /* a local user's role of today, else NULL; not in lists */
    char *alias, *groups; /* as above; not in lists */
    int64_t created_at, expires_at;
};
void kb_login_row_finish(struct kb_login_row *r);
struct kb_store_find_login { /* NOT_FOUND also when expired */
    struct kb_store_call call;
    struct kb_hash hash;
    struct kb_login_row row; /* out; finish it */
};
struct kb_store_end_login { /* logging out; audits login.ended */
    struct kb_store_call call;
    struct kb_hash hash;
    const char *actor, *request_id;
};
/* Newest first, 1000 at most. */
struct kb_store_list_logins {
    struct kb_store_call call;
    const char *user; /* NULL: of all */
    struct kb_login_row *rows;
    size_t count;
};
void kb_store_list_logins_finish(struct kb_store_list_logins *c);
/* Ends the logins for which all set texts are equal (one must be set); audits login.ended for each.
 * NOT_FOUND: none. */
struct kb_store_end_logins {
    struct kb_store_call call;
    const char *id, *user; /* NULL: any */
    const char *actor, *request_id;
    unsigned ended; /* out */
};

/* --- ids for one use -------------------------------------------------------------------------- */

/* Takes an id that somebody else made for one use, such as that of a signed token: OK for who comes
 * first, also among nodes, and CONFLICT from then on. Forgotten after expires_at, when its maker
 * would not have it any more. */
struct kb_store_spend_id {
    struct kb_store_call call;
    const char *kind; /* whose id: "oidc" */
    struct kb_hash hash;
    int64_t expires_at;
};

#endif
