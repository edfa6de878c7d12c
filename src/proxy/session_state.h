/* A live session: what a redeemed grant became. Private to proxy; others see session.h. */
#ifndef KB_PROXY_SESSION_STATE_H
#define KB_PROXY_SESSION_STATE_H

#include "policy/book.h"
#include "policy/rules.h"
#include "proxy/ceiling.h"
#include "proxy/channel.h"
#include "spice/migration.h"
#include "store/store.h"

struct kb_migration;

struct kb_session {
    struct kb_session *prev, *next; /* in the shard */
    struct kb_session *token_prev, *token_next;
    struct kb_shard *shard;
    struct kb_session_row row;
    struct kb_hash token_hash;
    struct kb_rules *rules; /* counted; replaced as a whole at a reload */
    struct kb_edit_session edit;
    int64_t max_session, idle_timeout; /* ms, 0 none: the shorter ones of grant and rules */
    struct kb_ceiling ceiling;
    struct kb_target *target; /* how to reach the console; got once, at the first dial, and when the
                                 desktop moves */
    struct kb_migration *migration;  /* NULL: none is under way, see migrate.h */
    uint64_t switching_us;           /* since when the client is on its way back; 0: it is not */
    struct kb_migration_place place; /* where the hypervisor says that the desktop went */
    char switch_address[64];         /* of the client that is to come back */
    struct kb_target *left;          /* where the desktop was; until main is linked again */
    bool linked;                     /* connection_id is known: main's INIT was seen */
    uint32_t connection_id;          /* the hypervisor's session id, which later channels name */
    struct kb_channel *main;         /* NULL while the session ends, or its client switches */
    struct kb_channel *channels;
    unsigned channel_count;
    uint64_t bytes_from_client, bytes_from_server; /* of channels that are gone */
    uint64_t began_us, input_us;                   /* input_us: when the client last sent input */
    bool warned_max, warned_hours;                 /* the person was told, see notice.h */
    unsigned observed_over; /* limits of time that are only observed and were counted: bits */
    uint64_t warned_input;  /* input_us of the idleness that the person was told of */
    bool ending;
    char ended_by[KB_NAME_SIZE]; /* an operator's name */
};

/* A shard's new session, from the store's row. */
struct kb_session *kb_session_create(struct kb_shard *s, const struct kb_session_row *row,
                                     const struct kb_hash *token_hash);
/* The session of this token with this connection id. *token_known: there is one of the token at
 * least. */
struct kb_session *kb_session_find(struct kb_shard *s, const struct kb_hash *token_hash,
                                   uint32_t connection_id, bool *token_known);
void kb_session_add(struct kb_session *s, struct kb_channel *ch);
/* Called by kb_channel_close: the end of main is the end of the session. */
void kb_session_remove(struct kb_session *s, struct kb_channel *ch, enum kb_reason reason);
/* Ends it with all its channels. */
void kb_session_end(struct kb_session *s, enum kb_reason reason, const char *detail);
/* session_rules.c: the rules of the policies that hold for it now. False, with nothing changed: one
 * of its names is that of no policy; it is in unknown. */
bool kb_session_take_rules(struct kb_session *s, char unknown[KB_POLICY_NAME_SIZE]);
/* After a reload: the same for a live session, which keeps what it has if that fails. Channels that
 * are off now are closed. */
void kb_session_renew_rules(struct kb_session *s);
/* NONE, or why its time is over. */
enum kb_reason kb_session_time_over(struct kb_session *s, uint64_t now_us);
/* Once a second: rates, the longest time, the client's round-trip time. */
void kb_session_tick(struct kb_session *s, uint64_t now_us, unsigned ticks);
/* Writes the end of a session in the store that never came to life here. */
void kb_session_disown(struct kb_shard *s, const struct kb_session_row *row, enum kb_reason reason);

#endif
