/* Durations as people write them: "500ms", "60s", "5m", "2h", "90d", and "0" for none. Pure. */
#ifndef KB_BASE_DURATION_H
#define KB_BASE_DURATION_H

#include <stdbool.h>
#include <stdint.h>

#define KB_DURATION_TEXT_SIZE 24
/* The longest duration: ten years. Far beyond any use, and small enough that a time plus a duration
 * never overflows. */
#define KB_DURATION_MAX (INT64_C(3650) * 24 * 3600 * 1000)

/* One whole number and one unit of ms, s, m, h, d, nothing else; only 0 may go without a unit.
 * False, with *ms unchanged, for anything else, also for what is longer than KB_DURATION_MAX. */
bool kb_duration_parse(const char *text, int64_t *ms);
/* The shortest of the forms above that is exact: 90000 is "90s", 120000 "2m". ms is at least 0. */
void kb_duration_format(int64_t ms, char text[KB_DURATION_TEXT_SIZE]);

#endif
