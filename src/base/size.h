/* Amounts of bytes as people write them: "4096", "64KiB", "10MB", and rates as "10Mbit". Pure. */
#ifndef KB_BASE_SIZE_H
#define KB_BASE_SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* A petabyte: far beyond any use, and no sum of such overflows. */
#define KB_SIZE_MAX (INT64_C(1000000000000000))

/* One whole number and nothing, kB, MB, GB, KiB, MiB or GiB; with bits also kbit, Mbit, Gbit, which
 * are eighths. False, with *bytes unchanged, for anything else. */
bool kb_size_parse(const char *text, bool bits, uint64_t *bytes);

#endif
