/* The sources thread: takes configurations, lets the drivers list, keeps the inventory and the
 * store in step, and answers who opens a console. It waits for the store, never the other way
 * round. All but the functions of source.h runs on the sources thread. */
#include "source/driver.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

struct kb_sources {
    struct kb_worker worker;
    struct kb_store *store;
    struct kb_source *inventory;
};

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

static bool sync_store(struct kb_sources *s, const char *name, struct kb_console *consoles)
{
    size_t count = HASH_COUNT(consoles), i = 0;
    struct kb_console_row *rows = kb_calloc(count, sizeof *rows);
    for (struct kb_console *c = consoles; c; c = c->hh.next)
        rows[i++] = (struct kb_console_row){
            .uuid = c->uuid,
            .name = c->name,
            .hypervisor = c->hypervisor,
            .hypervisor_ip = c->hypervisor_ip,
            .unix_socket = c->unix_socket,
            .host_subject = c->host_subject,
            .owner = c->owner,
            .insecure_port = c->insecure_port,
            .secure_port = c->secure_port,
        };
    struct kb_store_sync_consoles call = {
        .call.verb = KB_STORE_SYNC_CONSOLES,
        .source = name,
        .rows = rows,
        .count = count,
    };
    enum kb_store_status status = kb_store_run(s->store, &call.call);
    free(rows);
    return status == KB_STORE_OK;
}

/* Sources that left the configuration go from the store, also those that left while nobody ran. */
static void retain_in_store(struct kb_sources *s)
{
    size_t count = HASH_COUNT(s->inventory), i = 0;
    const char **names = kb_calloc(count, sizeof *names);
    for (struct kb_source *source = s->inventory; source; source = source->hh.next)
        names[i++] = source->name;
    struct kb_store_retain_sources call = {
        .call.verb = KB_STORE_RETAIN_SOURCES,
        .sources = names,
        .count = count,
    };
    if (kb_store_run(s->store, &call.call) != KB_STORE_OK)
        kb_log(KB_LOG_WARNING, "source.store_failed",
               KB_STR("detail", "consoles of sources that were removed stay in the store until the "
                                "next load"));
    free(names);
}

/* --- a driver's answers ----------------------------------------------------------------------- */

static void measure(struct kb_source *source)
{
    set_metric(&metric_up, source->name, source->state == KB_SOURCE_OK);
    set_metric(&metric_consoles, source->name, HASH_COUNT(source->consoles));
    source->refresh_took = (int64_t)(kb_clock_us() - source->refresh_began);
    source->refreshed_at = kb_clock_wall_ms();
    set_metric(&metric_refresh, source->name, source->refresh_took);
}

void kb_source_failed(struct kb_sources *s, struct kb_source *source, const char *why)
{
    bool changed = source->state != KB_SOURCE_FAILED;
    char *error = kb_strdup(why);
    free(source->error);
    source->error = error;
    source->state = KB_SOURCE_FAILED;
    if (!source->stale_since)
        source->stale_since = kb_clock_wall_ms();
    measure(source);
    if (changed)
        audit(s, source, "source.failed", KB_REASON_SOURCE_FAILED, why);
}

void kb_source_listed(struct kb_sources *s, struct kb_source *source, struct kb_console *consoles)
{
    kb_consoles_destroy(&source->consoles); /* who is opening one holds its own reference */
    source->consoles = consoles;
    kb_source_unchanged(s, source);
}

void kb_source_unchanged(struct kb_sources *s, struct kb_source *source)
{
    if (!sync_store(s, source->name, source->consoles)) {
        kb_source_failed(s, source, "the store did not take the source's consoles");
        return;
    }
    bool changed = source->state != KB_SOURCE_OK;
    free(source->error);
    source->error = NULL;
    source->state = KB_SOURCE_OK;
    source->stale_since = 0;
    source->last_good = kb_clock_wall_ms();
    measure(source);
    if (changed)
        audit(s, source, "source.ok", KB_REASON_NONE, "");
}

/* --- load ------------------------------------------------------------------------------------- */

struct load {
    struct kb_message message;
    struct kb_sources *sources;
    struct kb_source_config *configs;
    size_t count;
    struct kb_latch latch;
};

