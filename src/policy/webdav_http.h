/* Where HTTP/1.1 messages of one direction of a connection begin and end, and what the policy needs
 * of their heads. Source: RFC 9112. Strict where receivers are known to differ: what is doubtful is
 * refused, so that nobody behind us finds another message in the same bytes. Pure. */
#ifndef KB_POLICY_WEBDAV_HTTP_H
#define KB_POLICY_WEBDAV_HTTP_H

#include "base/buf.h"

#define KB_HTTP_HEAD_MAX 16384
#define KB_HTTP_METHOD_SIZE 20

enum kb_http_state {
    KB_HTTP_HEAD,
    KB_HTTP_LENGTH,
    KB_HTTP_CHUNK_SIZE,
    KB_HTTP_CHUNK_DATA,
    KB_HTTP_CHUNK_END,
    KB_HTTP_TRAILER,
    KB_HTTP_TO_THE_END, /* of the connection */
};

struct kb_http {
    bool response;
    bool bodiless; /* of a response, set before it comes: to a HEAD */
    enum kb_http_state state;
    struct kb_buf head; /* as it came, until the next message */
    uint64_t left;
    uint32_t line; /* bytes of the chunk's or trailer's line so far */
    bool digits, carriage;
    /* Of the message whose head has come. */
    char method[KB_HTTP_METHOD_SIZE]; /* of a request; a longer one is cut */
    unsigned status;                  /* of a response */
    bool expects;                     /* it waits for 100 Continue */
    bool has_body;
};

enum kb_http_event {
    KB_HTTP_MORE, /* all has been taken */
    KB_HTTP_READ, /* the head is there; the body, if any, follows */
    KB_HTTP_DONE, /* the message has ended; comes after READ, and may take nothing */
    KB_HTTP_BAD,  /* it cannot be read, nor can what follows */
};

void kb_http_init(struct kb_http *h, bool response);
void kb_http_finish(struct kb_http *h);
/* Takes from *bytes up to the next event; *taken is what it took. */
enum kb_http_event kb_http_next(struct kb_http *h, struct kb_span *bytes, struct kb_span *taken);
/* Nothing of a message has come. */
static inline bool kb_http_between(const struct kb_http *h)
{
    return h->state == KB_HTTP_HEAD && h->head.len == 0;
}

#endif
