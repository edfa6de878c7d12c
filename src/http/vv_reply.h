/* The answer that is a .vv file, for grants and for exchanges. */
#ifndef KB_HTTP_VV_REPLY_H
#define KB_HTTP_VV_REPLY_H

#include "http/request.h"

void kb_reply_vv(struct kb_request *r, unsigned status, const char *console_name,
                 const struct kb_grant_row *grant, const char *token);

#endif
