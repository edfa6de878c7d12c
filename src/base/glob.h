/* Patterns of names, as people write them. Pure; any thread.
 *
 * "*" is any run of characters, "?" one character, "\" takes the next one as it is. All of the name
 * must match. */
#ifndef KB_BASE_GLOB_H
#define KB_BASE_GLOB_H

#include "base/span.h"

bool kb_glob(struct kb_span pattern, const char *name);
/* The same where "A" and "a" are one: names of files, of which some guests say so. ASCII only. */
bool kb_glob_fold(struct kb_span pattern, const char *name);

#endif
