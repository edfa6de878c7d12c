/* Tries a source's configuration step by step, for the person who wrote it: on the asker's own
 * thread, beside what the source is doing, with the same driver and the same login. */
#include "source/thread.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

#define LIMIT_US UINT64_C(60000000)

struct borrow {
    struct kb_message message;
    struct kb_sources *sources;
    const char *name;
    bool found;
    char *error;
    struct kb_cloud *cloud; /* out: counted */
    struct kb_latch latch;
};

static void run_borrow(struct kb_message *m)
{
    struct borrow *b = (struct borrow *)m;
    struct kb_source *source = kb_inventory_find(b->sources->inventory, b->name);
    b->found = source != NULL;
    if (source && (source->misconfigured || !source->cloud))
        b->error = kb_strdup(source->error ? source->error : "it is not loaded");
    else if (source)
        b->cloud = kb_cloud_ref(source->cloud);
    kb_latch_count_down(&b->latch);
}

static struct kb_check_step *add_step(struct kb_source_call *call, const char *step)
{
    struct kb_check *check = call->check;
    /* A driver with more steps than there is room has its last ones in one place. */
    struct kb_check_step *s =
        &check->steps[check->count < KB_CHECK_STEPS ? check->count++ : KB_CHECK_STEPS - 1];
    uint64_t now = kb_clock_us();
    *s = (struct kb_check_step){.us = now - call->step_us};
    call->step_us = now;
    kb_copy_str(s->step, sizeof s->step, step);
    return s;
}

void kb_check_ok(struct kb_source_call *call, const char *step, const char *format, ...)
{
    if (!call->check)
        return;
    struct kb_check_step *s = add_step(call, step);
    s->ok = true;
    va_list args;
    va_start(args, format);
    vsnprintf(s->detail, sizeof s->detail, format, args);
    va_end(args);
}

bool kb_check_failed(struct kb_source_call *call, const char *step, const char *advice)
{
    if (!call->check)
        return false;
    struct kb_check_step *s = add_step(call, step);
    kb_copy_str(s->detail, sizeof s->detail, *call->why ? call->why : "it failed");
    kb_copy_str(s->advice, sizeof s->advice, advice ? advice : "");
    return false;
}

static void check_list(struct kb_source_call *call, const struct kb_cloud *cloud)
{
    if (cloud->instant) {
        kb_check_ok(call, "list", "it is listed without asking anybody");
        return;
    }
    struct kb_console *map = NULL;
    enum kb_listed listed = cloud->driver->list(call, &map);
    size_t count = HASH_COUNT(map);
    if (listed == KB_LIST_FAILED)
        kb_check_failed(call, "list", "Look at the rights of the account that the source uses.");
    else if (listed == KB_LISTED_UNCHANGED)
        kb_check_ok(call, "list", "as it was listed before");
    else if (count)
        kb_check_ok(call, "list", "%zu console%s, such as %.60s (%.60s)", count,
                    count == 1 ? "" : "s", map->name, map->uuid);
    else
        kb_check_ok(call, "list", "no console: the account sees none, or none runs");
    kb_consoles_destroy(&map);
}

bool kb_source_check(struct kb_sources *s, const char *name, struct kb_check *check)
{
    struct borrow b = {.message.run = run_borrow, .sources = s, .name = name};
    *check = (struct kb_check){0};
    kb_latch_init(&b.latch, 1);
    kb_mailbox_post(&s->worker.box, &b.message);
    kb_latch_wait(&b.latch);
    if (!b.found)
        return false;
    uint64_t now = kb_clock_us();
    struct kb_source_call call = {
        .check = check, .step_us = now, .deadline_us = now + LIMIT_US, .user = ""};
    if (!b.cloud) {
        kb_copy_str(call.why, sizeof call.why, b.error);
        kb_check_failed(&call, "configuration", "Run kerbside check and mend what it shows.");
        free(b.error);
        return true;
    }
    call.config = &b.cloud->config;
    call.state = b.cloud->state;
    call.stop = &b.cloud->stop;
    kb_check_ok(&call, "configuration", "type %s", b.cloud->driver->type);
    if (!b.cloud->driver->check || b.cloud->driver->check(&call))
        check_list(&call, b.cloud);
    kb_cloud_unref(b.cloud);
    return true;
}