static void remove_source(struct kb_sources *s, struct kb_source *source)
{
    kb_log(KB_LOG_INFO, "source.removed", KB_STR("source", source->name));
    set_metric(&metric_up, source->name, 0);
    set_metric(&metric_consoles, source->name, 0);
    kb_inventory_remove(&s->inventory, source);
}

static void load_source(struct kb_sources *s, struct kb_source *source,
                        struct kb_source_config *config)
{
    const struct kb_source_driver *driver =
        config->type ? kb_source_driver_find(config->type) : NULL;
    source->refresh_began = kb_clock_us();
    free(source->type);
    source->type = kb_strdup(config->type ? config->type : "");
    source->misconfigured = config->error || !driver;
    if (config->error) {
        kb_source_failed(s, source, config->error);
    } else if (!driver) {
        kb_source_failed(s, source, "this version has no driver for the source's type");
    } else {
        if (source->driver != driver) /* another driver cannot open what this one listed */
            kb_consoles_destroy(&source->consoles);
        kb_source_config_finish(&source->config);
        source->config = *config;
        *config = (struct kb_source_config){0};
        source->driver = driver;
        driver->list(s, source);
    }
    kb_source_config_finish(config);
}

static void run_load(struct kb_message *m)
{
    struct load *l = (struct load *)m;
    struct kb_sources *s = l->sources;
    for (size_t i = 0; i < l->count; i++)
        kb_inventory_need(&s->inventory, l->configs[i].name)->wanted = true;
    struct kb_source *source, *next;
    HASH_ITER (hh, s->inventory, source, next) {
        if (!source->wanted)
            remove_source(s, source);
        else
            source->wanted = false;
    }
    retain_in_store(s);
    for (size_t i = 0; i < l->count; i++)
        load_source(s, kb_inventory_find(s->inventory, l->configs[i].name), &l->configs[i]);
    free(l->configs);
    kb_latch_count_down(&l->latch);
}

void kb_sources_load(struct kb_sources *s, struct kb_source_config *configs, size_t count)
{
    struct load l = {.message.run = run_load, .sources = s, .configs = configs, .count = count};
    kb_latch_init(&l.latch, 1);
    kb_mailbox_post(&s->worker.box, &l.message);
    kb_latch_wait(&l.latch);
}

/* --- open ------------------------------------------------------------------------------------- */

/* The request goes there and back in one message; where it is headed is known by its run(). The
 * sender's struct has no room for the thread it goes to, so an envelope carries it. */
struct envelope {
    struct kb_message message;
    struct kb_sources *sources;
    struct kb_source_open *open;
};

static void run_opened(struct kb_message *m)
{
    struct kb_source_open *o = (struct kb_source_open *)m;
    o->done(o);
}

void kb_source_opened(struct kb_source_open *o, enum kb_reason reason, struct kb_target *target)
{
    o->reason = reason;
    o->target = target;
    o->message.run = run_opened;
    if (!o->reply_to) {
        o->done(o);
        return;
    }
    kb_mailbox_post(o->reply_to, &o->message);
}

static void run_open(struct kb_message *m)
{
    struct envelope *e = (struct envelope *)m;
    struct kb_sources *s = e->sources;
    struct kb_source_open *o = e->open;
    free(e);
    struct kb_source *source = kb_inventory_find(s->inventory, o->source);
    struct kb_console *console = source ? kb_consoles_find(source->consoles, o->uuid) : NULL;
    if (console)
        source->driver->open(s, source, console, o);
    else /* a source that never listed anything cannot say that the console is gone */
        kb_source_opened(
            o, source && !source->last_good ? KB_REASON_SOURCE_FAILED : KB_REASON_CONSOLE_GONE,
            NULL);
}

void kb_source_open(struct kb_sources *s, struct kb_source_open *o)
{
    struct envelope *e = kb_zalloc(sizeof *e);
    e->message.run = run_open;
    e->sources = s;
    e->open = o;
    kb_mailbox_post(&s->worker.box, &e->message);
}

struct open_now {
    struct kb_source_open open;
    struct kb_latch latch;
};

