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

/* What a console speaks. */
enum kb_protocol { KB_PROTOCOL_SPICE, KB_PROTOCOL_VNC, KB_PROTOCOL_SERIAL };
const char *kb_protocol_name(enum kb_protocol p); /* "spice", "vnc", "serial" */
bool kb_protocol_of(const char *name, enum kb_protocol *p);

/* How a connection to it is made. */
enum kb_transport {
    KB_TRANSPORT_TCP,       /* plain or TLS, as tls says */
    KB_TRANSPORT_UNIX,      /* unix_socket */
    KB_TRANSPORT_CONNECT,   /* through proxy_host: CONNECT host:tls_port, then TLS as with TCP */
    KB_TRANSPORT_WEBSOCKET, /* to path on host; binary messages are the byte stream */
    KB_TRANSPORT_SOURCE,    /* the source makes it: kb_source_connect gives a socket */
};
const char *kb_transport_name(enum kb_transport t); /* "tcp", "unix", "connect", ... */

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
void kb_static_console_finish(struct kb_static_console *c);
void kb_static_consoles_finish(struct kb_static_console *list, size_t count); /* frees list too */

/* Reads the consoles of one file, written as in the configuration: one, or a list of them. They are
 * the caller's. False with *why, to be freed: which file and line, and what is wrong there. Any
 * thread. */
typedef bool kb_static_read(const char *path, struct kb_static_console **list, size_t *count,
                            char **why);

/* One key of a driver; which member counts is its kind's (driver.h). */
struct kb_setting {
    char *text; /* NULL: absent */
    struct kb_secret secret;
    int64_t number; /* ms of a duration */
    uint16_t port;
    unsigned word; /* an index */
    bool flag;
};

/* Rewrites the hosts that a source names: behind NAT, or where it names another network's. */
struct kb_address_rule {
    char *from; /* a host, a pattern with * and ?, or a network such as 10.0.0.0/8 */
    char *to;   /* a host, or for a network one of the same size: the rest of the address stays */
};
/* NULL, or what is wrong with the rule: "is not ...". */
const char *kb_address_rule_check(const struct kb_address_rule *rule);

#define KB_SOURCE_REFRESH_MS 60000
#define KB_SOURCE_TIMEOUT_MS 10000

struct kb_source_config {
    char *name, *type;
    enum kb_tls_mode tls;
    char *ca_cert;                       /* PEM text, or NULL: the system's trust */
    int64_t refresh;                     /* ms between two listings; 0: only when somebody asks */
    int64_t timeout;                     /* ms for each request to the cloud; 0: the default */
    struct kb_address_rule *address_map; /* the first that fits counts */
    size_t address_count;
    struct kb_setting *settings; /* one a key of the driver, in the order of its table */
    size_t setting_count;
    char *error; /* NULL, or why it cannot be loaded: what it had before stays, marked stale */
    struct kb_static_console *consoles; /* each uuid once; of drivers that take them */
    size_t console_count;
    kb_static_read *read_file; /* for drivers whose consoles stand in files */
};
void kb_source_config_finish(struct kb_source_config *c); /* wipes the secrets */

/* Whether this version has a driver for the type. */
bool kb_source_type_known(const char *type);
/* Reads the files that a source's configuration names, as its driver would; *count: the consoles in
 * them, 0 without files. False with why. Any thread, and no thread of sources is needed. */
bool kb_source_files_check(struct kb_source_config *c, size_t *count, char why[256]);

/* --- the sources thread ----------------------------------------------------------------------- */

struct kb_sources *kb_sources_create(struct kb_store *store);
/* Tells what drivers have under way to end, and lets those go who wait for it; nobody waits here.
 * From then on every console that needs a cloud is SOURCE_FAILED. */
void kb_sources_stop(struct kb_sources *s);
/* Ends what drivers have under way (within a second or so), answers what was posted, then ends the
 * thread. The store must still be there. Takes NULL. */
void kb_sources_destroy(struct kb_sources *s);
/* Takes over the configs (moves the strings out, frees the array; names differ). Sources that need
 * nobody (static) are in the inventory and the store when it returns; those that ask a cloud are
 * listed from now on, and nobody waits for them. A source that is no longer there goes with its
 * consoles, also one that only the store remembers. A source that fails keeps what it had. Main
 * thread, at start and reload. Audits source.ok or source.failed when that changes. */
