/* Listing sources: when each is due, what comes of a list, and how the inventory and the store are
 * kept in step with it. Sources thread, but for what the driver does. It waits for the store, never
 * the other way round. */
#include "source/thread.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

#define SECOND_US UINT64_C(1000000)
#define LIST_LIMIT_MS (2 * 60 * 1000) /* for all requests of one listing */
#define WAIT_LIMIT_MS (INT64_C(365) * 24 * 3600 * 1000)
#define BACK_OFF_FIRST (5 * SECOND_US)
#define BACK_OFF_LAST (300 * SECOND_US)
/* Other nodes of the same store may have written over it; the whole list mends that. */
#define STORE_WHOLE_US (600 * SECOND_US)

static struct kb_family metric_up = {
    .name = "kerbside_source_up",
    .help = "1 if the source's last refresh succeeded, else 0",
    .kind = KB_GAUGE,
    .labels = {"source"},
};
static struct kb_family metric_consoles = {
    .name = "kerbside_source_consoles",
    .help = "Consoles that the source has in the inventory, stale ones included",
    .kind = KB_GAUGE,
    .labels = {"source"},
};
static struct kb_family metric_refresh = {
    .name = "kerbside_source_refresh_seconds",
    .help = "How long the source's last refresh took",
    .kind = KB_GAUGE,
    .labels = {"source"},
    .scale = 1000000,
};

static void set_metric(struct kb_family *family, const char *source, int64_t value)
{
    kb_metric_set(kb_metric(family, source, NULL, NULL, NULL), value);
}

void kb_source_measure(struct kb_source *source)
{
    set_metric(&metric_up, source->name, source->state == KB_SOURCE_OK);
    set_metric(&metric_consoles, source->name, HASH_COUNT(source->consoles));
}

/* A refresh has ended, well or not. */
static void refreshed(struct kb_source *source)
{
    source->refresh_took = (int64_t)(kb_clock_us() - source->refresh_began);
    source->refreshed_at = kb_clock_wall_ms();
    set_metric(&metric_refresh, source->name, source->refresh_took);
    kb_source_measure(source);
}

static void audit(struct kb_sources *s, const struct kb_source *source, const char *event,
                  enum kb_reason reason, const char *detail)
{
    struct kb_audit_event e = {0};
    kb_copy_str(e.event, sizeof e.event, event);
    kb_copy_str(e.source, sizeof e.source, source->name);
    if (reason != KB_REASON_NONE)
        kb_copy_str(e.reason, sizeof e.reason, kb_reason_name(reason));
    kb_copy_str(e.detail, sizeof e.detail, detail);
    kb_store_audit(s->store, &e);
}

/* --- the store's copy ------------------------------------------------------------------------- */

static bool sync_store(struct kb_sources *s, struct kb_source *source)
{
    size_t count = HASH_COUNT(source->consoles), i = 0;
    struct kb_console_row *rows = kb_calloc(count, sizeof *rows);
    for (struct kb_console *c = source->consoles; c; c = c->hh.next)
        rows[i++] = (struct kb_console_row){
            .uuid = c->uuid,
            .name = c->name,
            .project = c->project,
            .owner = c->owner,
            .state = c->state,
            .hypervisor = c->hypervisor,
            .hypervisor_ip = c->hypervisor_ip,
            .unix_socket = c->unix_socket,
            .host_subject = c->host_subject,
            .protocol = (char *)(uintptr_t)kb_protocol_name(c->protocol),
            .transport = (char *)(uintptr_t)kb_transport_name(c->transport),
            .insecure_port = c->insecure_port,
            .secure_port = c->secure_port,
        };
    struct kb_store_sync_consoles call = {
        .call.verb = KB_STORE_SYNC_CONSOLES,
        .source = source->name,
        .rows = rows,
        .count = count,
    };
    enum kb_store_status status = kb_store_run(s->store, &call.call);
    free(rows);
    source->stored_us = status == KB_STORE_OK ? kb_clock_us() : 0;
    return status == KB_STORE_OK;
}

bool kb_source_adopt(struct kb_sources *s, struct kb_source *source, struct kb_console *console)
{
    const struct kb_console *old = kb_consoles_find(source->consoles, console->uuid);
    bool same = old && kb_console_equal(old, console) && source->stored_us;
    kb_consoles_add(&source->consoles, console);
    /* Before the first listing the inventory is not the whole: a sync would remove the rest. */
    if (!source->last_good)
        return false;
    kb_source_measure(source);
    return same || sync_store(s, source);
}

