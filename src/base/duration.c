/* Reads and writes durations with a unit. Pure; any thread. */
#include "base/duration.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int64_t ms;
} units[] = {{"d", 24 * 3600 * 1000}, {"h", 3600 * 1000}, {"m", 60 * 1000}, {"s", 1000}, {"ms", 1}};

#define UNITS (sizeof units / sizeof *units)

bool kb_duration_parse(const char *text, int64_t *ms)
{
    const char *at = text;
    int64_t n = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        n = n * 10 + (*at - '0');
        if (n > KB_DURATION_MAX)
            return false;
    }
    if (at == text)
        return false;
    if (!*at && n == 0) {
        *ms = 0;
        return true;
    }
    for (size_t i = 0; i < UNITS; i++) {
        if (strcmp(at, units[i].name) != 0)
            continue;
        if (n > KB_DURATION_MAX / units[i].ms)
            return false;
        *ms = n * units[i].ms;
        return true;
    }
    return false;
}

void kb_duration_format(int64_t ms, char text[KB_DURATION_TEXT_SIZE])
{
    if (ms <= 0) {
        snprintf(text, KB_DURATION_TEXT_SIZE, "0");
        return;
    }
    size_t i = 0;
    while (i < UNITS - 1 && ms % units[i].ms != 0)
        i++;
    snprintf(text, KB_DURATION_TEXT_SIZE, "%" PRId64 "%s", ms / units[i].ms, units[i].name);
}
