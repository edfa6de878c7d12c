/* The first administrator. */
#ifndef KB_DAEMON_ADMIN_H
#define KB_DAEMON_ADMIN_H

#include "base/auto.h"

#include <stdbool.h>

struct kb_store;

/* When the store has no user at all: makes `admin` with a random password, which is written to
 * state_dir/initial-admin-password (mode 0600) and nowhere else. False, and logged, on failure. */
KB_MUST_CHECK bool kb_admin_ensure(struct kb_store *store, const char *state_dir);

#endif
