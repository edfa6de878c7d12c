/* What a database does for the store: a table of functions, one a verb, and what a transaction
 * needs. The store (store.c) owns the threads, the batches, the order of things and the log; a
 * backend owns nothing but one connection, used by one thread.
 *
 * A verb does its work inside a savepoint that the store has set, fills in the call's out fields
 * and returns the status. Whatever it returns but OK and DENIED undoes it. It says what happened
 * with kb_backend_audit; the store writes these events in the same transaction and logs them after
 * the commit. */
#ifndef KB_STORE_BACKEND_H
#define KB_STORE_BACKEND_H

#include "store/store.h"

struct kb_backend {
    const struct kb_backend_type *type;
    char *node;
    int64_t now;  /* wall clock, set by the store before each call */
    char *error;  /* what the database said when a function here last failed */
    bool damaged; /* a new connection may help: the file is gone, broken or cannot be read */
    struct kb_audit_event *events;
    size_t event_count, event_space;
};

struct kb_backend_open {
    const char *where; /* the url behind "scheme:" */
    const char *state_dir, *node;
    bool reader; /* this connection only reads; the schema is there */
    bool again;  /* a connection was lost: never make a new database */
};

struct kb_sweep {
    unsigned rows;                         /* of each kind at most */
    int64_t audit_before, sessions_before; /* what is older goes; 0: nothing */
};

struct kb_backend_type {
    const char *scheme;
    struct kb_backend *(*open)(const struct kb_backend_open *o, char **error);
    void (*close)(struct kb_backend *b);
    bool (*present)(
        struct kb_backend *b);           /* false: the database went; the connection is of no use */
    bool (*begin)(struct kb_backend *b); /* for writing: two never overlap */
    bool (*commit)(struct kb_backend *b);
    void (*rollback)(struct kb_backend *b);
    bool (*mark)(struct kb_backend *b);    /* a savepoint; not nested */
    bool (*release)(struct kb_backend *b); /* keeps what came after the mark */
    bool (*undo)(struct kb_backend *b);    /* undoes it; false: the whole transaction is gone */
    bool (*append_event)(struct kb_backend *b, const struct kb_audit_event *e);
    /* Audits the expiry of unused grants, drops what is old. *more: there is more to do. False:
     * failed. */
    bool (*sweep)(struct kb_backend *b, const struct kb_sweep *limits, bool *more);
    enum kb_store_status (*verbs[KB_STORE_VERBS])(struct kb_backend *b, struct kb_store_call *call);
};

extern const struct kb_backend_type kb_sqlite_type;

/* For backends. */
void kb_backend_init(struct kb_backend *b, const struct kb_backend_type *type, const char *node);
void kb_backend_finish(struct kb_backend *b);
/* A new event, zeroed but for name, time and node; filled in by the caller before the next one. */
struct kb_audit_event *kb_backend_audit(struct kb_backend *b, const char *event);
/* "::ffff:192.0.2.1" as "192.0.2.1", IPv6 in its one canonical form; other texts as they are. */
void kb_backend_address(const char *from, char to[64]);

/* The opaque place in a list behind which the next page begins: some texts, in order. */
#define KB_CURSOR_PARTS 3
struct kb_cursor {
    char *parts[KB_CURSOR_PARTS];
};
char *kb_cursor_write(const char *const *parts, size_t count);
/* NULL text: true, an empty cursor. False: not a cursor with count parts. */
bool kb_cursor_read(const char *text, size_t count, struct kb_cursor *c);
void kb_cursor_finish(struct kb_cursor *c);

/* The store's table of verbs. */
struct kb_verb {
    const char *name;
    bool reads;                                  /* goes to the reading thread */
    void (*discard)(struct kb_store_call *call); /* frees and zeroes what came out; may be NULL */
};
const struct kb_verb *kb_verb(enum kb_store_verb v);

/* An audit event on its way to the store thread. */
struct kb_store_append_audit {
    struct kb_store_call call;
    struct kb_store *store;
    struct kb_audit_event event;
    enum { KB_ALONG_NOTHING, KB_ALONG_CHANNEL, KB_ALONG_TERMINATION } along; /* rows of its own */
    struct kb_channel_row channel;
    char apikey_id[KB_ID_SIZE];
};
void kb_store_log_event(const struct kb_audit_event *e);

/* For tests: the store's wall clock. NULL: the true one. Any thread. */
void kb_store_set_clock(struct kb_store *s, int64_t (*now)(void));

#endif
