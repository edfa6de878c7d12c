/* See measure.h. Single-threaded. */
#include "measure.h"

#include "peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double process_cpu(pid_t pid)
{
    struct timespec t;
    clockid_t clock;
    if (pid == 0)
        return 0;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        die("the CPU clock of process %d: %s", (int)pid, strerror(errno));
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void latencies_add(struct latencies *l, double us)
{
    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 4096;
        l->values = realloc(l->values, l->room * sizeof *l->values);
        if (!l->values)
            die("memory");
    }
    l->values[l->count++] = us;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void latencies_sort(struct latencies *l)
{
    if (l->count)
        qsort(l->values, l->count, sizeof *l->values, compare);
}

double latency_at(const struct latencies *l, double part)
{
    size_t i = (size_t)(part * (double)l->count);
    return l->count ? l->values[i < l->count ? i : l->count - 1] : 0;
}

void latencies_say(struct latencies *l)
{
    latencies_sort(l);
    printf("\"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f, ", latency_at(l, 0.5),
           latency_at(l, 0.99), latency_at(l, 0.999), latency_at(l, 1));
}