/* Only the time of it: the consoles are those that the store has. */
static bool touch_store(struct kb_sources *s, struct kb_source *source)
{
    struct kb_store_sync_consoles call = {
        .call.verb = KB_STORE_SYNC_CONSOLES,
        .source = source->name,
        .unchanged = true,
    };
    return kb_store_run(s->store, &call.call) == KB_STORE_OK;
}

/* --- what comes of a list --------------------------------------------------------------------- */

/* A sixth more or less, so that sources of one kind do not knock at the same moment. */
static uint64_t jittered(uint64_t us)
{
    uint32_t random;
    kb_random(&random, sizeof random);
    return us - us / 6 + us / 3 * (random % 1024) / 1024;
}

static uint64_t back_off(unsigned failures)
{
    uint64_t us = BACK_OFF_FIRST;
    for (unsigned i = 1; i < failures && us < BACK_OFF_LAST; i++)
        us *= 2;
    return us < BACK_OFF_LAST ? us : BACK_OFF_LAST;
}

static void schedule(struct kb_source *source, const struct kb_source_call *call)
{
    const struct kb_cloud *cloud = source->cloud;
    uint64_t every = cloud ? (uint64_t)cloud->config.refresh * 1000 : 0;
    /* What is announced comes beside the clock, or a busy cloud would never be listed by it. */
    if (call->announced && !source->failures && source->due_us)
        return;
    source->due_us = 0;
    if (!cloud || source->misconfigured)
        return;
    if (cloud->instant) {
        if (call->again)
            source->due_us = kb_clock_us() + (uint64_t)call->again * 1000;
    } else if (source->failures) {
        uint64_t wait = back_off(source->failures), asked = (uint64_t)call->retry_after * 1000;
        source->due_us = kb_clock_us() + jittered(wait) + asked;
    } else if (every) {
        source->due_us = kb_clock_us() + jittered(every);
    }
}

void kb_source_failed(struct kb_sources *s, struct kb_source *source, const char *why)
{
    bool changed = source->state != KB_SOURCE_FAILED;
    char *error = kb_strdup(why);
    free(source->error);
    source->error = error;
    source->state = KB_SOURCE_FAILED;
    source->failures++;
    if (!source->stale_since)
        source->stale_since = kb_clock_wall_ms();
    refreshed(source);
    if (changed)
        audit(s, source, "source.failed", KB_REASON_SOURCE_FAILED, why);
}

static void succeeded(struct kb_sources *s, struct kb_source *source, bool changed_list)
{
    bool whole = changed_list || !source->stored_us || source->asked || source->promised ||
                 kb_clock_us() - source->stored_us > STORE_WHOLE_US;
    if (!(whole ? sync_store(s, source) : touch_store(s, source))) {
        source->stored_us = 0;
        kb_source_failed(s, source, "the store did not take the source's consoles");
        return;
    }
    bool changed = source->state != KB_SOURCE_OK;
    free(source->error);
    source->error = NULL;
    source->state = KB_SOURCE_OK;
    source->failures = 0;
    source->stale_since = 0;
    source->last_good = kb_clock_wall_ms();
    refreshed(source);
    if (changed)
        audit(s, source, "source.ok", KB_REASON_NONE, "");
}

/* Takes what is in *map. */
static void conclude(struct kb_sources *s, struct kb_source *source, enum kb_listed listed,
                     struct kb_console **map, const struct kb_source_call *call)
{
    source->never_listed = false;
    if (listed == KB_LIST_FAILED) {
        kb_source_failed(s, source, *call->why ? call->why : "the source cannot be listed");
    } else {
        bool changed = false;
        if (listed == KB_LISTED) {
            changed = !kb_consoles_equal(source->consoles, *map);
            kb_consoles_destroy(&source->consoles); /* who is opening one has its own copy */
            source->consoles = *map;
            *map = NULL;
        }
        succeeded(s, source, changed);
    }
    schedule(source, call);
}

/* --- listing ---------------------------------------------------------------------------------- */

struct kb_source_view kb_source_view_of(const struct kb_source *source)
{
    return (struct kb_source_view){
        .name = kb_strdup(source->name),
        .type = kb_strdup(source->type),
        .error = kb_strdup(source->error),
        .last_good = source->last_good,
        .stale_since = source->stale_since,
        .refreshed_at = source->refreshed_at,
        .refresh_took = source->refresh_took,
        .pending = source->state == KB_SOURCE_NEW,
        .consoles = HASH_COUNT(source->consoles),
    };
}

