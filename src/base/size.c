/* Reads amounts of bytes with a unit. Pure; any thread. */
#include "base/size.h"

#include <string.h>

static const struct {
    const char *name;
    uint64_t bytes;
    bool bits;
} units[] = {
    {"", 1, false},
    {"B", 1, false},
    {"kB", 1000, false},
    {"MB", 1000000, false},
    {"GB", 1000000000, false},
    {"KiB", 1024, false},
    {"MiB", 1048576, false},
    {"GiB", 1073741824, false},
    {"kbit", 125, true},
    {"Mbit", 125000, true},
    {"Gbit", 125000000, true},
};

bool kb_size_parse(const char *text, bool bits, uint64_t *bytes)
{
    const char *at = text;
    uint64_t n = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        n = n * 10 + (uint64_t)(*at - '0');
        if (n > KB_SIZE_MAX)
            return false;
    }
    if (at == text)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(at, units[i].name) != 0 || (units[i].bits && !bits))
            continue;
        if (n > KB_SIZE_MAX / units[i].bytes)
            return false;
        *bytes = n * units[i].bytes;
        return true;
    }
    return false;
}
