/* The hours of a week, in a time zone. Pure once made; any thread. */
#ifndef KB_POLICY_HOURS_H
#define KB_POLICY_HOURS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kb_zone;

/* Minutes of the week, Monday 00:00 is 0; from < to; to at most KB_WEEK_MINUTES. */
#define KB_WEEK_MINUTES (7 * 24 * 60)
struct kb_window {
    uint16_t from, to;
};

struct kb_hours {
    struct kb_window *windows;
    size_t count;
    struct kb_zone *zone; /* NULL: UTC */
};

#endif
