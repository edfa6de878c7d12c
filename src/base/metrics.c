/* The registry of metrics and its text form. Any thread; one lock for finding, none for counting.
 */
#include "base/metrics.h"

#include "base/mem.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

/* 0.5 ms to 10 s: from a channel set up on loopback to a hypervisor that is nearly given up. */
static const uint64_t bounds_us[KB_METRIC_BUCKETS - 1] = {
    500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 10000000,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kb_family *families;

static void register_family(struct kb_family *f)
{
    struct kb_family **at = &families;
    while (*at && strcmp((*at)->name, f->name) < 0)
        at = &(*at)->next;
    f->next = *at;
    *at = f;
    f->registered = true;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

struct kb_series *kb_metric(struct kb_family *f, const char *a, const char *b, const char *c,
                            const char *d)
{
    const char *labels[KB_METRIC_LABELS] = {a, b, c, d};
    pthread_mutex_lock(&lock);
    if (!f->registered)
        register_family(f);
    struct kb_series *s;
    for (s = f->first; s; s = s->next) {
        int i = 0;
        while (i < KB_METRIC_LABELS && same_text(s->labels[i], labels[i]))
            i++;
        if (i == KB_METRIC_LABELS)
            break;
    }
    if (!s) {
        s = kb_zalloc(sizeof *s);
        for (int i = 0; i < KB_METRIC_LABELS; i++)
            s->labels[i] = kb_strdup(labels[i]);
        s->next = f->first;
        f->first = s;
    }
    pthread_mutex_unlock(&lock);
    return s;
}

void kb_metric_observe(struct kb_series *s, uint64_t us)
{
    int i = 0;
    while (i < KB_METRIC_BUCKETS - 1 && us > bounds_us[i])
        i++;
    atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
    kb_metric_add(s, (int64_t)us);
}

/* Label values in the text format escape backslash, quote and newline. */
static void add_value(struct kb_buf *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '\\' || *s == '"')
            kb_buf_printf(out, "\\%c", *s);
        else if (*s == '\n')
            kb_buf_add_str(out, "\\n");
        else
            kb_buf_add(out, s, 1);
    }
}

static void add_name(struct kb_buf *out, const struct kb_family *f, const struct kb_series *s,
                     const char *suffix, const char *le)
{
    kb_buf_printf(out, "%s%s", f->name, suffix);
    const char *open = "{";
    for (int i = 0; i < KB_METRIC_LABELS; i++) {
        if (!f->labels[i] || !s->labels[i])
            continue;
        kb_buf_printf(out, "%s%s=\"", open, f->labels[i]);
        add_value(out, s->labels[i]);
        kb_buf_add_str(out, "\"");
        open = ",";
    }
    if (le) {
        kb_buf_printf(out, "%sle=\"%s\"", open, le);
        open = ",";
    }
    kb_buf_add_str(out, *open == ',' ? "} " : " ");
}

static void add_histogram(struct kb_buf *out, const struct kb_family *f, const struct kb_series *s)
{
    uint64_t count = 0;
    for (int i = 0; i < KB_METRIC_BUCKETS; i++) {
        char le[24] = "+Inf";
        if (i < KB_METRIC_BUCKETS - 1)
            snprintf(le, sizeof le, "%g", (double)bounds_us[i] / 1e6);
        count += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
        add_name(out, f, s, "_bucket", le);
        kb_buf_printf(out, "%" PRIu64 "\n", count);
    }
    add_name(out, f, s, "_sum", NULL);
    kb_buf_printf(out, "%.6f\n",
                  (double)atomic_load_explicit(&s->value, memory_order_relaxed) / 1e6);
    add_name(out, f, s, "_count", NULL);
    kb_buf_printf(out, "%" PRIu64 "\n", count);
}

void kb_metrics_render(struct kb_buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    pthread_mutex_lock(&lock);
    for (const struct kb_family *f = families; f; f = f->next) {
        kb_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name,
                      kinds[f->kind]);
        for (const struct kb_series *s = f->first; s; s = s->next) {
            if (f->kind == KB_HISTOGRAM) {
                add_histogram(out, f, s);
                continue;
            }
            int64_t value = atomic_load_explicit(&s->value, memory_order_relaxed);
            add_name(out, f, s, "", NULL);
            if (f->scale > 1)
                kb_buf_printf(out, "%g\n", (double)value / (double)f->scale);
            else
                kb_buf_printf(out, "%" PRId64 "\n", value);
        }
    }
    pthread_mutex_unlock(&lock);
}
