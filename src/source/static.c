/* The static source: consoles and tickets that the configuration itself lists, or files that it
 * names. Every target is known when the list is, so opening a console is a look-up. With `probe` it
 * also looks now and then whether somebody listens there; a console that nobody serves stays in the
 * list, since the dial will tell more than a guess. Sources thread, and with files or probes
 * threads of calls. */
#include "source/console_files.h"
#include "source/probe.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLICE_MS 500 /* how soon wait hears of a stop */

static const struct kb_source_key keys[] = {
    {"path", KB_KEY_PATH, .max = 1024},
    {"probe", KB_KEY_DURATION, .fallback = "0", .max = INT64_C(24) * 3600 * 1000},
};

struct fixed {
    struct kb_console_files *files; /* NULL: the configuration lists the consoles */
    bool taken;                     /* those of the configuration are in the inventory */
    pthread_mutex_t lock;           /* of what follows, which only probes need */
    struct kb_console *known;       /* copies of the last list, with their states */
    uint64_t due_us;                /* the next probe */
};

static bool static_instant(const struct kb_source_config *config)
{
    return !kb_setting_text(config, "path");
}

static void *static_start(const struct kb_source_config *config)
{
    struct fixed *x = kb_zalloc(sizeof *x);
    const char *path = kb_setting_text(config, "path");
    if (path)
        x->files = kb_console_files_create(path);
    pthread_mutex_init(&x->lock, NULL);
    return x;
}

