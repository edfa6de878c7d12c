/* What is said to an HTTP proxy before the bytes flow (CONNECT, RFC 9110, 9.3.6). Pure. */
#ifndef KB_NET_TUNNEL_H
#define KB_NET_TUNNEL_H

#include "base/buf.h"

#define KB_TUNNEL_ANSWER_MAX 8192
#define KB_TUNNEL_WHY 128

/* "CONNECT host:port HTTP/1.0": 1.0, so that a proxy neither keeps the connection nor sends chunks.
 * False if host has a character that would make it another request. */
bool kb_tunnel_request(struct kb_buf *out, const char *host, uint16_t port);

enum kb_tunnel { KB_TUNNEL_MORE, KB_TUNNEL_OPEN, KB_TUNNEL_REFUSED };

/* What the proxy has said so far. len: how long its head is; all behind it is the tunnel's. why: of
 * a refusal, printable: "status 401 invalid ticket". */
enum kb_tunnel kb_tunnel_answer(struct kb_span said, size_t *len, char why[KB_TUNNEL_WHY]);

#endif
