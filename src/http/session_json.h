/* Sessions as the API shows them. Pure; any thread. */
#ifndef KB_HTTP_SESSION_JSON_H
#define KB_HTTP_SESSION_JSON_H

#include "proxy/session.h"
#include "store/store.h"

#include <jansson.h>

/* A live one, as in lists. */
json_t *kb_session_json(const struct kb_session_view *v);
/* A live one with what is remembered of it; r NULL: the store cannot be read. */
json_t *kb_session_json_live(const struct kb_session_view *v, const struct kb_session_record *r);
/* One that does not live (here). */
json_t *kb_session_json_ended(const struct kb_session_record *r);

#endif
