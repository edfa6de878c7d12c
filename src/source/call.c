/* Runs a driver's verb on a thread of its own and brings the answer back to the sources thread. A
 * thread a call, because drivers are blocking code (docs/decisions/0040-a-thread-a-call.md); how
 * many there may be is the callers' to say. */
#include "source/thread.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/priority.h"

#include <stdlib.h>
#include <string.h>

/* --- a configuration at work ------------------------------------------------------------------ */

struct kb_cloud *kb_cloud_create(const struct kb_source_driver *driver,
                                 struct kb_source_config *config)
{
    struct kb_cloud *c = kb_zalloc(sizeof *c);
    c->refs = 1;
    c->driver = driver;
    c->config = *config;
    *config = (struct kb_source_config){0};
    c->instant = driver->instant && driver->instant(&c->config);
    if (driver->start)
        c->state = driver->start(&c->config);
    return c;
}

struct kb_cloud *kb_cloud_ref(struct kb_cloud *c)
{
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

void kb_cloud_unref(struct kb_cloud *c)
{
    if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    if (c->driver->finish)
        c->driver->finish(c->state);
    kb_source_config_finish(&c->config);
    free(c);
}

/* --- a call ----------------------------------------------------------------------------------- */

struct kb_call *kb_call_create(struct kb_sources *s, struct kb_source *source, int64_t limit_ms)
{
    struct kb_call *c = kb_zalloc(sizeof *c);
    c->sources = s;
    c->cloud = kb_cloud_ref(source->cloud);
    c->source = kb_strdup(source->name);
    c->serial = source->serial;
    c->listed = KB_LIST_FAILED;
    c->reason = KB_REASON_SOURCE_FAILED;
    c->fd = -1;
    c->call = (struct kb_source_call){
        .config = &c->cloud->config,
        .state = c->cloud->state,
        .stop = &c->cloud->stop,
        .deadline_us = kb_clock_us() + (uint64_t)limit_ms * 1000,
        .user = c->user,
    };
    return c;
}

static void destroy(struct kb_call *c)
{
    kb_cloud_unref(c->cloud);
    kb_console_destroy(c->console);
    kb_consoles_destroy(&c->map);
    kb_target_unref(c->target);
    free(c->source);
    free(c);
}

static void come_back(struct kb_message *m)
{
    struct kb_call *c = (struct kb_call *)m;
    struct kb_sources *s = c->sources;
    s->calls--;
    c->done(c);
    destroy(c);
    if (s->stopping && !s->calls && s->stopped) {
        kb_latch_count_down(s->stopped);
        s->stopped = NULL;
    }
}

static void *run(void *arg)
{
    struct kb_call *c = arg;
    kb_thread_give_way(); /* a list of thousands takes a while to read; nobody waits for it */
    c->work(c);
    c->message.run = come_back;
    kb_mailbox_post(&c->sources->worker.box, &c->message);
    return NULL;
}

void kb_call_begin(struct kb_call *c)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    c->sources->calls++;
    if (pthread_create(&thread, &attr, run, c) != 0) {
        kb_call_failed(&c->call, "this machine gives kerbside no further thread");
        c->message.run = come_back; /* later, as from a thread */
        kb_mailbox_post(&c->sources->worker.box, &c->message);
    }
    pthread_attr_destroy(&attr);
}

/* --- what drivers say ------------------------------------------------------------------------- */

bool kb_call_failed(struct kb_source_call *call, const char *format, ...)
{
    if (*call->why)
        return false;
    va_list args;
    va_start(args, format);
    char text[sizeof call->why * 2];
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    kb_copy_str(call->why, sizeof call->why, text);
    return false;
}

int64_t kb_call_left(const struct kb_source_call *call)
{
    uint64_t now = kb_clock_us();
    int64_t left = now < call->deadline_us ? (int64_t)((call->deadline_us - now) / 1000) : 0;
    int64_t each = call->config->timeout ? call->config->timeout : KB_SOURCE_TIMEOUT_MS;
    left = left < each ? left : each;
    return left > 0 ? left : 1;
}

bool kb_call_stopped(const struct kb_source_call *call)
{
    return atomic_load(call->stop) || kb_clock_us() >= call->deadline_us;
}
