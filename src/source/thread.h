/* The sources thread's own view: its sources, the calls that drivers have under way, and when each
 * source is due. Private to source; all of it belongs to the sources thread but what is said to be
 * other threads'. */
#ifndef KB_SOURCE_THREAD_H
#define KB_SOURCE_THREAD_H

#include "source/driver.h"

/* One configuration of a source at work, and what its driver keeps. Counted: calls hold it, so that
 * a reload replaces it while they end. */
struct kb_cloud {
    unsigned refs;    /* by __atomic */
    atomic_bool stop; /* nobody wants a list of it any more; any thread */
    const struct kb_source_driver *driver;
    struct kb_source_config config;
    void *state;
    bool instant; /* as the driver says of this configuration */
};

enum kb_source_state { KB_SOURCE_NEW, KB_SOURCE_OK, KB_SOURCE_FAILED };

struct kb_refresh; /* somebody who waits for a listing */

struct kb_source {
    UT_hash_handle hh;           /* in the inventory, by name */
    uint64_t serial;             /* no other source had it, also not one of this name */
    char *name, *type;           /* as last configured */
    struct kb_cloud *cloud;      /* NULL until a configuration without error came */
    struct kb_console *consoles; /* the map; the last good list */
    enum kb_source_state state;
    char *error;            /* of a failed one */
    int64_t last_good;      /* wall clock ms; 0: never */
    int64_t stale_since;    /* 0: fresh */
    uint64_t refresh_began; /* monotonic us */
    int64_t refreshed_at;   /* wall clock ms, when the last one ended, well or not; 0: never */
    int64_t refresh_took;   /* us */
    uint64_t stored_us;     /* when the store last got the whole list; 0: it has to */
    uint64_t due_us;        /* when it is listed again; 0: only when somebody asks */
    unsigned failures;      /* in a row */
    bool misconfigured;     /* as last configured it cannot be loaded */
    bool wanted;            /* by the configuration that is being loaded */
    bool listing, waiting;  /* a call of list, of wait is under way */
    bool announced;         /* wait said that the list has changed; it is not listed yet */
    bool never_listed;      /* by this configuration */
    struct kb_refresh *asked, *promised; /* wait for the next listing; for the one under way */
    struct kb_source_open *held;         /* came before the first listing ended */
    struct kb_source_open *queue;        /* more than may run at a time */
    unsigned opening;                    /* under way */
};

struct kb_sources {
    struct kb_worker worker;
    struct kb_store *store;
    struct kb_source *inventory;
    uint64_t serials;
    unsigned calls;         /* threads of drivers that have not come back */
    struct kb_message stop; /* of kb_sources_stop */
    bool stop_asked;        /* main thread's */
    bool stopping;
    struct kb_latch *stopped; /* counted down when stopping and no call is left */
};

struct kb_source *kb_inventory_find(struct kb_source *inventory, const char *name);

/* --- call.c: a driver's verb on a thread of its own ------------------------------------------- */

struct kb_call {
    struct kb_message message; /* comes back with it */
    struct kb_sources *sources;
    struct kb_cloud *cloud;
    struct kb_source_call call;
    void (*work)(struct kb_call *c); /* on the new thread */
    void (*done)(struct kb_call *c); /* on the sources thread; frees what is its own */
    char *source;
    uint64_t serial;            /* its source's */
    struct kb_console *console; /* open, connect */
    struct kb_source_open *open;
    char user[256];
    struct kb_console *map; /* list */
    enum kb_listed listed;
    enum kb_reason reason; /* open */
    struct kb_target *target;
    int fd;
    bool changed; /* wait */
};
/* A call that is not begun; for source->cloud. limit_ms from now it should have an answer. */
struct kb_call *kb_call_create(struct kb_sources *s, struct kb_source *source, int64_t limit_ms);
/* Runs work on a thread, then done on this one. Where no thread can be had, done comes at once with
 * call.why and what the call had before. */
void kb_call_begin(struct kb_call *c);

struct kb_cloud *kb_cloud_create(const struct kb_source_driver *driver,
                                 struct kb_source_config *config); /* takes it over */
struct kb_cloud *kb_cloud_ref(struct kb_cloud *c);
void kb_cloud_unref(struct kb_cloud *c); /* takes NULL; any thread */

/* --- refresh.c: lists, when they are due, and what comes of them ------------------------------ */

struct kb_refresh {
    struct kb_message message;
    struct kb_sources *sources;
    const char *name;
    struct kb_source_view *view; /* out */
    struct kb_latch latch;
    struct kb_refresh *next;
};

/* Starts what is due and says in how many ms the next is. */
unsigned kb_sources_tick(struct kb_sources *s);
/* Begins a listing now, or as soon as the one under way has ended. */
void kb_source_list_now(struct kb_sources *s, struct kb_source *source);
void kb_source_failed(struct kb_sources *s, struct kb_source *source, const char *why);
/* A console that its cloud told of between two listings; takes it over. False: the store did not.
 * */
bool kb_source_adopt(struct kb_sources *s, struct kb_source *source, struct kb_console *console);
/* Lets those who wait for a listing go: there will be none. */
void kb_source_let_go(struct kb_source *source);
struct kb_source_view kb_source_view_of(const struct kb_source *source);
void kb_source_measure(struct kb_source *source);

/* --- open.c ----------------------------------------------------------------------------------- */

/* The first listing has ended: answers what was held. */
void kb_source_open_held(struct kb_sources *s, struct kb_source *source);
/* Answers all that was not begun with SOURCE_FAILED or CONSOLE_GONE. */
void kb_source_drop_opens(struct kb_source *source, enum kb_reason reason);

#endif