static void static_finish(void *state)
{
    struct fixed *x = state;
    kb_console_files_destroy(x->files);
    kb_consoles_destroy(&x->known);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

/* --- list ------------------------------------------------------------------------------------- */

/* What the configuration lists is handed on once and wiped there. */
static void take_inline(struct kb_source_config *config, struct kb_console **map)
{
    for (size_t i = 0; i < config->console_count; i++)
        kb_consoles_add(map, kb_console_of(config, &config->consoles[i]));
    kb_static_consoles_finish(config->consoles, config->console_count);
    config->consoles = NULL;
    config->console_count = 0;
}

static bool same_place(const struct kb_target *a, const struct kb_target *b)
{
    const char *one = a->unix_socket ? a->unix_socket : a->host;
    const char *other = b->unix_socket ? b->unix_socket : b->host;
    return a->transport == b->transport && one && other && strcmp(one, other) == 0 &&
           a->port == b->port && a->tls_port == b->tls_port;
}

/* Remembers the list for probes, and gives its consoles the states that were found where they are.
 */
static void remember(struct fixed *x, struct kb_console *map)
{
    struct kb_console *next = NULL;
    pthread_mutex_lock(&x->lock);
    for (struct kb_console *c = map; c; c = c->hh.next) {
        const struct kb_console *old = kb_consoles_find(x->known, c->uuid);
        bool probed = old && old->state && same_place(old->target, c->target);
        free(c->state);
        c->state = probed ? kb_strdup(old->state) : NULL;
        if (!probed)
            x->due_us = 0;
        kb_consoles_add(&next, kb_console_copy(c));
    }
    kb_consoles_destroy(&x->known);
    x->known = next;
    pthread_mutex_unlock(&x->lock);
}

static void recall(struct fixed *x, struct kb_console **map)
{
    pthread_mutex_lock(&x->lock);
    for (struct kb_console *c = x->known; c; c = c->hh.next)
        kb_consoles_add(map, kb_console_copy(c));
    pthread_mutex_unlock(&x->lock);
}

static enum kb_listed static_list(struct kb_source_call *call, struct kb_console **map)
{
    struct fixed *x = call->state;
    bool probes = kb_setting_number(call->config, "probe") > 0;
    if (x->files) {
        if (!kb_console_files_read(x->files, call, map))
            return KB_LIST_FAILED;
        if (call->check)
            return KB_LISTED;
    } else if (!x->taken) {
        take_inline(call->config, map);
        x->taken = true;
    } else if (!probes) {
        return KB_LISTED_UNCHANGED;
    } else {
        recall(x, map);
    }
    if (probes)
        remember(x, *map);
    return KB_LISTED;
}

/* --- wait: files that change, machines that come and go --------------------------------------- */

/* True when a console is in another state than it was. */
static bool take_states(struct fixed *x, const struct kb_probe *probes, size_t count)
{
    bool changed = false;
    for (size_t i = 0; i < count; i++) {
        struct kb_console *c = kb_consoles_find(x->known, probes[i].target->uuid);
        const char *state = probes[i].up ? "up" : "down";
        /* It may have moved since. */
        if (!c || !same_place(c->target, probes[i].target) ||
            (c->state && strcmp(c->state, state) == 0))
            continue;
        free(c->state);
        c->state = kb_strdup(state);
        changed = true;
    }
    return changed;
}

static bool probe(struct kb_source_call *call)
{
    struct fixed *x = call->state;
    size_t count = 0;
    pthread_mutex_lock(&x->lock);
    struct kb_probe *probes = kb_calloc(HASH_COUNT(x->known), sizeof *probes);
    for (struct kb_console *c = x->known; c; c = c->hh.next)
        probes[count++].target = kb_target_ref(c->target);
    x->due_us = kb_clock_us() + (uint64_t)kb_setting_number(call->config, "probe") * 1000;
    pthread_mutex_unlock(&x->lock);
    bool changed = false;
    if (kb_probe_all(probes, count, kb_call_left(call), call->stop)) {
        pthread_mutex_lock(&x->lock);
        changed = take_states(x, probes, count);
        pthread_mutex_unlock(&x->lock);
    }
    for (size_t i = 0; i < count; i++)
        kb_target_unref((struct kb_target *)(uintptr_t)probes[i].target);
    free(probes);
    return changed;
}

static bool is_due(struct fixed *x)
{
    pthread_mutex_lock(&x->lock);
    bool due = kb_clock_us() >= x->due_us;
    pthread_mutex_unlock(&x->lock);
    return due;
}

static bool static_wait(struct kb_source_call *call)
{
    struct fixed *x = call->state;
    bool probes = kb_setting_number(call->config, "probe") > 0;
    while (!kb_call_stopped(call)) {
        int changed = x->files ? kb_console_files_wait(x->files, SLICE_MS) : -1;
        if (changed > 0)
            return true;
        if (changed < 0 && !probes)
            return kb_call_failed(call, "nothing tells of changes; it is read every `refresh`");
        if (changed < 0)
            nanosleep(&(struct timespec){.tv_nsec = SLICE_MS * 1000000}, NULL);
        if (probes && is_due(x) && probe(call))
            return true;
    }
    return false;
}

bool kb_source_files_check(struct kb_source_config *c, size_t *count, char why[256])
{
    static const atomic_bool stop;
    bool fixed = !c->error && c->type && strcmp(c->type, kb_source_driver_static.type) == 0;
    const char *path = fixed ? kb_setting_text(c, "path") : NULL;
    *count = 0;
    if (!path)
        return true;
    struct kb_source_call call = {
        .config = c, .stop = &stop, .deadline_us = UINT64_MAX, .user = ""};
    struct kb_console_files *files = kb_console_files_create(path);
    struct kb_console *map = NULL;
    bool ok = kb_console_files_read(files, &call, &map);
    *count = HASH_COUNT(map);
    kb_copy_str(why, 256, call.why);
    kb_consoles_destroy(&map);
    kb_console_files_destroy(files);
    return ok;
}

const struct kb_source_driver kb_source_driver_static = {
    .type = "static",
    .keys = keys,
    .key_count = sizeof keys / sizeof keys[0],
    .takes_consoles = true,
    .waits_always = true,
    .instant = static_instant,
    .start = static_start,
    .finish = static_finish,
    .list = static_list,
    .wait = static_wait,
};
