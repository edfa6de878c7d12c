/* The store's interface: finds the backend of a url, and brings calls to the thread that runs them
 * (lane.c). Any thread. */
#include "store/lane.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static const struct kb_backend_type *const types[] = {&kb_sqlite_type};

static struct kb_family seconds = {
    .name = "kerbside_store_seconds",
    .help = "Time from posting a store call to its answer.",
    .kind = KB_HISTOGRAM,
    .labels = {"call"},
};
static struct kb_family dropped_family = {
    .name = "kerbside_audit_dropped_total",
    .help = "Audit events that the store could neither write nor keep.",
    .kind = KB_COUNTER,
};

static struct kb_backend *open_lane(struct kb_store *s, bool reader, char **error)
{
    return s->type->open(
        &(struct kb_backend_open){
            .where = s->where, .state_dir = s->state_dir, .node = s->node, .reader = reader},
        error);
}

static void free_store(struct kb_store *s)
{
    kb_repeats_finish(&s->repeats);
    free(s->where);
    free(s->state_dir);
    free(s->node);
    free(s);
}

struct kb_store *kb_store_create(const char *url, const char *state_dir, const char *node,
                                 char **error)
{
    *error = NULL;
    const struct kb_backend_type *type = NULL;
    size_t scheme = strcspn(url, ":");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (url[scheme] && strlen(types[i]->scheme) == scheme &&
            memcmp(types[i]->scheme, url, scheme) == 0)
            type = types[i];
    if (!type || !url[scheme + 1]) {
        *error = kb_printf("store: the url must be sqlite:PATH");
        return NULL;
    }
    struct kb_store *s = kb_zalloc(sizeof *s);
    s->type = type;
    s->where = kb_strdup(url + scheme + 1);
    s->state_dir = kb_strdup(state_dir);
    s->node = kb_strdup(node);
    s->kept_end = &s->kept;
    atomic_store(&s->clock, kb_clock_wall_ms);
    kb_repeats_init(&s->repeats);
    struct kb_backend *writer = open_lane(s, false, error);
    struct kb_backend *reader = writer ? open_lane(s, true, error) : NULL;
    if (!reader) {
        if (writer)
            type->close(writer);
        free_store(s);
        return NULL;
    }
    for (int v = 0; v < KB_STORE_VERBS; v++)
        s->seconds[v] = kb_metric(&seconds, kb_verb((enum kb_store_verb)v)->name, NULL, NULL, NULL);
    s->dropped_total = kb_metric(&dropped_family, NULL, NULL, NULL, NULL);
    kb_lane_start(&s->writer, s, writer, false);
    kb_lane_start(&s->reader, s, reader, true);
    return s;
}

void kb_store_destroy(struct kb_store *s)
{
    if (!s)
        return;
    kb_lane_stop(&s->reader);
    kb_store_append_repeats(s, true);
    kb_lane_stop(&s->writer);
    kb_lanes_finish(s);
    free_store(s);
}

void kb_store_set_clock(struct kb_store *s, int64_t (*now)(void))
{
    atomic_store(&s->clock, now ? now : kb_clock_wall_ms);
}

void kb_store_set_retention(struct kb_store *s, int64_t audit, int64_t sessions)
{
    atomic_store(&s->keep_audit, audit);
    atomic_store(&s->keep_sessions, sessions);
}

void kb_store_post(struct kb_store *s, struct kb_store_call *call)
{
    struct kb_lane *l = kb_verb(call->verb)->reads ? &s->reader : &s->writer;
    call->posted_us = kb_clock_us();
    if (call->verb == KB_STORE_APPEND_AUDIT && !call->latch)
        kb_mailbox_post_patient(&l->worker.box, &call->message);
    else
        kb_mailbox_post(&l->worker.box, &call->message);
}

enum kb_store_status kb_store_run(struct kb_store *s, struct kb_store_call *call)
{
    struct kb_latch latch;
    kb_latch_init(&latch, 1);
    call->latch = &latch;
    kb_store_post(s, call);
    kb_latch_wait(&latch);
    call->latch = NULL;
    return call->status;
}

static void append_done(struct kb_store_call *call)
{
    struct kb_store *s = ((struct kb_store_append_audit *)call)->store;
    atomic_fetch_sub(&s->waiting, 1);
    free(call);
}

static void count_dropped(struct kb_store *s)
{
    kb_metric_add(s->dropped_total, 1);
    if (atomic_fetch_add(&s->dropped, 1) == 0)
        kb_log(KB_LOG_ERROR, "store.dropping_audit_events", KB_UINT("kept", KB_AUDIT_LIMIT));
}

static struct kb_store_append_audit *append_call(struct kb_store *s, const struct kb_audit_event *e)
{
    struct kb_store_append_audit *c = kb_zalloc(sizeof *c);
    c->store = s;
    c->event = *e;
    if (!c->event.time)
        c->event.time = atomic_load(&s->clock)();
    if (!c->event.node[0])
        kb_copy_str(c->event.node, sizeof c->event.node, s->node);
    return c;
}

static void append(struct kb_store *s, struct kb_store_append_audit *c)
{
    kb_store_log_event(&c->event);
    if (atomic_fetch_add(&s->waiting, 1) >= KB_AUDIT_LIMIT) {
        atomic_fetch_sub(&s->waiting, 1);
        count_dropped(s);
        free(c);
        return;
    }
    c->call.verb = KB_STORE_APPEND_AUDIT;
    c->call.done = append_done;
    kb_store_post(s, &c->call);
}

void kb_store_audit(struct kb_store *s, const struct kb_audit_event *e)
{
    if (!kb_repeats_hold(&s->repeats, e, atomic_load(&s->clock)()))
        append(s, append_call(s, e));
}

void kb_store_append_repeats(struct kb_store *s, bool all)
{
    for (struct kb_audit_event *e;
         (e = kb_repeats_take(&s->repeats, atomic_load(&s->clock)(), all));) {
        append(s, append_call(s, e));
        free(e);
    }
}

void kb_store_audit_channel(struct kb_store *s, const struct kb_audit_event *e,
                            const struct kb_channel_row *channel)
{
    struct kb_store_append_audit *c = append_call(s, e);
    c->along = KB_ALONG_CHANNEL;
    c->channel = *channel;
    append(s, c);
}

void kb_store_audit_termination(struct kb_store *s, const struct kb_audit_event *e,
                                const char *apikey_id)
{
    struct kb_store_append_audit *c = append_call(s, e);
    c->along = KB_ALONG_TERMINATION;
    kb_copy_str(c->apikey_id, sizeof c->apikey_id, apikey_id);
    append(s, c);
}
