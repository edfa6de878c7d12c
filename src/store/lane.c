/* The store's threads: take calls in batches, run each batch of the writing thread as one
 * transaction, answer after the commit, and keep what must not be lost while the database fails.
 * Know no SQL and no database; those are the backend's. */
#include "store/lane.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/priority.h"

#include <stdlib.h>

#define SWEEP_EVERY_MS 60000
#define SWEEP_LIMIT 500
/* Audit events that nobody waits for are committed together; a daemon that is killed has lost those
 * of this time. Whatever somebody waits for takes them along at once. */
#define PATIENCE_MS 10
/* How soon a failing database is tried again when nobody calls. */
#define RETRY_MS 1000
/* How often at most a lost connection is made anew, and what is kept is tried again. */
#define AGAIN_US 500000

static struct kb_store_call *next_call(const struct kb_store_call *c)
{
    return (struct kb_store_call *)c->message.next;
}

/* --- the state of a lane ---------------------------------------------------------------------- */

static void set_failing(struct kb_lane *l, bool failing)
{
    if (l->failing == failing)
        return;
    l->failing = failing;
    const char *which = l->reader ? "reading" : "writing";
    if (failing) {
        kb_log(KB_LOG_ERROR, "store.failed", KB_STR("while", which),
               KB_STR("error", l->db ? l->db->error : l->error));
        return;
    }
    kb_log(KB_LOG_WARNING, "store.recovered", KB_STR("while", which));
}

/* A file that is gone, broken or was replaced needs a new connection. */
static void reopen_if_damaged(struct kb_lane *l)
{
    struct kb_store *s = l->store;
    bool present = l->db && s->type->present(l->db);
    if (present && !l->db->damaged)
        return;
    uint64_t now = kb_clock_us();
    if (l->db && !present) {
        s->type->close(l->db);
        l->db = NULL;
        free(l->error);
        l->error = kb_strdup("the database was removed or replaced");
    }
    if (now - l->opened_us < AGAIN_US)
        return;
    l->opened_us = now;
    if (l->db)
        s->type->close(l->db);
    free(l->error);
    l->db = s->type->open(&(struct kb_backend_open){.where = s->where,
                                                    .state_dir = s->state_dir,
                                                    .node = s->node,
                                                    .reader = l->reader,
                                                    .again = true},
                          &l->error);
}

static void set_clock(struct kb_lane *l)
{
    l->db->now = atomic_load(&l->store->clock)();
}

/* --- transactions ----------------------------------------------------------------------------- */

static void fail(struct kb_store_call *call)
{
    const struct kb_verb *verb = kb_verb(call->verb);
    if (verb->discard)
        verb->discard(call);
    call->status = KB_STORE_FAILED;
}

static bool write_events(struct kb_backend *db, size_t from)
{
    for (size_t i = from; i < db->event_count; i++)
        if (!db->type->append_event(db, &db->events[i]))
            return false;
    return true;
}

/* What is the same again is taken out; it is written when it has been counted. */
static void hold_repeats(struct kb_lane *l, size_t from)
{
    struct kb_backend *db = l->db;
    size_t kept = from;
    for (size_t i = from; i < db->event_count; i++)
        if (!kb_repeats_hold(&l->store->repeats, &db->events[i], db->now))
            db->events[kept++] = db->events[i];
    db->event_count = kept;
}

/* Runs one call inside its own savepoint. False: the whole transaction is lost. */
static bool run_one(struct kb_lane *l, struct kb_store_call *call)
{
    struct kb_backend *db = l->db;
    if (!db->type->mark(db))
        return false;
    size_t events = db->event_count;
    set_clock(l);
    call->status = db->type->verbs[call->verb](db, call);
    bool keep = call->status == KB_STORE_OK || call->status == KB_STORE_DENIED;
    if (keep)
        hold_repeats(l, events);
    if (keep && !write_events(db, events)) {
        call->status = KB_STORE_FAILED;
        keep = false;
    }
    if (keep)
        return db->type->release(db);
    db->event_count = events;
    if (call->status == KB_STORE_FAILED)
        fail(call);
    return db->type->undo(db);
}