void kb_sources_load(struct kb_sources *s, struct kb_source_config *configs, size_t count);

/* --- opening a console ------------------------------------------------------------------------ */

/* How to reach a console now. Counted, immutable once handed out; any thread. */
struct kb_target {
    unsigned refs; /* by __atomic */
    char *source, *uuid, *name;
    enum kb_protocol protocol;
    enum kb_transport transport;
    char *host;        /* what to dial: an address or a name; NULL with unix_socket; with CONNECT
                          what the proxy is asked for, which is no name that resolves */
    char *tls_name;    /* the name the certificate may carry besides host, or NULL */
    char *unix_socket; /* or NULL */
    char *proxy_host;  /* of CONNECT */
    uint16_t proxy_port;
    uint16_t port, tls_port;
    enum kb_tls_mode tls;        /* never UNSET; PLAIN with unix_socket; REQUIRE with CONNECT */
    char *ca_pem, *host_subject; /* or NULL */
    char *path;                  /* of WEBSOCKET: path and query */
    struct kb_secret header;     /* of WEBSOCKET: "Name: value", or none */
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
    char user[256]; /* who opens it, for clouds that want to know; "" for nobody in particular */
    /* out */
    enum kb_reason reason;    /* NONE, CONSOLE_GONE or SOURCE_FAILED */
    char detail[256];         /* the cloud's own words when it failed, else "" */
    struct kb_target *target; /* the receiver unrefs */
    int fd;                   /* of kb_source_connect: the receiver's; else -1 */
    /* the sources thread's own */
    bool connect;
    struct kb_source_open *next;
};
/* Answered at once where the source need not ask anybody, else within its timeout. While a source
 * is listed for the first time it waits for that. */
void kb_source_open(struct kb_sources *s, struct kb_source_open *o);
/* The same for threads that may block. */
enum kb_reason kb_source_open_now(struct kb_sources *s, const char *source, const char *uuid,
                                  struct kb_target **target);
/* For a console whose target's transport is SOURCE: one connection to it, a socket in fd, where
 * target stays NULL. */
void kb_source_connect(struct kb_sources *s, struct kb_source_open *o);

/* A console on the move: its hypervisor says where it goes, before the cloud does. Loops post this,
 * and own it again in done(), on reply_to's thread. */
struct kb_source_move {
    struct kb_message message;
    struct kb_mailbox *reply_to;
    void (*done)(struct kb_source_move *m);
    char source[256], uuid[256];
    char host[256]; /* as the hypervisor says, and so are the ports; 0: none */
    uint16_t port, tls_port;
    struct kb_target *from; /* where it is; the sender's */
    /* out */
    enum kb_reason reason;    /* NONE, CONSOLE_GONE or MIGRATION_REFUSED */
    struct kb_target *target; /* the receiver unrefs */
    /* the sources thread's own */
    struct kb_sources *sources;
};
/* A hypervisor is not believed: the target has its ports alone. The host must be one where the
 * source lists a console, reached by TCP as this one is, and the place must not be another
 * console's; the address, the certificate's name and subject, the CA and the TLS mode are the
 * source's, and the ticket is that of from. Asks no cloud. */
void kb_source_move(struct kb_sources *s, struct kb_source_move *m);
/* --- machines that announce themselves -------------------------------------------------------- */

/* How an announcement ended. */
enum kb_lease_answer {
    KB_LEASE_NEW,     /* the machine was not there before */
    KB_LEASE_RENEWED, /* it was; what it says of itself may have changed */
    KB_LEASE_ENDED,
    KB_LEASE_TAKEN,     /* another agent holds the name, and its lease lasts */
    KB_LEASE_NOT_THERE, /* nothing to end */
    KB_LEASE_REFUSED,   /* what it says cannot be; see why */
    KB_LEASE_FULL,      /* the source has as many machines as it takes */
    KB_LEASE_NO_SOURCE,
    KB_LEASE_OTHER_TYPE, /* machines do not announce themselves to this source */
    KB_LEASE_FAILED,     /* the source is not loaded, or the store failed; see why */
};

