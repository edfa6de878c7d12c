/* A channel: one SPICE connection of a client and its twin towards the hypervisor. Private to
 * proxy.
 *
 *   LINK -> AUTHORIZE -> DIAL -> SERVER_LINK -> RELAY -> CLOSED     (any state may go to CLOSED)
 *
 * link.c, authorize.c, dial.c and relay.c each hold the steps of one state; channel.c holds what
 * all share, and the one way out. */
#ifndef KB_PROXY_CHANNEL_H
#define KB_PROXY_CHANNEL_H

#include "base/log.h"
#include "policy/edit.h"
#include "proxy/approach.h"
#include "proxy/shard.h"
#include "spice/link.h"
#include "spice/stream.h"
#include "spice/ticket.h"

struct kb_audit_event;
struct kb_move;
struct kb_session;

enum kb_channel_state {
    KB_STATE_LINK,        /* reading link message and ticket */
    KB_STATE_AUTHORIZE,   /* asking the store, then the source */
    KB_STATE_DIAL,        /* connecting, TLS */
    KB_STATE_SERVER_LINK, /* linking to the hypervisor */
    KB_STATE_RELAY,
    KB_STATE_CLOSED,
};

struct kb_leg {
    struct kb_conn *conn;
    struct kb_stream stream;     /* of what comes from this leg */
    struct kb_block *held;       /* read, but not a whole message yet */
    uint64_t bytes;              /* come from this leg and sent on */
    uint64_t bytes_before, rate; /* at the last tick; bytes per second since */
    bool paused;                 /* not read, because the other leg is full */
};

/* What is needed only until the relay: freed then, so that an idle channel is small. */
struct kb_setup {
    struct kb_client_link client_link;
    struct kb_approach approach; /* its target is counted here */
    struct kb_ticket_key *key;
    struct kb_hash token_hash;
    bool clear;                 /* the client came without TLS: to be told so */
    bool replied;               /* the link reply is out: errors are bare results now */
    struct kb_pending *pending; /* a question to the store or the source, see authorize.c */
    uint64_t accepted_us, began_us, step_us;
};

struct kb_channel {
    struct kb_channel *prev, *next;                 /* in the shard */
    struct kb_channel *session_prev, *session_next; /* in the session */
    struct kb_shard *shard;
    struct kb_session *session; /* NULL until authorized */
    enum kb_channel_state state;
    uint8_t type, id; /* known from the link message on */
    struct kb_leg client, server;
    struct kb_setup *setup;
    struct kb_link link;            /* what the client said, from RELAY on */
    struct kb_move *move;           /* NULL: its desktop stays where it is, see migrate.h */
    struct kb_grammar_walk grammar; /* of both legs' streams */
    struct kb_edit *edit;           /* NULL: nothing on this channel is ever edited */
    struct kb_content edited;       /* what the edits want sent, until its turn */
    struct kb_gate *gate;           /* NULL: the client's pace does not matter */
    uint64_t held_us; /* since when the server leg waits for the session's bandwidth; 0: no */
    struct kb_verdicts *verdicts; /* NULL until a rule acts */
    struct kb_timer deadline;
    struct kb_deferred end;
    int64_t opened_at; /* wall clock ms, of the relay */
    uint64_t opened_us;
    char client_address[64];
};

/* Takes the connection over; prefix was read from it already. clear: it is not TLS, so after the
 * link message it is told NEED_SECURED. accepted_us: when the client's time to set up began. */
void kb_channel_create(struct kb_shard *s, struct kb_conn *client, struct kb_span prefix,
                       bool clear, uint64_t accepted_us);
/* The only way a channel ends. Tells the client what it can still be told, the audit what happened,
 * the session that it is gone; detail (may be NULL) is the system's or a library's words. The
 * memory goes at the end of the loop turn. */
void kb_channel_close(struct kb_channel *ch, enum kb_reason reason, const char *detail);
/* Goes to the next state and starts its clock; the time the last one took is a metric. */
void kb_channel_enter(struct kb_channel *ch, enum kb_channel_state state);
/* "display:0" */
#define KB_CHANNEL_NAME_SIZE 24
void kb_channel_name(const struct kb_channel *ch, char name[KB_CHANNEL_NAME_SIZE]);
/* Fills in whose channel it is: name, address, session. */
void kb_channel_describe(const struct kb_channel *ch, struct kb_audit_event *e);
void kb_channel_audit(const struct kb_channel *ch, const char *event, enum kb_reason reason,
                      const char *detail);

/* verdicts.c: a rule blocked or observed a message. Counts it, in the metrics too; the first of a
 * rule and channel is audited with detail (what exactly; may be NULL). */
void kb_channel_verdict(struct kb_channel *ch, enum kb_rule rule, enum kb_rule_action action,
                        enum kb_direction d, const char *detail);
/* Audits the totals; called by kb_channel_close. */
void kb_channel_sum_verdicts(struct kb_channel *ch);

/* facts.c: something was moved through the channel or plugged in; audits it. */
void kb_channel_fact(struct kb_channel *ch, const struct kb_fact *f);

/* link.c: starts reading the client's link message; ends with kb_channel_authorize. */
void kb_channel_link(struct kb_channel *ch, struct kb_span prefix);
/* authorize.c: whose token is it? Moves the channel to its session's loop; ends with
 * kb_channel_dial. */
void kb_channel_authorize(struct kb_channel *ch);
void kb_channel_forget_answers(struct kb_channel *ch);
/* The same, for one connection that the source makes (KB_TRANSPORT_SOURCE): ends with
 * kb_channel_connected. */
void kb_channel_ask_source(struct kb_channel *ch);
/* dial.c: conn leads to the hypervisor; takes it over. */
void kb_channel_connected(struct kb_channel *ch, struct kb_conn *conn);
/* dial.c: reaches the hypervisor and links; ends with kb_channel_relay. */
void kb_channel_dial(struct kb_channel *ch);
/* relay.c: whole messages both ways until the end. */
void kb_channel_relay(struct kb_channel *ch);
/* relay.c: one message of our own in a direction, as soon as it is between two of the peer's. */
void kb_channel_say(struct kb_channel *ch, enum kb_direction d, uint16_t type, struct kb_span body);
/* relay.c: the server leg goes on over conn, which is linked; the connection that it had is
 * returned, and is the caller's. Both are between two messages. */
struct kb_conn *kb_channel_swap_server(struct kb_channel *ch, struct kb_conn *conn);
/* After that: goes on with what has waited. May end the channel. */
void kb_channel_go_on(struct kb_channel *ch);
/* Reads the hypervisor again after kb_ceiling_may_read or kb_gate_room said no. May end the
 * channel. */
void kb_channel_resume(struct kb_channel *ch);

#endif
