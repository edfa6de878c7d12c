/*
 * The one way out of the test programs: JSON lines on stdout. Events come from several threads
 * (libspice-server reports from its display worker), so a line is built first and written with
 * one call under a lock.
 */

#include "report.h"

#include <glib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static gint64 start_time;
static GMutex lock;

void report_init(void)
{
    start_time = g_get_monotonic_time();
}

void report_event(const char *name, json_t *fields)
{
    json_t *line = fields != NULL ? fields : json_object();
    double t = (double)(g_get_monotonic_time() - start_time) / 1000.0;

    json_object_set_new(line, "event", json_string(name));
    json_object_set_new(line, "t", json_real(t));
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(line);
    if (text == NULL) {
        fprintf(stderr, "the event %s cannot be written as JSON\n", name);
        abort();
    }
    g_mutex_lock(&lock);
    fprintf(stdout, "%s\n", text);
    fflush(stdout);
    g_mutex_unlock(&lock);
    free(text);
}

void report(const char *name, const char *format, ...)
{
    va_list arguments;
    json_error_t error;

    va_start(arguments, format);
    json_t *fields = json_vpack_ex(&error, 0, format, arguments);
    va_end(arguments);
    if (fields == NULL) {
        fprintf(stderr, "the event %s has wrong fields: %s\n", name, error.text);
        abort();
    }
    report_event(name, fields);
}

json_t *report_text(const void *bytes, size_t size)
{
    g_autofree char *copy = g_malloc(size + 1);
    const unsigned char *from = bytes;

    for (size_t i = 0; i < size; i++) {
        unsigned char c = from[i];
        gboolean plain = (c >= 0x20 && c < 0x7f) || c == '\r' || c == '\n' || c == '\t';
        copy[i] = plain ? (char)c : '?';
    }
    copy[size] = '\0';
    return json_string(copy);
}
