/*
 * What the test programs say: one JSON object per line on stdout, each with "event" and "t"
 * (milliseconds since the program started). Safe from any thread; a line is written whole.
 */
#ifndef KB_E2E_REPORT_H
#define KB_E2E_REPORT_H

#include <jansson.h>

/* Starts the clock. Call once, before anything reports. */
void report_init(void);

/* Writes `fields` (an object, taken over; NULL means none) as the event `name`. */
void report_event(const char *name, json_t *fields);

/* The same with the fields as json_pack() wants them, for example
 * report("ready", "{s:i}", "port", 5900). */
void report(const char *name, const char *format, ...);

/* Bytes as a JSON string: what is not printable ASCII becomes '?', so that any output can be
 * shown. The caller owns the value. */
json_t *report_text(const void *bytes, size_t size);

#endif
