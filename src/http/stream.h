/* An answer that is made while it is sent; see kb_reply_stream. Private to reply.c and server.c. */
#ifndef KB_HTTP_STREAM_H
#define KB_HTTP_STREAM_H

#include "http/request.h"

struct kb_stream {
    kb_stream_next *next;
    void (*finish)(void *state);
    void *state;
    struct kb_buf out; /* made and not yet taken, from at on */
    size_t at;
    bool ended;
};

#endif
