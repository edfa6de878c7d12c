/* What a kind of source must be able to do. A new cloud is one file and one row in driver.c;
 * docs/write-a-source.md goes through the smallest.
 *
 * A driver is plain blocking code: each call runs on a thread of its own, beside those of all other
 * sources, and may ask its cloud one thing after the other within its deadline. What it keeps from
 * call to call (a login) is shared by calls that run at the same time; session.h keeps such a thing
 * safely. The inventory, the store, back-off and the clock are the framework's. */
#ifndef KB_SOURCE_DRIVER_H
#define KB_SOURCE_DRIVER_H

#include "base/auto.h"
#include "source/inventory.h"

#include <stdatomic.h>

/* --- its keys in the configuration ------------------------------------------------------------ */

/* Beside these every source has: source, type, tls, ca_cert, refresh, timeout, address_map. */
enum kb_key_kind {
    KB_KEY_TEXT,     /* text: one line of max bytes */
    KB_KEY_URL,      /* text: http:// or https://, without a slash at its end; no query unless min
                        is 1 */
    KB_KEY_PATH,     /* text: relative ones start in the file's folder */
    KB_KEY_SECRET,   /* secret: one line of max bytes, {file: PATH} or {env: NAME} */
    KB_KEY_BOOL,     /* flag */
    KB_KEY_PORT,     /* port */
    KB_KEY_DURATION, /* number: ms, min to max */
    KB_KEY_WORD,     /* word: an index of words; the fallback, or the first, where absent */
    KB_KEY_VERIFY,   /* upstream's verify: true, false, or a path to the API's CA, which becomes
                        ca_cert where that is absent; flag: whether to verify; text: the CA's PEM
                        where it is not ca_cert */
};

struct kb_source_key {
    const char *name;
    enum kb_key_kind kind;
    const char *fallback; /* the default as one would write it; NULL: absent, false, 0 */
    int64_t min, max;
    const char *const *words; /* ended by NULL */
    bool required;
};

/* By the key's name, which the driver must have. */
const char *kb_setting_text(const struct kb_source_config *c, const char *key);   /* or NULL */
const char *kb_setting_secret(const struct kb_source_config *c, const char *key); /* "" for none */
int64_t kb_setting_number(const struct kb_source_config *c, const char *key);
uint16_t kb_setting_port(const struct kb_source_config *c, const char *key); /* 0: absent */
unsigned kb_setting_word(const struct kb_source_config *c, const char *key);
bool kb_setting_flag(const struct kb_source_config *c, const char *key);

/* --- a call ----------------------------------------------------------------------------------- */

/* What a driver's verb is given and may answer with. */
struct kb_source_call {
    struct kb_source_config *config; /* not to be changed, unless the source is instant */
    void *state;                     /* what start() made */
    const atomic_bool *stop;         /* true: nobody wants the answer any more */
    uint64_t deadline_us;            /* monotonic: there should be an answer by then */
    const char *audience;            /* exchange: how we are called from outside: public.url */
    bool announced;                  /* list: nothing but wait() asks for it */
    const char *user;                /* open: on whose behalf; "" for nobody in particular */
    struct kb_check *check;          /* of check: where the steps go; else NULL */
    uint64_t step_us;                /* of check: when the step under way began */
    char token_id[256];              /* out, of exchange: what the token calls itself, or "" */
    int64_t retry_after;             /* out: ms that the cloud asked us to stay away; 0: nothing */
    int64_t again;                   /* out, of list: ms after which it will have changed; 0: who
                                        knows */
    char why[256];                   /* out, when it failed: what, where, what to do */
};