static void let_go(struct kb_refresh **list, const struct kb_source *source)
{
    while (*list) {
        struct kb_refresh *r = *list;
        *list = r->next;
        r->view = kb_calloc(1, sizeof *r->view);
        *r->view = kb_source_view_of(source);
        kb_latch_count_down(&r->latch);
    }
}

void kb_source_let_go(struct kb_source *source)
{
    let_go(&source->promised, source);
    let_go(&source->asked, source);
}

static void work_wait(struct kb_call *c)
{
    c->changed = c->cloud->driver->wait(&c->call);
}

static void waited(struct kb_call *c)
{
    struct kb_source *source = kb_inventory_find(c->sources->inventory, c->source);
    if (!source || source->cloud != c->cloud)
        return;
    source->waiting = false;
    source->announced = c->changed;
    if (c->changed && !c->sources->stopping)
        kb_source_list_now(c->sources, source);
    /* else: the next listing, which is due by the clock, begins to wait anew */
}

static void begin_waiting(struct kb_sources *s, struct kb_source *source)
{
    const struct kb_source_driver *driver = source->cloud->driver;
    if (source->waiting || !driver->wait || s->stopping ||
        (source->state != KB_SOURCE_OK && !driver->waits_always))
        return;
    struct kb_call *c = kb_call_create(s, source, WAIT_LIMIT_MS);
    c->work = work_wait;
    c->done = waited;
    source->waiting = true;
    kb_call_begin(c);
}

static void work_list(struct kb_call *c)
{
    c->listed = c->cloud->driver->list(&c->call, &c->map);
}

static void listed(struct kb_call *c)
{
    struct kb_sources *s = c->sources;
    struct kb_source *source = kb_inventory_find(s->inventory, c->source);
    if (!source || source->cloud != c->cloud) /* removed or reloaded meanwhile */
        return;
    source->listing = false;
    if (!s->stopping)
        conclude(s, source, c->listed, &c->map, &c->call);
    let_go(&source->promised, source);
    kb_source_open_held(s, source);
    if (source->asked || source->announced)
        kb_source_list_now(s, source);
    else
        begin_waiting(s, source);
}

static void list_here(struct kb_sources *s, struct kb_source *source)
{
    struct kb_source_call call = {
        .config = &source->cloud->config,
        .state = source->cloud->state,
        .stop = &source->cloud->stop,
        .user = "",
        .deadline_us = UINT64_MAX,
    };
    struct kb_console *map = NULL;
    enum kb_listed result = source->cloud->driver->list(&call, &map);
    conclude(s, source, result, &map, &call);
    kb_consoles_destroy(&map);
    let_go(&source->promised, source);
    begin_waiting(s, source);
}

void kb_source_list_now(struct kb_sources *s, struct kb_source *source)
{
    if (!source->cloud || source->misconfigured || s->stopping) {
        kb_source_let_go(source);
        return;
    }
    if (source->listing) {
        source->due_us = 1; /* when that has ended */
        return;
    }
    uint64_t now = kb_clock_us();
    bool due = source->due_us && source->due_us <= now;
    bool announced = source->announced && !source->asked && !due;
    source->promised = source->asked;
    source->asked = NULL;
    source->announced = false;
    if (!announced)
        source->due_us = 0;
    source->refresh_began = now;
    if (source->cloud->instant) {
        list_here(s, source);
        return;
    }
    struct kb_call *c = kb_call_create(s, source, LIST_LIMIT_MS);
    c->call.announced = announced;
    c->work = work_list;
    c->done = listed;
    source->listing = true;
    kb_call_begin(c);
}

unsigned kb_sources_tick(struct kb_sources *s)
{
    const uint64_t longest = 3600 * SECOND_US;
    uint64_t now = kb_clock_us(), next = now + longest;
    for (struct kb_source *source = s->inventory; source; source = source->hh.next) {
        if (source->due_us && source->due_us <= now && !source->listing)
            kb_source_list_now(s, source);
        if (source->due_us && !source->listing && source->due_us < next)
            next = source->due_us;
    }
    return next > now ? (unsigned)((next - now) / 1000 + 1) : 1;
}
