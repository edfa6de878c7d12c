/* The hours of a week, in a time zone. Pure once made; any thread. */
#ifndef KB_POLICY_HOURS_H
#define KB_POLICY_HOURS_H

#include "policy/zone.h"

/* Minutes of the week: Monday 00:00 is 0; from < to <= KB_WEEK_MINUTES. */
#define KB_WEEK_MINUTES (7 * 24 * 60)
#define KB_HOURS_WINDOWS 128
struct kb_window {
    uint16_t from, to;
};

struct kb_hours {
    struct kb_window *windows;
    size_t count;
    char *text;           /* what was added, divided by ", " */
    char *zone_name;      /* NULL: UTC */
    struct kb_zone *zone; /* NULL: UTC */
};

/* Adds "mon-fri 08:00-18:00": a day or a range of days, a time and a later one, or an earlier one
 * of the next day ("fri 22:00-06:00"); "24:00" is midnight at the end. NULL, or what is wrong. */
const char *kb_hours_add(struct kb_hours *h, const char *text);
void kb_hours_finish(struct kb_hours *h);
/* Whether the time (wall clock, milliseconds) is within the hours; if so *left_ms is how long they
 * last from then, INT64_MAX when they never end. */
bool kb_hours_open(const struct kb_hours *h, int64_t wall_ms, int64_t *left_ms);

#endif
