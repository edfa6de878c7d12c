/* Our record of a console as JSON: what an HTTP directory answers with, and what a file of a
 * directory may hold. docs/sources/http.md has its members for people. */
#ifndef KB_SOURCE_RECORD_H
#define KB_SOURCE_RECORD_H

#include "source/driver.h"

#include <jansson.h>

/* NULL, or why a console cannot be called this ("its uuid ..."): it stands in paths of the API and
 * in file names. Takes NULL. */
const char *kb_record_check_uuid(const char *uuid);

/* local: it comes from this machine, so it may name a unix_socket here.
 *
 * A console with its target, ticket included, from one record; NULL with *why, a static text, when
 * it is none. Members that are not known are no mistake: inventories have more to say than we
 * ask. */
struct kb_console *kb_record_read(const struct kb_source_config *config, const json_t *record,
                                  bool local, const char **why);

#endif
