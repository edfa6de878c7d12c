/* See repeats.h. Any thread. */
#include "store/repeats.h"

#include "base/address.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void kb_repeats_init(struct kb_repeats *r)
{
    memset(r, 0, sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
}

void kb_repeats_finish(struct kb_repeats *r)
{
    for (int i = 0; i < KB_REPEATS_ROWS; i++)
        for (int k = 0; k < KB_REPEATS_WAYS; k++)
            free(r->rows[i][k].last);
    pthread_mutex_destroy(&r->lock);
}

static bool can_repeat(const struct kb_audit_event *e)
{
    return strcmp(e->event, "grant.denied") == 0 || strcmp(e->event, "channel.refused") == 0;
}

static uint64_t key_of(const struct kb_audit_event *e)
{
    char group[64];
    kb_address_group(e->client_address, group);
    const char *const parts[] = {e->event,      e->reason, group,     e->grant_id,
                                 e->session_id, e->source, e->console};
    kb_auto(kb_buf_finish) struct kb_buf b = {0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        kb_buf_add(&b, parts[i], strlen(parts[i]) + 1);
    struct kb_hash h = kb_hash_of(b.data, b.len);
    uint64_t key;
    memcpy(&key, h.bytes, sizeof key);
    return key ? key : 1;
}

static struct kb_repeat *find(struct kb_repeats *r, uint64_t key)
{
    struct kb_repeat *row = r->rows[key % KB_REPEATS_ROWS];
    for (int i = 0; i < KB_REPEATS_WAYS; i++)
        if (row[i].key == key)
            return &row[i];
    return NULL;
}

/* A free place, or that of the oldest one that has counted nothing; NULL: all have. */
static struct kb_repeat *make(struct kb_repeats *r, uint64_t key)
{
    struct kb_repeat *row = r->rows[key % KB_REPEATS_ROWS], *place = NULL;
    for (int i = 0; i < KB_REPEATS_WAYS; i++)
        if (!row[i].count && (!place || row[i].until < place->until))
            place = &row[i];
    if (place)
        place->key = key;
    return place;
}

/* Also when the wall clock was set back. */
static bool is_over(int64_t until, int64_t now)
{
    return now >= until || until - now > KB_REPEATS_MS;
}

static void begin(struct kb_repeats *r, struct kb_repeat *p, int64_t now)
{
    p->until = now + KB_REPEATS_MS;
    p->count = 0;
    p->last = NULL;
    r->open = true;
}

static void count(struct kb_repeat *p, const struct kb_audit_event *e)
{
    if (!p->last)
        p->last = kb_zalloc(sizeof *p->last);
    *p->last = *e;
    p->count++;
}

bool kb_repeats_hold(struct kb_repeats *r, const struct kb_audit_event *e, int64_t now)
{
    if (!can_repeat(e))
        return false;
    uint64_t key = key_of(e);
    pthread_mutex_lock(&r->lock);
    struct kb_repeat *p = find(r, key);
    /* One that has counted goes on until it is taken, which is soon. */
    bool held = p && (p->count || !is_over(p->until, now));
    if (held)
        count(p, e);
    else if (p || (p = make(r, key)))
        begin(r, p, now);
    pthread_mutex_unlock(&r->lock);
    return held;
}

bool kb_repeats_open(struct kb_repeats *r)
{
    pthread_mutex_lock(&r->lock);
    bool open = r->open;
    pthread_mutex_unlock(&r->lock);
    return open;
}

static struct kb_audit_event *finish_count(const struct kb_repeat *p)
{
    struct kb_audit_event *e = p->last;
    kb_auto_free char *detail =
        kb_printf("%s%s%u more like it", e->detail, *e->detail ? "; " : "", p->count);
    kb_copy_str(e->detail, sizeof e->detail, detail);
    e->count = p->count;
    e->time = 0;
    return e;
}

struct kb_audit_event *kb_repeats_take(struct kb_repeats *r, int64_t now, bool any)
{
    struct kb_audit_event *e = NULL;
    bool open = false;
    pthread_mutex_lock(&r->lock);
    for (int i = 0; r->open && !e && i < KB_REPEATS_ROWS * KB_REPEATS_WAYS; i++) {
        struct kb_repeat *p = &r->rows[i / KB_REPEATS_WAYS][i % KB_REPEATS_WAYS];
        bool over = is_over(p->until, now);
        if (p->count && (any || over)) {
            e = finish_count(p);
            begin(r, p, now);
        }
        open = open || p->count || !over;
    }
    r->open = e || open;
    pthread_mutex_unlock(&r->lock);
    return e;
}
