/* A stream of bytes over somebody's WebSocket, as a socket that the data plane can use like any
 * other. A thread carries it; drivers make them in connect(). */
#ifndef KB_SOURCE_STREAM_H
#define KB_SOURCE_STREAM_H

#include "source/driver.h"

struct kb_stream_wish {
    const char *what;                            /* for messages */
    const char *url;                             /* https:// or http:// */
    const char *header;                          /* "Name: value", or NULL */
    const char *client_certificate, *client_key; /* paths, or NULL */
    bool no_verify;
    bool text_ends;             /* a text message stands for the end of the stream, as with Incus */
    void (*ended)(void *owner); /* on the carrying thread, the last thing of a stream that began */
    void *owner;
};
/* Blocks until the WebSocket is open. A connected stream socket, the caller's to close, which ends
 * it; or -1 with call->why, and *status what the server answered in place of 101 (0: nothing). */
int kb_stream_open(struct kb_source_call *call, const struct kb_stream_wish *w, long *status);
/* Ends all that there are and waits for their threads, within a second or so. No call may be under
 * way that could begin one. */
void kb_streams_stop(void);

#endif
