/* A small set-associative table. Forgets the oldest entry of a full row, of a pace that which owes
 * the least: who floods it with names is stopped by the address. Any thread. */
#include "http/limit.h"

#include "base/buf.h"
#include "base/secret.h"

#include <string.h>

void kb_limit_init(struct kb_limit *l, unsigned most, int64_t window)
{
    memset(l, 0, sizeof *l);
    pthread_mutex_init(&l->lock, NULL);
    l->most = most;
    l->window = window;
    kb_random(l->salt, sizeof l->salt);
}

void kb_limit_finish(struct kb_limit *l)
{
    pthread_mutex_destroy(&l->lock);
}

void kb_limit_set(struct kb_limit *l, unsigned most, int64_t window)
{
    pthread_mutex_lock(&l->lock);
    if (l->most != most || l->window != window)
        memset(l->rows, 0, sizeof l->rows);
    l->most = most;
    l->window = window;
    pthread_mutex_unlock(&l->lock);
}

static uint64_t key_of(const struct kb_limit *l, const char *kind, const char *text)
{
    struct kb_buf b = {0};
    kb_buf_add(&b, l->salt, sizeof l->salt);
    kb_buf_add_str(&b, kind);
    kb_buf_add(&b, "", 1);
    kb_buf_add_str(&b, text);
    struct kb_hash h = kb_hash_of(b.data, b.len);
    kb_buf_finish(&b);
    uint64_t key;
    memcpy(&key, h.bytes, sizeof key);
    return key ? key : 1;
}

static struct kb_limit_entry *find(struct kb_limit *l, uint64_t key)
{
    struct kb_limit_entry *row = l->rows[key % KB_LIMIT_ROWS];
    for (int i = 0; i < KB_LIMIT_WAYS; i++)
        if (row[i].key == key)
            return &row[i];
    return NULL;
}

/* A free place, or that of the oldest. */
static struct kb_limit_entry *make(struct kb_limit *l, uint64_t key, int64_t now)
{
    struct kb_limit_entry *row = l->rows[key % KB_LIMIT_ROWS], *place = &row[0];
    for (int i = 1; i < KB_LIMIT_WAYS && place->key; i++)
        if (!row[i].key || row[i].since < place->since)
            place = &row[i];
    *place = (struct kb_limit_entry){.key = key, .since = now};
    return place;
}

int64_t kb_limit_take(struct kb_limit *l, const char *kind, const char *text, int64_t now)
{
    uint64_t key = key_of(l, kind, text);
    int64_t wait = 0;
    pthread_mutex_lock(&l->lock);
    struct kb_limit_entry *e = find(l, key);
    if (!e)
        e = make(l, key, now);
    if (now - e->since >= l->window) {
        e->since = now;
        e->count = 0;
    }
    if (e->count >= l->most)
        wait = l->window - (now - e->since);
    else
        e->count++;
    pthread_mutex_unlock(&l->lock);
    return wait;
}

void kb_limit_give_back(struct kb_limit *l, const char *kind, const char *text)
{
    uint64_t key = key_of(l, kind, text);
    pthread_mutex_lock(&l->lock);
    struct kb_limit_entry *e = find(l, key);
    if (e && e->count > 0)
        e->count--;
    pthread_mutex_unlock(&l->lock);
}

int64_t kb_limit_pace(struct kb_limit *l, const char *kind, const char *text, int64_t now)
{
    uint64_t key = key_of(l, kind, text);
    int64_t wait = 0;
    pthread_mutex_lock(&l->lock);
    if (l->most > 0) {
        int64_t window = l->window * 1000, step = window / l->most;
        struct kb_limit_entry *e = find(l, key);
        if (!e)
            e = make(l, key, now);
        int64_t back = e->since > now ? e->since : now;
        if (back - now > window - step)
            wait = (back - now - (window - step) + 999) / 1000;
        else
            e->since = back + step;
    }
    pthread_mutex_unlock(&l->lock);
    return wait;
}
