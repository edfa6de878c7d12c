/* Counters, gauges and histograms for Prometheus. Any thread.
 *
 * A family is declared once, static, in the file that counts. A series is found by its label values
 * (a lock; keep the pointer where it is hot) and then counted without a lock. Labels come from
 * small fixed sets only: never a session, user or address. */
#ifndef KB_BASE_METRICS_H
#define KB_BASE_METRICS_H

#include "base/buf.h"

#include <stdatomic.h>

#define KB_METRIC_LABELS 4
#define KB_METRIC_BUCKETS 14

enum kb_metric_kind { KB_COUNTER, KB_GAUGE, KB_HISTOGRAM };

struct kb_series {
    struct kb_series *next;
    char *labels[KB_METRIC_LABELS];
    _Atomic int64_t value; /* counter, gauge (in 1/scale); histogram: sum, us */
    _Atomic uint64_t buckets[KB_METRIC_BUCKETS]; /* histogram: not cumulative */
};

struct kb_family {
    const char *name, *help;
    enum kb_metric_kind kind;
    const char *labels[KB_METRIC_LABELS]; /* names; unused ones NULL */
    int64_t scale;                        /* shown value = value / scale; 0 means 1 */
    struct kb_series *first;
    struct kb_family *next;
    bool registered;
};

/* The series with these label values, made with value 0 if new. Lives for ever. Unused labels NULL.
 */
struct kb_series *kb_metric(struct kb_family *f, const char *a, const char *b, const char *c,
                            const char *d);

static inline void kb_metric_add(struct kb_series *s, int64_t n)
{
    atomic_fetch_add_explicit(&s->value, n, memory_order_relaxed);
}

static inline void kb_metric_set(struct kb_series *s, int64_t n)
{
    atomic_store_explicit(&s->value, n, memory_order_relaxed);
}

/* Histograms are of durations: given in microseconds, shown in seconds. */
void kb_metric_observe(struct kb_series *s, uint64_t us);
/* All families in the Prometheus text format 0.0.4, sorted by name. */
void kb_metrics_render(struct kb_buf *out);

#endif
