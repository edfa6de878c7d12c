/* What the loads measure with: CPU clocks of processes, and latencies with their percentiles. */
#ifndef KB_BENCH_MEASURE_H
#define KB_BENCH_MEASURE_H

#include <stddef.h>
#include <sys/types.h>

/* Seconds of CPU so far of a process, all its threads, also ended ones; 0 for pid 0. Ends the
 * program when there is no such process. */
double process_cpu(pid_t pid);

/* Microseconds each. */
struct latencies {
    double *values;
    size_t count, room;
};
void latencies_add(struct latencies *l, double us);
/* To be called before latency_at. */
void latencies_sort(struct latencies *l);
/* part: 0.99 for p99; 0 when there is no latency. */
double latency_at(const struct latencies *l, double part);
/* Sorts, and prints `"p50": N, "p99": N, "p999": N, "max": N, `. */
void latencies_say(struct latencies *l);

#endif
