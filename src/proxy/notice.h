/* What the person in front of a session is told: that it is about to end, and why it ends.
 * Private to proxy. */
#ifndef KB_PROXY_NOTICE_H
#define KB_PROXY_NOTICE_H

#include "proxy/session_state.h"

/* How long before its end a session that has a limit is told so. */
#define KB_NOTICE_BEFORE_MS INT64_C(120000)

/* As the session ends: before its channels are closed. Says nothing for reasons that a client sees
 * by itself. */
void kb_notice_end(struct kb_session *s, enum kb_reason reason, const char *detail);
/* Once a second: warns of max_session and idle_timeout, where the limit is longer than the
 * warning's time, and of the end of the policy's hours. */
void kb_notice_tick(struct kb_session *s, uint64_t now_us);

#endif
