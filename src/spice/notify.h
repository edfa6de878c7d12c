/* NOTIFY: a sentence from the server's side for whoever sits in front of the client. Pure. */
#ifndef KB_SPICE_NOTIFY_H
#define KB_SPICE_NOTIFY_H

#include "base/buf.h"

enum kb_severity { KB_SEVERITY_INFO, KB_SEVERITY_WARN, KB_SEVERITY_ERROR };

/* A longer text is cut, between two characters. */
#define KB_NOTIFY_TEXT_MAX 500

/* One whole message (mini header, SpiceMsgNotify, text, NUL) as it goes to a client, on main only:
 * there no message waits for another by its number and nobody counts acknowledgements, so one that
 * the server did not send does no harm. time_ns: any steady clock. text: UTF-8. */
void kb_notify_write(struct kb_buf *out, uint64_t time_ns, enum kb_severity severity,
                     const char *text);

#endif
