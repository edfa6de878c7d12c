/* One request from its first line to its answer: what the handlers of the API see. A handler runs
 * on an HTTP thread, may block on the store, and calls exactly one kb_reply_* function. Nothing
 * here shows libmicrohttpd. */
#ifndef KB_HTTP_REQUEST_H
#define KB_HTTP_REQUEST_H

#include "base/auto.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/secret.h"
#include "http/http.h"
#include "http/target.h"
#include "identity/access.h"
#include "source/source.h"
#include "store/store.h"

#include <jansson.h>

/* Which door a request came through. The admin socket's file mode is its permission. */
enum kb_http_door {
    KB_DOOR_WEB = 1,
    KB_DOOR_ADMIN = 2,
    KB_DOOR_METRICS = 4,
};

/* Who is asking. */
struct kb_asker {
    struct kb_principal principal; /* its roles; points into what follows */
    enum kb_role role;             /* the highest of them; NONE: not logged in, or no role */
    enum { KB_VIA_NOTHING, KB_VIA_LOGIN, KB_VIA_COOKIE, KB_VIA_APIKEY, KB_VIA_ADMIN_SOCKET } via;
    char name[KB_NAME_SIZE];         /* the user, or the name of the key */
    char actor[KB_NAME_SIZE + 8];    /* for audit and created_by: "alice", "apikey:nova" */
    struct kb_hash login;            /* via LOGIN, COOKIE */
    int64_t expires_at;              /* of the login */
    char csrf[2 * KB_HASH_SIZE + 1]; /* via COOKIE: what X-CSRF-Token must be */
    /* the rows that the above comes from */
    struct kb_login_row login_row; /* via LOGIN, COOKIE */
    struct kb_apikey_row key_row;  /* via APIKEY */
    struct kb_scope key_scope;     /* via APIKEY; the row's texts */
};

struct kb_route;
struct kb_http_config;
struct kb_http_headers; /* the request's, as the server has them */

#define KB_REPLY_HEADERS 8

struct kb_request {
    struct kb_http *http;
    const struct kb_http_options *options; /* as they were when the request came */
    struct kb_store *store;
    char id[KB_ID_SIZE];
    enum kb_http_door door;
    char client_address[64]; /* "192.0.2.1"; "unix" through the admin socket */
    const char *method;
    bool head; /* HEAD: answered like GET, without the body */
    struct kb_http_target target;
    const char *params[KB_TARGET_PARAMS]; /* what stood for the {names} of the route */
    const struct kb_route *route;
    struct kb_asker asker;
    struct kb_buf body;
    json_t *json; /* the body, once kb_request_read has been called */
    struct {      /* a login's fields, for when it has rested; they point into json or target */
        const char *name, *password, *domain, *token, *code;
        char secret[KB_TOKEN_SIZE], back[160]; /* OIDC: of its cookie */
        bool as_cookie;
    } login;

    /* the answer */
    unsigned status; /* 0: none yet */
    const char *content_type;
    const char *cache_control; /* NULL: no-store */
    struct kb_buf out;
    struct kb_stream *stream; /* NULL: out is all of it */
    struct {
        const char *name;
        char *value;
    } headers[KB_REPLY_HEADERS];
    size_t header_count;

    /* the server's */
    struct MHD_Connection *connection;
    struct kb_http_config *config;
    bool started, target_ok, too_large;
    void (*work)(struct kb_request *r); /* see http/slow.h */
    struct kb_request *next_slow;
    size_t body_seen;
};

/* NULL if the client did not send it. */
const char *kb_request_header(struct kb_request *r, const char *name);
/* True if the Accept header lists the media type by name ("text/html"). */
bool kb_request_accepts(struct kb_request *r, const char *type);
bool kb_request_may(const struct kb_request *r, enum kb_action a);

/* --- answers ---------------------------------------------------------------------------------- */

