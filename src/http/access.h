/* The asker and the consoles: what a handler asks before it shows or does something. What is not
 * the asker's to know does not exist (404); operators and the like hear that they may not (403). */
#ifndef KB_HTTP_ACCESS_H
#define KB_HTTP_ACCESS_H

#include "http/request.h"

/* Whether the action is allowed on this console. */
bool kb_request_may_on(const struct kb_request *r, enum kb_action a,
                       const struct kb_console_row *row);
/* The same where no row is at hand; name, owner NULL: unknown. */
bool kb_request_may_at(const struct kb_request *r, enum kb_action a, const char *source,
                       const char *uuid, const char *name, const char *owner);
/* True if the console is there and the action is allowed on it. False: answered. Asks the store
 * only if the role does not hold everywhere. gone_is_fine: a console that is not in the store is
 * judged by its source. */
bool kb_request_need_on(struct kb_request *r, enum kb_action a, const char *source,
                        const char *uuid, bool gone_is_fine);
/* The asker may not: 403 where it may know of it, else the 404 that there would be without it. */
void kb_reply_hidden(struct kb_request *r, const char *code, const char *text);

/* For lists: only rows on whose console the action is allowed. view must live as long as the call.
 */
struct kb_request_view {
    const struct kb_request *r;
    enum kb_action action;
};
struct kb_store_filter kb_request_filter(const struct kb_request *r, enum kb_action a,
                                         struct kb_request_view *view);

#endif
