/* Allocation that does not return NULL. A relay that cannot allocate a few hundred bytes cannot
 * serve anybody; it says so and ends, and the service manager starts it anew. Sizes that come from
 * the wire are bounded before they get here. */
#ifndef KB_BASE_MEM_H
#define KB_BASE_MEM_H

#include <stdarg.h>
#include <stddef.h>

void *kb_zalloc(size_t n) __attribute__((malloc, returns_nonnull));
void *kb_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *kb_realloc(void *p, size_t n) __attribute__((returns_nonnull));
/* NULL stays NULL, so that an absent text can be copied like any other. */
char *kb_strdup(const char *s);
char *kb_printf(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull));
/* Copies into a fixed array, cut if need be (between two UTF-8 characters), always ended; true if
 * nothing was cut. */
int kb_copy_str(char *to, size_t size, const char *from);

#endif