/* Runs the calls as one transaction; every call has its status then. True: no call FAILED. */
static bool run_transaction(struct kb_lane *l, struct kb_store_call *first)
{
    struct kb_backend *db = l->db;
    if (db)
        db->event_count = 0;
    bool committed = db && db->type->begin(db);
    for (struct kb_store_call *c = first; c && committed; c = next_call(c))
        committed = run_one(l, c);
    if (committed)
        committed = db->type->commit(db);
    bool well = committed;
    if (!committed && db)
        db->type->rollback(db);
    for (struct kb_store_call *c = first; c; c = next_call(c)) {
        if (!committed)
            fail(c);
        if (c->status == KB_STORE_FAILED)
            well = false;
    }
    if (committed)
        for (size_t i = 0; i < db->event_count; i++)
            kb_store_log_event(&db->events[i]);
    set_failing(l, !well);
    return well;
}

/* --- what must not be lost -------------------------------------------------------------------- */

static void keep(struct kb_store *s, struct kb_store_call *call)
{
    call->message.next = NULL;
    *s->kept_end = call;
    s->kept_end = (struct kb_store_call **)&call->message.next;
}

static void free_kept(struct kb_store *s, struct kb_store_call *call)
{
    if (call->verb == KB_STORE_APPEND_AUDIT)
        atomic_fetch_sub(&s->waiting, 1);
    free(call);
}

/* True: nothing is kept any more. All of it is one transaction: bounded by KB_AUDIT_LIMIT and the
 * live sessions, it takes some 100 ms at most. */
static bool write_kept(struct kb_lane *l)
{
    struct kb_store *s = l->store;
    if (!s->kept)
        return true;
    l->tried_us = kb_clock_us();
    struct kb_store_call *c = s->kept;
    run_transaction(l, c);
    s->kept = NULL;
    s->kept_end = &s->kept;
    while (c) {
        struct kb_store_call *next = next_call(c);
        if (c->status == KB_STORE_FAILED)
            keep(s, c);
        else
            free_kept(s, c);
        c = next;
    }
    return !s->kept;
}

/* The same for a batch: not again and again while it cannot be. */
static bool write_kept_first(struct kb_lane *l)
{
    if (l->store->kept && l->failing && kb_clock_us() - l->tried_us < AGAIN_US)
        return false;
    return write_kept(l);
}

/* A call that failed but whose message must get into the store, with the time that it had. The
 * caller still gets its answer. True: the call itself is kept. */
