/* What the rest of the daemon may know of the heart: live sessions as copies, and how to end them.
 * A session is what a redeemed grant becomes: all channels of one client. It lives on one loop. */
#ifndef KB_PROXY_SESSION_H
#define KB_PROXY_SESSION_H

#include "base/reason.h"
#include "base/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kb_proxy;

struct kb_channel_view {
    uint8_t type, id;
    int64_t opened_at; /* wall clock ms */
    uint64_t bytes_from_client, bytes_from_server;
    uint64_t messages_from_client, messages_from_server;
    uint64_t rate_from_client, rate_from_server; /* bytes per second, over the last second or so */
    uint32_t client_rtt_us;                      /* TCP_INFO; 0 unknown */
};

struct kb_session_view {
    char id[KB_ID_SIZE], grant_id[KB_ID_SIZE];
    char source[256], uuid[256], console_name[256], user[256];
    char policy[1024]; /* names of all that hold, divided by spaces */
    char owner[256];   /* whom the console belonged to when the session started; "": nobody said */
    char client_address[64];
    char hypervisor[256]; /* where the server legs go, for operators */
    int64_t started_at;
    uint64_t bytes_from_client, bytes_from_server; /* closed channels included */
    struct kb_channel_view *channels;
    size_t channel_count;
};

/* A copy of all live sessions, or of the one with this id (NULL: all). Blocks until every loop has
 * answered: HTTP threads only. Freed with kb_session_views_free. */
size_t kb_proxy_list_sessions(struct kb_proxy *p, const char *id, struct kb_session_view **views);
void kb_session_views_free(struct kb_session_view *views, size_t count);

/* What there is to know before it is decided whether somebody may end a session. */
struct kb_session_place {
    const char *source, *uuid, *console_name, *owner; /* owner NULL: nobody said */
};
/* Which sessions to end: every one for which all set texts are equal (at least one must be set) and
 * that wants says yes to; wants is asked on the loops' threads, and must not wait. */
struct kb_session_match {
    const char *id, *source, *uuid, *user, *grant_id;                     /* NULL: any */
    bool (*wants)(const void *who, const struct kb_session_place *place); /* NULL: every one */
    const void *who;
};
/* Who ends them, for the audit (session.terminated) and the store. */
struct kb_session_order {
    const char *actor, *request_id;
    const char *apikey_id; /* "": not with a key */
    const char *detail;    /* the reason in that person's words; may be NULL */
};
/* Ends them; the number ended. Blocks until every loop has answered. */
unsigned kb_proxy_terminate(struct kb_proxy *p, const struct kb_session_match *match,
                            const struct kb_session_order *order);

#endif