static void opened_now(struct kb_source_open *o)
{
    kb_latch_count_down(&((struct open_now *)o)->latch);
}

enum kb_reason kb_source_open_now(struct kb_sources *s, const char *source, const char *uuid,
                                  struct kb_target **target)
{
    struct open_now n = {.open.done = opened_now};
    kb_latch_init(&n.latch, 1);
    kb_copy_str(n.open.source, sizeof n.open.source, source);
    kb_copy_str(n.open.uuid, sizeof n.open.uuid, uuid);
    kb_source_open(s, &n.open);
    kb_latch_wait(&n.latch);
    *target = n.open.target;
    return n.open.reason;
}

/* --- list ------------------------------------------------------------------------------------- */

struct list {
    struct kb_message message;
    struct kb_sources *sources;
    struct kb_source_view *views;
    size_t count;
    struct kb_latch latch;
};

static struct kb_source_view view_of(const struct kb_source *source)
{
    return (struct kb_source_view){
        .name = kb_strdup(source->name),
        .type = kb_strdup(source->type),
        .error = kb_strdup(source->error),
        .last_good = source->last_good,
        .stale_since = source->stale_since,
        .refreshed_at = source->refreshed_at,
        .refresh_took = source->refresh_took,
        .consoles = HASH_COUNT(source->consoles),
    };
}

static int by_name(const struct kb_source *a, const struct kb_source *b)
{
    return strcmp(a->name, b->name);
}

static void run_list(struct kb_message *m)
{
    struct list *l = (struct list *)m;
    struct kb_sources *s = l->sources;
    HASH_SORT(s->inventory, by_name);
    l->count = HASH_COUNT(s->inventory);
    l->views = kb_calloc(l->count, sizeof *l->views);
    size_t i = 0;
    for (struct kb_source *source = s->inventory; source; source = source->hh.next)
        l->views[i++] = view_of(source);
    kb_latch_count_down(&l->latch);
}

size_t kb_sources_list(struct kb_sources *s, struct kb_source_view **views)
{
    struct list l = {.message.run = run_list, .sources = s};
    kb_latch_init(&l.latch, 1);
    kb_mailbox_post(&s->worker.box, &l.message);
    kb_latch_wait(&l.latch);
    *views = l.views;
    return l.count;
}

/* --- refresh ---------------------------------------------------------------------------------- */

struct refresh {
    struct kb_message message;
    struct kb_sources *sources;
    const char *name;
    struct kb_source_view *view;
    struct kb_latch latch;
};

static void run_refresh(struct kb_message *m)
{
    struct refresh *r = (struct refresh *)m;
    struct kb_source *source = kb_inventory_find(r->sources->inventory, r->name);
    if (source) {
        /* One that its configuration keeps from loading stays as it is until a reload. */
        if (source->driver && !source->misconfigured) {
            source->refresh_began = kb_clock_us();
            source->driver->refresh(r->sources, source);
        }
        r->view = kb_calloc(1, sizeof *r->view);
        *r->view = view_of(source);
    }
    kb_latch_count_down(&r->latch);
}

size_t kb_sources_refresh(struct kb_sources *s, const char *name, struct kb_source_view **view)
{
    struct refresh r = {.message.run = run_refresh, .sources = s, .name = name};
    kb_latch_init(&r.latch, 1);
    kb_mailbox_post(&s->worker.box, &r.message);
    kb_latch_wait(&r.latch);
    *view = r.view;
    return r.view ? 1 : 0;
}

void kb_source_views_free(struct kb_source_view *views, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(views[i].name);
        free(views[i].type);
        free(views[i].error);
    }
    free(views);
}

/* --- life ------------------------------------------------------------------------------------- */

struct kb_sources *kb_sources_create(struct kb_store *store)
{
    struct kb_sources *s = kb_zalloc(sizeof *s);
    s->store = store;
    kb_worker_init(&s->worker);
    s->worker.owner = s;
    kb_worker_start(&s->worker, "sources");
    return s;
}

void kb_sources_destroy(struct kb_sources *s)
{
    if (!s)
        return;
    kb_worker_stop(&s->worker);
    kb_inventory_destroy(&s->inventory);
    free(s);
}
