/* Where consoles come from. A source lists consoles and, when one is opened, says how to reach it
 * right now and with which ticket. The sources thread owns the inventory; others ask by message. */
#ifndef KB_SOURCE_SOURCE_H
#define KB_SOURCE_SOURCE_H

#include "base/mailbox.h"
#include "base/reason.h"
#include "base/secret.h"

#include <stddef.h>
#include <stdint.h>

struct kb_store;
struct kb_sources;

enum kb_tls_mode {
    KB_TLS_UNSET,   /* require where the console has a secure_port, else plain */
    KB_TLS_REQUIRE, /* TLS to secure_port or nothing */
    KB_TLS_PREFER,  /* TLS to secure_port when the source gives a CA or the console a host_subject,
                       or when it is the only port; else the plain port, and secure_port if that
                       answers NEED_SECURED */
    KB_TLS_PLAIN,   /* the plain port */
};

/* --- configuration, as the daemon read it ----------------------------------------------------- */

/* Absent texts are NULL. It is reached by unix_socket if that is set, which never carries TLS; else
 * at hypervisor_ip, else at the name hypervisor. */
struct kb_static_console {
    char *uuid, *name, *hypervisor, *hypervisor_ip, *unix_socket, *host_subject;
    char *owner;  /* the name of the principal whom it belongs to */
    char *policy; /* for the configuration, which attaches it */
    uint16_t insecure_port, secure_port;
    struct kb_secret ticket;
};

struct kb_source_config {
    char *name, *type; /* type: "static" */
    enum kb_tls_mode tls;
    char *ca_cert; /* PEM text, or NULL: the system's trust */
    char *error;   /* NULL, or why it cannot be loaded: what it had before stays, marked stale */
    struct kb_static_console *consoles; /* each uuid once */
    size_t console_count;
};
void kb_source_config_finish(struct kb_source_config *c); /* wipes the tickets */

/* Whether this version has a driver for the type. */
bool kb_source_type_known(const char *type);

/* --- the sources thread ----------------------------------------------------------------------- */

struct kb_sources *kb_sources_create(struct kb_store *store);
/* Answers what was posted, then ends the thread. The store must still be there. Takes NULL. */
void kb_sources_destroy(struct kb_sources *s);
/* Takes over the configs (moves the strings out, frees the array; names differ) and waits until the
 * consoles are in the inventory and the store. A source that is no longer there goes with its
 * consoles, also one that only the store remembers. A source that fails keeps what it had. Main
 * thread, at start and reload. Audits source.ok or source.failed when that changes. */
void kb_sources_load(struct kb_sources *s, struct kb_source_config *configs, size_t count);

/* --- opening a console ------------------------------------------------------------------------ */

/* How to reach a console now. Counted, immutable; any thread. */
struct kb_target {
    unsigned refs; /* by __atomic */
    char *source, *uuid, *name;
    char *host;        /* what to dial: an address or a name; NULL with unix_socket */
    char *tls_name;    /* the name the certificate may carry besides host, or NULL */
    char *unix_socket; /* or NULL */
    uint16_t port, tls_port;
    enum kb_tls_mode tls;        /* never UNSET; PLAIN with unix_socket */
    char *ca_pem, *host_subject; /* or NULL */
    struct kb_secret ticket;
};
struct kb_target *kb_target_ref(struct kb_target *t);
void kb_target_unref(struct kb_target *t); /* takes NULL */

/* Loops post this; done() gets it back on reply_to's thread and owns it. */
struct kb_source_open {
    struct kb_message message;
    struct kb_mailbox *reply_to; /* NULL: done runs on the sources thread */
    void (*done)(struct kb_source_open *o);
    char source[256], uuid[256];
    /* out */
    enum kb_reason reason;    /* NONE, CONSOLE_GONE or SOURCE_FAILED */
    struct kb_target *target; /* the receiver unrefs */
};
void kb_source_open(struct kb_sources *s, struct kb_source_open *o);
/* The same for threads that may block. */
enum kb_reason kb_source_open_now(struct kb_sources *s, const char *source, const char *uuid,
                                  struct kb_target **target);

/* --- for pages -------------------------------------------------------------------------------- */

struct kb_source_view {
    char *name, *type, *error; /* error: NULL when all is well */
    int64_t last_good;         /* wall clock ms; 0: never */
    int64_t stale_since;       /* 0: it is fresh */
    int64_t refreshed_at;      /* when the last refresh ended, well or not; 0: never */
    int64_t refresh_took;      /* us; of that one */
    size_t consoles;           /* in the inventory, stale ones included */
};
/* Blocks for the sources thread. The caller frees with kb_source_views_free. */
size_t kb_sources_list(struct kb_sources *s, struct kb_source_view **views);
/* Lists one source again, now, and says how it is after that. 0: there is no such source. Blocks
 * for the sources thread. The caller frees with kb_source_views_free. */
size_t kb_sources_refresh(struct kb_sources *s, const char *name, struct kb_source_view **view);
void kb_source_views_free(struct kb_source_view *views, size_t count);

#endif
