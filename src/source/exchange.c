/* Trades the tokens that clouds give out for our consoles: asks the sources that may know a token,
 * on the asker's own thread, and takes the console into the inventory and the store. */
#include "source/thread.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { EXCHANGE_OFF, EXCHANGE_OWN, EXCHANGE_SHARED }; /* the words of the key `exchange` */

/* --- who may know it -------------------------------------------------------------------------- */

struct find {
    struct kb_message message;
    struct kb_sources *sources;
    const char *type, *name;  /* name NULL: of all that share */
    struct kb_cloud **clouds; /* out: counted */
    size_t count;
    struct kb_latch latch;
};

static bool fits(const struct find *f, const struct kb_source *source)
{
    const struct kb_cloud *cloud = source->cloud;
    if (!cloud || source->misconfigured || !cloud->driver->exchange ||
        strcmp(cloud->driver->type, f->type) != 0 ||
        (f->name && strcmp(f->name, source->name) != 0))
        return false;
    return kb_setting_word(&cloud->config, "exchange") >=
           (f->name ? EXCHANGE_OWN : EXCHANGE_SHARED);
}

static void run_find(struct kb_message *m)
{
    struct find *f = (struct find *)m;
    f->clouds = kb_calloc(HASH_COUNT(f->sources->inventory), sizeof(struct kb_cloud *));
    for (struct kb_source *s = f->sources->inventory; s; s = s->hh.next)
        if (fits(f, s))
            f->clouds[f->count++] = kb_cloud_ref(s->cloud);
    kb_latch_count_down(&f->latch);
}

/* --- taking the console over ------------------------------------------------------------------ */

struct adopt {
    struct kb_message message;
    struct kb_sources *sources;
    struct kb_cloud *cloud;
    struct kb_console *console; /* taken over */
    bool ok;
    struct kb_latch latch;
};

static void run_adopt(struct kb_message *m)
{
    struct adopt *a = (struct adopt *)m;
    struct kb_source *source = kb_inventory_find(a->sources->inventory, a->cloud->config.name);
    if (source && source->cloud == a->cloud)
        a->ok = kb_source_adopt(a->sources, source, a->console);
    else
        kb_console_destroy(a->console);
    kb_latch_count_down(&a->latch);
}

static bool adopt(struct kb_sources *s, struct kb_cloud *cloud, struct kb_console *console)
{
    struct adopt a = {.message.run = run_adopt, .sources = s, .cloud = cloud, .console = console};
    kb_latch_init(&a.latch, 1);
    kb_mailbox_post(&s->worker.box, &a.message);
    kb_latch_wait(&a.latch);
    return a.ok;
}

/* --- asking ----------------------------------------------------------------------------------- */

static enum kb_reason ask(struct kb_sources *s, struct kb_cloud *cloud, const char *token,
                          const char *audience, struct kb_source_exchange *x)
{
    int64_t limit = cloud->config.timeout ? cloud->config.timeout : KB_SOURCE_TIMEOUT_MS;
    struct kb_source_call call = {
        .config = &cloud->config,
        .state = cloud->state,
        .stop = &cloud->stop,
        .user = "",
        .audience = audience,
        .deadline_us = kb_clock_us() + (uint64_t)limit * 1000,
    };
    struct kb_console *console = NULL;
    enum kb_reason reason = cloud->driver->exchange(&call, token, &console);
    if (*call.why)
        kb_copy_str(x->why, sizeof x->why, call.why);
    if (reason != KB_REASON_NONE)
        return reason;
    kb_copy_str(x->source, sizeof x->source, cloud->config.name);
    kb_copy_str(x->uuid, sizeof x->uuid, console->uuid);
    kb_copy_str(x->token_id, sizeof x->token_id, call.token_id);
    kb_copy_str(x->owner, sizeof x->owner, console->owner ? console->owner : "");
    return adopt(s, cloud, console) ? KB_REASON_NONE : KB_REASON_SOURCE_FAILED;
}

enum kb_reason kb_source_exchange(struct kb_sources *s, const char *type, const char *source,
                                  const char *token, const char *audience,
                                  struct kb_source_exchange *x)
{
    struct find f = {.message.run = run_find, .sources = s, .type = type, .name = source};
    *x = (struct kb_source_exchange){0};
    kb_latch_init(&f.latch, 1);
    kb_mailbox_post(&s->worker.box, &f.message);
    kb_latch_wait(&f.latch);
    x->asked = f.count;
    enum kb_reason reason = KB_REASON_TOKEN_UNKNOWN;
    for (size_t i = 0; i < f.count; i++) {
        /* One that cannot say is no reason not to ask the next; that it could not say is told when
         * nobody knows the token. */
        enum kb_reason one =
            reason == KB_REASON_NONE ? reason : ask(s, f.clouds[i], token, audience, x);
        if (one != KB_REASON_TOKEN_UNKNOWN)
            reason = one;
        kb_cloud_unref(f.clouds[i]);
    }
    free(f.clouds);
    return reason;
}
