/* Folder sharing inside the webdav channel. The user's spice-gtk is the HTTP server (phodav), the
 * guest's spice-webdavd carries the requests of the guest's programs to it: requests travel from
 * the server, answers from the client. Source: spice-gtk 0.42 channel-webdav.c, phodav 3.0
 * bin/spice-webdavd.c: both directions are frames of i64 connection, u16 size, that many bytes; a
 * size of 0 closes the connection.
 *
 * read_only lets OPTIONS, GET, HEAD and PROPFIND pass. All else is answered 403 in the folder's
 * place and its body swallowed; so are LOCK and UNLOCK, because locking what is not there makes it
 * (RFC 4918, 7.3) and nobody who only reads needs it. `off` lets nothing pass. What goes on is
 * whole requests, each in one frame: a piece of one that reached a connection just closed would
 * begin a new one there, and be read as a request of its own. */
#ifndef KB_POLICY_WEBDAV_H
#define KB_POLICY_WEBDAV_H

#include "policy/content.h"

#define KB_WEBDAV_CONNECTIONS 512 /* at once; one more is closed at once */

struct kb_webdav;

struct kb_webdav *kb_webdav_create(void);
void kb_webdav_destroy(struct kb_webdav *w); /* takes NULL */

/* DATA and COMPRESSED_DATA both ways, and from the server the port's INIT and EVENT. */
bool kb_webdav_wants(enum kb_direction d, uint16_t type);
/* As kb_usbredir_feed. A policy that becomes stricter closes connections whose request is half on
 * its way. */
bool kb_webdav_feed(struct kb_webdav *w, struct kb_content *c, const struct kb_rules *rules,
                    enum kb_direction d, uint16_t type, struct kb_span bytes);

#endif
