/* Opening consoles: who asks, which source's driver answers, and how many at a time. Sources
 * thread, but for what the driver does. */
#include "source/thread.h"

#include "base/mem.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define AT_ONCE 8u /* calls of one source under way; more wait for one of these */

/* The request goes there and back in one message; where it is headed is known by its run(). The
 * sender's struct has no room for the thread it goes to, so an envelope carries it. */
struct envelope {
    struct kb_message message;
    struct kb_sources *sources;
    struct kb_source_open *open;
};

static void begin(struct kb_sources *s, struct kb_source *source, struct kb_source_open *o);

static void run_opened(struct kb_message *m)
{
    struct kb_source_open *o = (struct kb_source_open *)m;
    o->done(o);
}

/* reason NONE comes with a target, whose reference goes along, or a socket; any other with none. */
static void answer(struct kb_source_open *o, enum kb_reason reason, struct kb_target *target,
                   int fd, const char *detail)
{
    o->reason = reason;
    o->target = target;
    o->fd = fd;
    kb_copy_str(o->detail, sizeof o->detail, detail ? detail : "");
    o->message.run = run_opened;
    if (!o->reply_to)
        o->done(o);
    else
        kb_mailbox_post(o->reply_to, &o->message);
}

static void append(struct kb_source_open **list, struct kb_source_open *o)
{
    while (*list)
        list = &(*list)->next;
    o->next = NULL;
    *list = o;
}

static struct kb_source_open *take(struct kb_source_open **list)
{
    struct kb_source_open *o = *list;
    *list = o->next;
    o->next = NULL;
    return o;
}

void kb_source_drop_opens(struct kb_source *source, enum kb_reason reason)
{
    while (source->held)
        answer(take(&source->held), reason, NULL, -1, source->error);
    while (source->queue)
        answer(take(&source->queue), reason, NULL, -1, source->error);
}

/* --- the driver's answer ---------------------------------------------------------------------- */

static void work_open(struct kb_call *c)
{
    c->reason = c->cloud->driver->open(&c->call, c->console, &c->target);
}

static void work_connect(struct kb_call *c)
{
    c->fd = c->cloud->driver->connect(&c->call, c->console);
    if (c->fd >= 0)
        fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
    c->reason = c->fd < 0 ? KB_REASON_SOURCE_FAILED : KB_REASON_NONE;
}

static void done(struct kb_call *c)
{
    struct kb_sources *s = c->sources;
    struct kb_source *source = kb_inventory_find(s->inventory, c->source);
    struct kb_target *target = c->target;
    c->target = NULL;
    /* The cloud was asked before, but its list may have said since that the console went. */
    if (c->reason == KB_REASON_NONE &&
        (!source || !kb_consoles_find(source->consoles, c->open->uuid)))
        c->reason = KB_REASON_CONSOLE_GONE;
    if (c->reason != KB_REASON_NONE) {
        kb_target_unref(target);
        target = NULL;
        if (c->fd >= 0)
            close(c->fd);
        c->fd = -1;
    }
    answer(c->open, c->reason, target, c->fd, c->call.why);
    if (!source || source->serial != c->serial)
        return;
    source->opening--;
    if (source->queue)
        begin(s, source, take(&source->queue));
}

/* --- asking it -------------------------------------------------------------------------------- */

static void begin_call(struct kb_sources *s, struct kb_source *source, struct kb_console *console,
                       struct kb_source_open *o, bool connect)
{
    const struct kb_source_config *config = &source->cloud->config;
    struct kb_call *c =
        kb_call_create(s, source, config->timeout ? config->timeout : KB_SOURCE_TIMEOUT_MS);
    c->work = connect ? work_connect : work_open;
    c->done = done;
    c->open = o;
    c->console = kb_console_copy(console);
    kb_copy_str(c->user, sizeof c->user, o->user);
    source->opening++;
    kb_call_begin(c);
}

static void begin(struct kb_sources *s, struct kb_source *source, struct kb_source_open *o)
{
    struct kb_console *console = kb_consoles_find(source->consoles, o->uuid);
    bool connect = o->connect;
    if (!console) { /* a source that never listed anything cannot say that the console is gone */
        bool knows = source->last_good != 0;
        answer(o, knows ? KB_REASON_CONSOLE_GONE : KB_REASON_SOURCE_FAILED, NULL, -1,
               knows ? NULL : source->error);
    } else if (connect ? !source->cloud->driver->connect : !source->cloud->driver->open) {
        if (console->target && !connect)
            answer(o, KB_REASON_NONE, kb_target_ref(console->target), -1, NULL);
        else
            answer(o, KB_REASON_SOURCE_FAILED, NULL, -1, "its driver has no way to it");
    } else {
        begin_call(s, source, console, o, connect);
    }
}

static void run_open(struct kb_message *m)
{
    struct envelope *e = (struct envelope *)m;
    struct kb_sources *s = e->sources;
    struct kb_source_open *o = e->open;
    free(e);
    struct kb_source *source = kb_inventory_find(s->inventory, o->source);
    if (!source || s->stopping)
        answer(o, source ? KB_REASON_SOURCE_FAILED : KB_REASON_CONSOLE_GONE, NULL, -1, NULL);
    else if (!source->last_good && source->state == KB_SOURCE_NEW && source->listing)
        append(&source->held, o);
    else if (source->opening >= AT_ONCE)
        append(&source->queue, o);
    else
        begin(s, source, o);
}

void kb_source_open_held(struct kb_sources *s, struct kb_source *source)
{
    struct kb_source_open *held = source->held;
    source->held = NULL;
    while (held) {
        struct kb_source_open *o = take(&held);
        if (source->opening >= AT_ONCE)
            append(&source->queue, o);
        else
            begin(s, source, o);
    }
}

static void post(struct kb_sources *s, struct kb_source_open *o)
{
    struct envelope *e = kb_zalloc(sizeof *e);
    e->message.run = run_open;
    e->sources = s;
    e->open = o;
    kb_mailbox_post(&s->worker.box, &e->message);
}

void kb_source_open(struct kb_sources *s, struct kb_source_open *o)
{
    o->connect = false;
    post(s, o);
}

void kb_source_connect(struct kb_sources *s, struct kb_source_open *o)
{
    o->connect = true;
    post(s, o);
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