/* Says why the call failed; returns false for the caller to return. The first one counts. */
bool kb_call_failed(struct kb_source_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* ms left to the deadline, at least 1; at most the source's timeout. */
int64_t kb_call_left(const struct kb_source_call *call);
bool kb_call_stopped(const struct kb_source_call *call);

/* --- a driver --------------------------------------------------------------------------------- */

enum kb_listed {
    KB_LISTED,           /* the source's consoles are exactly those of the map */
    KB_LISTED_UNCHANGED, /* they are what they were; the map is empty */
    KB_LIST_FAILED,      /* call->why says why; the source keeps what it had */
};

struct kb_source_driver {
    const char *type;
    const struct kb_source_key *keys;
    size_t key_count;
    bool takes_consoles; /* it has the key `consoles`, as static has */
    bool waits_always;   /* wait also tells when a list that failed may succeed by now */
    /* Whether with this configuration list and open ask nobody: then they run on the sources thread
     * itself, and list is called when somebody asks or after call->again. NULL: never. */
    bool (*instant)(const struct kb_source_config *config);
    /* What calls share, made when a configuration is loaded (sources thread: asks nobody); NULL: no
     * such thing. finish: when the last call of that configuration has ended. */
    void *(*start)(const struct kb_source_config *config);
    void (*finish)(void *state);
    /* A configuration replaces another of the same source, whose state is old: takes over what
     * outlives it. Of drivers that are always instant, since nothing else may use old meanwhile.
     * NULL: nothing does. */
    void (*inherit)(void *state, void *old);
    /* Lists all consoles into the map (kb_consoles_add). One at a time. Where call->announced, what
     * wait() was told will do; else the cloud is asked. */
    enum kb_listed (*list)(struct kb_source_call *call, struct kb_console **map);
    /* Says how to reach a console now, with a fresh ticket: NONE with a target of its own
     * (kb_target_of makes one from the record), CONSOLE_GONE when the cloud says that there is no
     * such console, SOURCE_FAILED with call->why. It asks the cloud: where a console was when it
     * was listed may be another one's place by now. console is the caller's copy. Several at a
     * time. NULL: the consoles' own targets are always right. */
    enum kb_reason (*open)(struct kb_source_call *call, const struct kb_console *console,
                           struct kb_target **target);
    /* Makes one connection to a console whose target says KB_TRANSPORT_SOURCE: a connected stream
     * socket, or -1 with call->why. Several at a time. NULL: no console needs it. */
    int (*connect)(struct kb_source_call *call, const struct kb_console *console);
    /* What console a token is for that the cloud gave somebody: NONE with a console of its own (and
     * call->token_id, where the same token can be written in several ways),
     * TOKEN_UNKNOWN, TOKEN_EXPIRED, CONSOLE_GONE or SOURCE_FAILED; call->why may say more. Several
     * at a time. A driver that has it has a key `exchange`, a word of off, own, shared. NULL: its
     * cloud has no such tokens. */
    enum kb_reason (*exchange)(struct kb_source_call *call, const char *token,
                               struct kb_console **console);
    /* Waits until the list may have changed (then true: it is listed again) or call->stop; false
     * with call->why when it cannot tell any more. Began anew after each listing. NULL: the cloud
     * tells nobody. */
    bool (*wait)(struct kb_source_call *call);
    /* Tries the configuration step by step (kb_check_ok, kb_check_failed); false after the first
     * step that failed. After it the framework lists, which is the last step. NULL: it only lists.
     */
    bool (*check)(struct kb_source_call *call);
};

/* NULL if this version has none for the type. */
const struct kb_source_driver *kb_source_driver_find(const char *type);
/* All of them, for the configuration's reader and tests; NULL after the last. */
const struct kb_source_driver *kb_source_driver_at(size_t index);

extern const struct kb_source_driver kb_source_driver_static;
extern const struct kb_source_driver kb_source_driver_http;
extern const struct kb_source_driver kb_source_driver_proxmox;
extern const struct kb_source_driver kb_source_driver_openstack;
extern const struct kb_source_driver kb_source_driver_ovirt;
extern const struct kb_source_driver kb_source_driver_shakenfist;
extern const struct kb_source_driver kb_source_driver_incus;
extern const struct kb_source_driver kb_source_driver_opennebula;
extern const struct kb_source_driver kb_source_driver_kubevirt;
extern const struct kb_source_driver kb_source_driver_libvirt; /* where KB_WITH_LIBVIRT */
extern const struct kb_source_driver kb_source_driver_registered;

/* --- what drivers share ----------------------------------------------------------------------- */

/* A target made from a console's record: host by hypervisor_ip, else hypervisor, through the
 * source's address_map; ports, CA, host_subject, tls mode. No ticket yet. The caller owns it. */
struct kb_target *kb_target_of(const struct kb_source_config *config,
                               const struct kb_console *console);
/* The same console at another place: what is not said here is from's, its ticket too. The caller
 * owns it. */
struct kb_target *kb_target_at(const struct kb_target *from, const char *host, const char *tls_name,
                               const char *host_subject, uint16_t port, uint16_t tls_port);
/* A console with its target and ticket from one that the configuration or a file lists. The caller
 * owns it; c stays as it is. */
struct kb_console *kb_console_of(const struct kb_source_config *config,
                                 const struct kb_static_console *c);
/* What a source's host is here, by its address_map; to be freed. Takes NULL and gives NULL. */
char *kb_address_map(const struct kb_source_config *config, const char *host);

/* Notes a step that went well, or one that failed (returns false), with the time since the one
 * before. Nothing happens in calls that are no check. The step that failed has call->why as its
 * detail. */
void kb_check_ok(struct kb_source_call *call, const char *step, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool kb_check_failed(struct kb_source_call *call, const char *step, const char *advice);

#endif