void kb_reply_json(struct kb_request *r, unsigned status, json_t *body); /* takes body over */
void kb_reply_empty(struct kb_request *r, unsigned status);
void kb_reply_text(struct kb_request *r, unsigned status, const char *content_type,
                   const char *text);
/* {"error": {code, message, request_id}}. code is snake_case and stable. */
void kb_reply_error(struct kb_request *r, unsigned status, const char *code, const char *format,
                    ...) __attribute__((format(printf, 4, 5)));
/* 503 store_failed. */
void kb_reply_store_failed(struct kb_request *r);
/* A list of the store that did not come: 422 for a cursor that is none, else 503. */
void kb_reply_no_page(struct kb_request *r, enum kb_store_status status);
/* What is in r->out already is only the answer's beginning: next() adds to it, a piece a call, on
 * an HTTP thread, each time the client has taken what there was; it may block on the store, and may
 * add nothing. finish() gets state in the end, however it comes. The request and its asker live
 * until then. A FAILED one closes the connection, so that nobody takes a part for the whole. */
enum kb_stream_step { KB_STREAM_MORE, KB_STREAM_END, KB_STREAM_FAILED };
typedef enum kb_stream_step kb_stream_next(void *state, struct kb_buf *out);
void kb_reply_stream(struct kb_request *r, kb_stream_next *next, void (*finish)(void *state),
                     void *state);
/* Adds a header to the answer; name is a literal. A newline in value is cut off with what follows.
 */
void kb_reply_header(struct kb_request *r, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* --- what came in ----------------------------------------------------------------------------- */

enum kb_json_kind {
    KB_JSON_TEXT,     /* const char **: UTF-8 without hidden characters, 1..max bytes */
    KB_JSON_SECRET,   /* const char **: any text of 1..max bytes */
    KB_JSON_BOOL,     /* bool * */
    KB_JSON_PORT,     /* uint16_t *, a whole number of 1..65535 */
    KB_JSON_DURATION, /* int64_t *, ms; "60s" */
    KB_JSON_TIME,     /* int64_t *, wall clock ms */
    KB_JSON_TEXTS,    /* char **, freed by the caller: a text or an array of up to 64 of them, each
                         as TEXT, one a line */
};

struct kb_json_field {
    const char *name;
    enum kb_json_kind kind;
    bool required;
    size_t max;
    void *to; /* unchanged if the field is absent or null */
};

/* Pure: reads an object's fields. False with a sentence in problem for an unknown field, a wrong
 * type or value, a missing one. Texts point into object. */
bool kb_json_read(json_t *object, const struct kb_json_field *fields, size_t count, char *problem,
                  size_t problem_size);
/* The same of the request's body; an empty body is an empty object. False: answered already. */
bool kb_request_read(struct kb_request *r, const struct kb_json_field *fields, size_t count);

struct kb_page {
    unsigned limit;
    const char *cursor, *q; /* NULL: none */
};
/* limit (1..1000, default 100), cursor, q; sort may only name the list's own order. False:
 * answered. */
bool kb_request_page(struct kb_request *r, const char *order, struct kb_page *page);
/* A query parameter with a time; unchanged if absent. False: answered. */
bool kb_request_time(struct kb_request *r, const char *name, int64_t *wall_ms);

/* A query parameter that is true or false; unchanged if absent. False: answered. */
bool kb_request_flag(struct kb_request *r, const char *name, bool *flag);

/* {"items": items, "next": next}; takes items over. */
void kb_reply_list(struct kb_request *r, json_t *items, const char *next);

/* JSON values: null for NULL and "", for time 0. Bytes that are not UTF-8 become U+FFFD. */
json_t *kb_json_text(const char *s);
json_t *kb_json_list(const char *lines); /* an array of its lines; [] for NULL */
json_t *kb_json_time(int64_t wall_ms);
json_t *kb_json_duration(int64_t ms);
json_t *kb_json_uint(uint64_t n);

/* Fills in node, request id, actor and client address. */
void kb_request_audit_init(const struct kb_request *r, struct kb_audit_event *e, const char *event);

#endif
