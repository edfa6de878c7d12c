/* The source of machines that announce themselves: each has a lease, and is a console as long as it
 * renews that. Leases and tickets are in memory alone (docs/decisions/0066-leases-in-memory.md);
 * they outlive a reload, and after a restart the agents announce themselves anew. All of it on the
 * sources thread, but for the two functions of source.h. */
#include "source/lease.h"
#include "source/thread.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

enum addresses { OWN, ANY };
static const char *const addresses[] = {[OWN] = "own", [ANY] = "any", NULL};

static const struct kb_source_key keys[] = {
    {"addresses", KB_KEY_WORD, .fallback = "own", .words = addresses},
    {"lease_max", KB_KEY_DURATION, .fallback = "1h", .min = KB_LEASE_MIN_MS,
     .max = INT64_C(24) * 3600 * 1000},
};

static bool always_instant(const struct kb_source_config *config)
{
    (void)config;
    return true;
}

static void *registered_start(const struct kb_source_config *config)
{
    (void)config;
    return kb_leases_create();
}

static void registered_finish(void *state)
{
    kb_leases_destroy(state);
}

static void registered_inherit(void *state, void *old)
{
    kb_leases_take(state, old);
}

/* Listed again when the next lease may run out. */
static enum kb_listed registered_list(struct kb_source_call *call, struct kb_console **map)
{
    uint64_t now = kb_clock_us(), next = kb_leases_list(call->state, call->config, now, map);
    call->again = next ? (int64_t)((next - now) / 1000 + 1) : 0;
    return KB_LISTED;
}

const struct kb_source_driver kb_source_driver_registered = {
    .type = "registered",
    .keys = keys,
    .key_count = sizeof keys / sizeof keys[0],
    .instant = always_instant,
    .start = registered_start,
    .finish = registered_finish,
    .inherit = registered_inherit,
    .list = registered_list,
};

/* --- announcements ---------------------------------------------------------------------------- */

/* The source that is asked, or NULL after an answer. */
static struct kb_source *find_source(struct kb_source_lease *l)
{
    struct kb_source *source = kb_inventory_find(l->sources->inventory, l->source);
    const char *why = NULL;
    if (!source) {
        l->answer = KB_LEASE_NO_SOURCE;
    } else if (strcmp(source->type, kb_source_driver_registered.type) != 0) {
        l->answer = KB_LEASE_OTHER_TYPE;
    } else if (source->misconfigured || l->sources->stopping) {
        l->answer = KB_LEASE_FAILED;
        why = source->misconfigured ? source->error : "kerbside is ending";
    } else {
        return source;
    }
    kb_copy_str(l->why, sizeof l->why, why);
    return NULL;
}

/* The inventory and the store have to follow. */
static void apply(struct kb_source_lease *l, struct kb_source *source)
{
    kb_source_list_now(l->sources, source);
    if (source->state == KB_SOURCE_OK)
        return;
    l->answer = KB_LEASE_FAILED;
    kb_copy_str(l->why, sizeof l->why, source->error);
}

static void run_register(struct kb_message *m)
{
    struct kb_source_lease *l = (struct kb_source_lease *)m;
    struct kb_source *source = find_source(l);
    if (source) {
        const struct kb_source_config *config = &source->cloud->config;
        bool changed =
            kb_leases_put(source->cloud->state, l, kb_setting_word(config, "addresses") == OWN,
                          kb_setting_number(config, "lease_max"), kb_clock_us());
        bool good = l->answer == KB_LEASE_NEW || l->answer == KB_LEASE_RENEWED;
        if (good && (changed || source->state != KB_SOURCE_OK))
            apply(l, source);
    }
    kb_latch_count_down(&l->latch);
}

static void run_deregister(struct kb_message *m)
{
    struct kb_source_lease *l = (struct kb_source_lease *)m;
    struct kb_source *source = find_source(l);
    if (source && kb_leases_end(source->cloud->state, l))
        apply(l, source);
    kb_latch_count_down(&l->latch);
}

static void ask(struct kb_sources *s, struct kb_source_lease *l, void (*run)(struct kb_message *m))
{
    l->message = (struct kb_message){.run = run};
    l->sources = s;
    *l->why = '\0';
    kb_latch_init(&l->latch, 1);
    kb_mailbox_post(&s->worker.box, &l->message);
    kb_latch_wait(&l->latch);
}

void kb_source_register(struct kb_sources *s, struct kb_source_lease *l)
{
    ask(s, l, run_register);
}

void kb_source_deregister(struct kb_sources *s, struct kb_source_lease *l)
{
    ask(s, l, run_deregister);
}
