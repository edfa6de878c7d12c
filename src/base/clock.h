/* The clocks. Durations and deadlines use the monotonic one, anything a person reads the wall. */
#ifndef KB_BASE_CLOCK_H
#define KB_BASE_CLOCK_H

#include <stdint.h>

#define KB_TIME_TEXT_SIZE 25 /* "2026-11-20T18:52:29.123Z" and its NUL */

uint64_t kb_clock_us(void);     /* monotonic, microseconds */
int64_t kb_clock_wall_ms(void); /* since 1970, UTC, milliseconds */
/* RFC 3339, UTC, milliseconds. */
void kb_clock_format(int64_t wall_ms, char text[KB_TIME_TEXT_SIZE]);

#endif