static bool keep_if_needed(struct kb_lane *l, struct kb_store_call *call)
{
    if (call->verb == KB_STORE_APPEND_AUDIT) {
        keep(l->store, call);
        return true;
    }
    if (call->verb == KB_STORE_END_SESSION) {
        struct kb_store_end_session *copy = kb_zalloc(sizeof *copy);
        *copy = *(struct kb_store_end_session *)call;
        if (!copy->ended_at)
            copy->ended_at = atomic_load(&l->store->clock)();
        keep(l->store, &copy->call);
    }
    return false;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void deliver(struct kb_message *m)
{
    struct kb_store_call *call = (struct kb_store_call *)m;
    call->done(call);
}

static void answer(struct kb_store *s, struct kb_store_call *call)
{
    kb_metric_observe(s->seconds[call->verb], kb_clock_us() - call->posted_us);
    if (call->latch) {
        kb_latch_count_down(call->latch);
    } else if (call->reply_to) {
        call->message.run = deliver;
        kb_mailbox_post(call->reply_to, &call->message);
    } else {
        call->done(call);
    }
}

/* --- the two threads -------------------------------------------------------------------------- */

static int64_t before(int64_t now, int64_t age)
{
    return age > 0 ? now - age : 0;
}

/* After the answers: nobody waits for this. */
static void sweep_if_due(struct kb_lane *l)
{
    struct kb_store *s = l->store;
    struct kb_backend *db = l->db;
    if (l->failing || !db)
        return;
    set_clock(l);
    /* Both ways: the wall clock may be set back. */
    if (!s->sweep_again && llabs(db->now - s->swept) < SWEEP_EVERY_MS)
        return;
    s->swept = db->now;
    s->sweep_again = false;
    db->event_count = 0;
    const struct kb_sweep limits = {
        .rows = SWEEP_LIMIT,
        .audit_before = before(db->now, atomic_load(&s->keep_audit)),
        .sessions_before = before(db->now, atomic_load(&s->keep_sessions)),
    };
    bool more = false;
    if (db->type->begin(db) && db->type->sweep(db, &limits, &more) && write_events(db, 0) &&
        db->type->commit(db)) {
        for (size_t i = 0; i < db->event_count; i++)
            kb_store_log_event(&db->events[i]);
        s->sweep_again = more;
        return;
    }
    db->type->rollback(db);
    set_failing(l, true);
}

static void report_dropped(struct kb_lane *l)
{
    if (l->failing || !atomic_load(&l->store->dropped))
        return;
    kb_log(KB_LOG_ERROR, "store.audit_events_dropped",
           KB_UINT("count", atomic_exchange(&l->store->dropped, 0)));
}

static void set_idle(struct kb_lane *l)
{
    struct kb_store *s = l->store;
    bool soon = s->kept || l->failing || s->sweep_again || kb_repeats_open(&s->repeats);
    l->worker.idle_ms = soon ? RETRY_MS : SWEEP_EVERY_MS;
}

static void write_batch(struct kb_worker *w, struct kb_message *first)
{
    struct kb_lane *l = w->owner;
    struct kb_store *s = l->store;
    reopen_if_damaged(l);
    /* What waits comes first: no new session while its audit could not be written. */
    if (write_kept_first(l))
        run_transaction(l, (struct kb_store_call *)first);
    else
        for (struct kb_store_call *c = (struct kb_store_call *)first; c; c = next_call(c))
            fail(c);
    /* Before the answers: who hears that all is well again can read what it cost. */
    report_dropped(l);
    struct kb_store_call *c = (struct kb_store_call *)first;
    while (c) {
        struct kb_store_call *next = next_call(c);
        if (c->status != KB_STORE_FAILED || !keep_if_needed(l, c))
            answer(s, c);
        c = next;
    }
    sweep_if_due(l);
    kb_store_append_repeats(l->store, false);
    set_idle(l);
}

static void write_idle(struct kb_worker *w)
{
    struct kb_lane *l = w->owner;
    reopen_if_damaged(l);
    write_kept(l);
    report_dropped(l);
    sweep_if_due(l);
    kb_store_append_repeats(l->store, false);
    set_idle(l);
}

static void read_batch(struct kb_worker *w, struct kb_message *first)
{
    kb_thread_give_way(); /* what it reads is read for HTTP */
    struct kb_lane *l = w->owner;
    reopen_if_damaged(l);
    struct kb_store_call *c = (struct kb_store_call *)first;
    bool failed = false;
    while (c) {
        kb_thread_offer();
        struct kb_store_call *next = next_call(c);
        if (l->db) {
            set_clock(l);
            c->status = l->db->type->verbs[c->verb](l->db, c);
        } else {
            c->status = KB_STORE_FAILED;
        }
        if (c->status == KB_STORE_FAILED) {
            fail(c);
            failed = true;
        }
        answer(l->store, c);
        c = next;
    }
    set_failing(l, failed);
}

/* --- their life ------------------------------------------------------------------------------- */

void kb_lane_start(struct kb_lane *l, struct kb_store *s, struct kb_backend *db, bool reader)
{
    l->store = s;
    l->db = db;
    l->reader = reader;
    kb_worker_init(&l->worker);
    l->worker.owner = l;
    l->worker.batch = reader ? read_batch : write_batch;
    if (!reader) {
        l->worker.idle = write_idle;
        l->worker.idle_ms = SWEEP_EVERY_MS;
        l->worker.patience_ms = PATIENCE_MS;
    }
    kb_worker_start(&l->worker, reader ? "store-read" : "store");
}

void kb_lane_stop(struct kb_lane *l)
{
    kb_worker_stop(&l->worker);
}

static void close_lane(struct kb_lane *l)
{
    if (l->db)
        l->store->type->close(l->db);
    free(l->error);
}

void kb_lanes_finish(struct kb_store *s)
{
    if (!write_kept(&s->writer)) {
        kb_log(KB_LOG_ERROR, "store.lost", KB_UINT("audit_events", atomic_load(&s->waiting)));
        while (s->kept) {
            struct kb_store_call *next = next_call(s->kept);
            free_kept(s, s->kept);
            s->kept = next;
        }
    }
    close_lane(&s->reader);
    close_lane(&s->writer);
}