#define KB_LEASE_MS 60000    /* asked for by who does not say */
#define KB_LEASE_MIN_MS 1000 /* nobody gets less */
#define KB_LEASES_MAX 10000  /* machines of one source */

struct kb_source_lease {
    struct kb_message message; /* these three are for this call alone */
    struct kb_sources *sources;
    struct kb_latch latch;
    const char *source;
    const char *holder;               /* whose login or API key it is */
    const char *agent;                /* which agent, by its own word; "" for none */
    const char *from;                 /* the address that the request came from */
    struct kb_static_console machine; /* its uuid is its name; stays the caller's */
    int64_t ms;                       /* the lease that is asked for */
    /* out */
    enum kb_lease_answer answer;
    int64_t granted; /* ms */
    char why[256];
};
/* Announces a machine, or renews its lease. When it returns the machine is in the inventory and the
 * store. Blocks for the sources thread, which never waits long. */
void kb_source_register(struct kb_sources *s, struct kb_source_lease *l);
/* Ends the lease of machine.uuid: for its holder (holder NULL: for anybody) and, where agent is not
 * "", for that agent alone. */
void kb_source_deregister(struct kb_sources *s, struct kb_source_lease *l);
void kb_source_lease_finish(struct kb_source_lease *l); /* the machine's texts; wipes its ticket */

/* --- tokens of clouds ------------------------------------------------------------------------- */

struct kb_source_exchange {
    char source[256], uuid[256], owner[256]; /* of the console that it is for; owner may be "" */
    char why[256];                           /* when it was not exchanged; or "" */
    char token_id[256];                      /* where its bytes do not name the token; or "" */
    size_t asked;                            /* sources; 0: none takes such tokens */
};
/* What console a token is for that a cloud of this type gave somebody; it is in the inventory and
 * the store then. source NULL: of any that has `exchange: shared`. audience: how we are called from
 * outside, public.url. NONE, TOKEN_UNKNOWN, TOKEN_EXPIRED, CONSOLE_GONE or SOURCE_FAILED. Says
 * nothing of whether the token was used before. Blocks until the cloud has answered. */
enum kb_reason kb_source_exchange(struct kb_sources *s, const char *type, const char *source,
                                  const char *token, const char *audience,
                                  struct kb_source_exchange *x);

/* --- for pages -------------------------------------------------------------------------------- */

struct kb_source_view {
    char *name, *type, *error; /* error: NULL when all is well */
    int64_t last_good;         /* wall clock ms; 0: never */
    int64_t stale_since;       /* 0: it is fresh, or was never listed yet */
    bool pending;              /* it is being listed for the first time */
    int64_t refreshed_at;      /* when the last refresh ended, well or not; 0: never */
    int64_t refresh_took;      /* us; of that one */
    size_t consoles;           /* in the inventory, stale ones included */
};
/* Blocks for the sources thread, which never waits long. The caller frees with
 * kb_source_views_free. */
size_t kb_sources_list(struct kb_sources *s, struct kb_source_view **views);
/* Lists one source again, now, and says how it is after that. 0: there is no such source. Blocks
 * until the cloud has answered. The caller frees with kb_source_views_free. */
size_t kb_sources_refresh(struct kb_sources *s, const char *name, struct kb_source_view **view);
void kb_source_views_free(struct kb_source_view *views, size_t count);

/* --- does its configuration work? ------------------------------------------------------------- */

#define KB_CHECK_STEPS 16

struct kb_check_step {
    char step[24]; /* resolve, connect, tls, login, ... */
    bool ok;
    uint64_t us;
    char detail[256]; /* what was found, or the cloud's own words */
    char advice[256]; /* what to do, when it failed; else "" */
};
struct kb_check {
    struct kb_check_step steps[KB_CHECK_STEPS]; /* as far as it got: only the last one can fail */
    size_t count;
};
/* Tries a source's configuration step by step, beside what the source is doing; changes nothing.
 * False: there is no such source. Blocks until the cloud has answered. */
bool kb_source_check(struct kb_sources *s, const char *name, struct kb_check *check);

#endif
