/* The sources thread: takes configurations, keeps the inventory of sources, and answers what pages
 * ask. Listing is refresh.c's, opening open.c's. All but the functions of source.h runs on the
 * sources thread. */
#include "source/thread.h"

#include "base/clock.h"
#include "base/json_memory.h"
#include "base/log.h"
#include "base/mem.h"
#include "source/stream.h"
#include "source/xml.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

/* --- the inventory ---------------------------------------------------------------------------- */

struct kb_source *kb_inventory_find(struct kb_source *inventory, const char *name)
{
    struct kb_source *source;
    HASH_FIND_STR(inventory, name, source);
    return source;
}

/* Finds or makes. */
static struct kb_source *need_source(struct kb_sources *s, const char *name)
{
    struct kb_source *source = kb_inventory_find(s->inventory, name);
    if (source)
        return source;
    source = kb_zalloc(sizeof *source);
    source->name = kb_strdup(name);
    source->serial = ++s->serials;
    HASH_ADD_KEYPTR(hh, s->inventory, source->name, strlen(source->name), source);
    return source;
}

/* What it has under way ends soon; nobody waits for that. */
static void retire(struct kb_source *source)
{
    if (!source->cloud)
        return;
    atomic_store(&source->cloud->stop, true);
    kb_cloud_unref(source->cloud);
    source->cloud = NULL;
    source->listing = source->waiting = false;
}

static void remove_source(struct kb_sources *s, struct kb_source *source)
{
    kb_source_drop_opens(source, KB_REASON_CONSOLE_GONE);
    kb_source_let_go(source);
    HASH_DEL(s->inventory, source);
    retire(source);
    kb_consoles_destroy(&source->consoles);
    free(source->error);
    free(source->name);
    free(source->type);
    free(source);
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

/* --- load ------------------------------------------------------------------------------------- */

struct load {
    struct kb_message message;
    struct kb_sources *sources;
    struct kb_source_config *configs;
    size_t count;
    struct kb_latch latch;
};

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
        if (source->cloud && source->cloud->driver != driver)
            kb_consoles_destroy(&source->consoles); /* another driver cannot open them */
        struct kb_cloud *next = kb_cloud_create(driver, config);
        if (source->cloud && source->cloud->driver == driver && driver->inherit)
            driver->inherit(next->state, source->cloud->state);
        retire(source);
        source->cloud = next;
        source->never_listed = true;
        source->failures = 0;
        kb_source_list_now(s, source);
    }
    if (source->misconfigured) {
        source->due_us = 0;
        kb_source_let_go(source);
        if (!source->listing)
            kb_source_open_held(s, source);
    }
    kb_source_config_finish(config);
}

static void run_load(struct kb_message *m)
{
    struct load *l = (struct load *)m;
    struct kb_sources *s = l->sources;
    for (size_t i = 0; i < l->count; i++)
        need_source(s, l->configs[i].name)->wanted = true;
    struct kb_source *source, *next;
    HASH_ITER (hh, s->inventory, source, next) {
        if (!source->wanted) {
            kb_log(KB_LOG_INFO, "source.removed", KB_STR("source", source->name));
            kb_consoles_destroy(&source->consoles);
            source->state = KB_SOURCE_NEW;
            kb_source_measure(source);
            remove_source(s, source);
        } else {
            source->wanted = false;
        }
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

/* --- list ------------------------------------------------------------------------------------- */

struct list {
    struct kb_message message;
    struct kb_sources *sources;
    struct kb_source_view *views;
    size_t count;
    struct kb_latch latch;
};

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
        l->views[i++] = kb_source_view_of(source);
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

static void run_refresh(struct kb_message *m)
{
    struct kb_refresh *r = (struct kb_refresh *)m;
    struct kb_source *source = kb_inventory_find(r->sources->inventory, r->name);
    if (!source) {
        kb_latch_count_down(&r->latch);
        return;
    }
    r->next = source->asked;
    source->asked = r;
    /* One that its configuration keeps from loading stays as it is until a reload. */
    kb_source_list_now(r->sources, source);
}

size_t kb_sources_refresh(struct kb_sources *s, const char *name, struct kb_source_view **view)
{
    struct kb_refresh r = {.message.run = run_refresh, .sources = s, .name = name};
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

static void run_messages(struct kb_worker *w, struct kb_message *m)
{
    while (m) {
        struct kb_message *next = m->next; /* run() may free or re-post m */
        m->run(m);
        m = next;
    }
    w->idle_ms = kb_sources_tick(w->owner);
}

static void idle(struct kb_worker *w)
{
    w->idle_ms = kb_sources_tick(w->owner);
}

struct kb_sources *kb_sources_create(struct kb_store *store)
{
    kb_json_memory_start();
    kb_xml_start();
    struct kb_sources *s = kb_zalloc(sizeof *s);
    s->store = store;
    kb_worker_init(&s->worker);
    s->worker.owner = s;
    s->worker.batch = run_messages;
    s->worker.idle = idle;
    s->worker.idle_ms = 1000;
    kb_worker_start(&s->worker, "sources");
    return s;
}

static void run_stop(struct kb_message *m)
{
    struct kb_sources *s =
        (struct kb_sources *)(void *)((char *)m - offsetof(struct kb_sources, stop));
    s->stopping = true;
    for (struct kb_source *source = s->inventory; source; source = source->hh.next) {
        if (source->cloud)
            atomic_store(&source->cloud->stop, true);
        kb_source_drop_opens(source, KB_REASON_SOURCE_FAILED);
        kb_source_let_go(source);
    }
}

void kb_sources_stop(struct kb_sources *s)
{
    if (!s || s->stop_asked)
        return;
    s->stop_asked = true;
    s->stop.run = run_stop;
    kb_mailbox_post(&s->worker.box, &s->stop);
}

struct last {
    struct kb_message message;
    struct kb_sources *sources;
    struct kb_latch latch;
};

static void run_last(struct kb_message *m)
{
    struct last *last = (struct last *)m;
    if (last->sources->calls)
        last->sources->stopped = &last->latch;
    else
        kb_latch_count_down(&last->latch);
}

void kb_sources_destroy(struct kb_sources *s)
{
    if (!s)
        return;
    kb_sources_stop(s);
    struct last last = {.message.run = run_last, .sources = s};
    kb_latch_init(&last.latch, 1);
    kb_mailbox_post(&s->worker.box, &last.message);
    kb_latch_wait(&last.latch);
    kb_worker_stop(&s->worker);
    kb_streams_stop();
    struct kb_source *source, *next;
    HASH_ITER (hh, s->inventory, source, next)
        remove_source(s, source);
    free(s);
}
