/* The clocks. Any thread. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

uint64_t kb_clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int64_t kb_clock_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void kb_clock_format(int64_t wall_ms, char text[KB_TIME_TEXT_SIZE])
{
    /* Years 0 to 9999 only: outside them the text would not fit, and no clock of ours is there. */
    if (wall_ms < 0 || wall_ms > 253402300799999)
        wall_ms = 0;
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char day[21];
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, KB_TIME_TEXT_SIZE, "%.19s.%03uZ", day, (unsigned)(wall_ms % 1000));
}
