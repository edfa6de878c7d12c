/* The grammar: every message of SPICE, by channel type and direction; how long it may be and when
 * it may come. Pure tables and one small state a channel; asked once a message, so it is a lookup
 * and a few comparisons.
 *
 * Sources: spice/enums.h of spice-protocol 0.14.3 for the numbers (a test walks that header and
 * fails on a message without a row), spice.proto of spice-common for the bodies, spice-server
 * 0.15.1 and spice-gtk 0.42 for what is really said and when. */
#ifndef KB_SPICE_GRAMMAR_H
#define KB_SPICE_GRAMMAR_H

#include "base/reason.h"
#include "spice/wire.h"

/* What has happened on a channel, in either direction. A message passes us before its receiver can
 * answer it, so what answers it always comes later here too. */
enum kb_grammar_state {
    KB_GRAMMAR_OPEN = 1,      /* the channel's INIT was there, or what stands for it */
    KB_GRAMMAR_STARTED = 2,   /* sound: between START and STOP; record and the agent: since START */
    KB_GRAMMAR_MIGRATING = 4, /* the server has told of a migration */
    KB_GRAMMAR_NEVER = 128,   /* is never set: what needs it is refused, the table says why */
};

/* How often it comes, roughly. */
enum kb_rate {
    KB_RATE_RARE, /* setting up, a change of mode: a handful a minute */
    KB_RATE_USER, /* what a hand does: at most some hundred a second */
    KB_RATE_FLOW, /* acknowledgements, sound, cursor shapes: by the stream they belong to */
    KB_RATE_BULK, /* as fast as the link carries it */
    KB_RATES
};

struct kb_grammar_row {
    const char *name;     /* NULL: there is no such message */
    uint32_t min, max;    /* of its body, in bytes */
    uint8_t needs, bars;  /* states that must be, and must not be, for it to come */
    uint8_t sets, clears; /* states that it leads to */
    uint8_t rate;         /* enum kb_rate */
    bool watched; /* a policy may have to look at it or change it, or it is of a migration */
    bool list;    /* LIST: holds other messages */
};

/* One direction of a channel type. */
struct kb_vocabulary {
    const struct kb_grammar_row *messages; /* by number */
    uint32_t count;
    uint32_t longest; /* body of any message, those that the grammar does not know included */
};

/* [channel type][enum kb_direction]; no messages and a longest of 0 where there is no such type. */
extern const struct kb_vocabulary kb_grammar[KB_CHANNEL_END][KB_DIRECTIONS];
/* In place of a row for what has none: anything, and watched. */
extern const struct kb_grammar_row kb_grammar_unknown;
/* Most messages of a class a second, each direction; what a person or a desktop really does is far
 * below. */
extern const uint32_t kb_rate_max[KB_RATES];

/* A channel's state, shared by its two directions. */
struct kb_grammar_walk {
    uint8_t channel_type;
    uint8_t state;                          /* of enum kb_grammar_state */
    bool observed;                          /* breaches are told, not refused */
    bool again;                             /* the server is another: its INIT may come once more */
    uint32_t seen[KB_DIRECTIONS][KB_RATES]; /* since the last tick */
};

void kb_grammar_init(struct kb_grammar_walk *g, unsigned channel_type, bool observed);
/* The server is another from its next message on, which goes on where the last one ended: inputs
 * and ports say their INIT once more, main does not. */
void kb_grammar_move(struct kb_grammar_walk *g);
/* Once a second: the rates begin anew. */
void kb_grammar_tick(struct kb_grammar_walk *g);

/* The message's row, or NULL. channel_type: below KB_CHANNEL_END. */
static inline const struct kb_grammar_row *kb_grammar_find(unsigned channel_type,
                                                           enum kb_direction d, unsigned type)
{
    const struct kb_vocabulary *v = &kb_grammar[channel_type][d];
    return type < v->count && v->messages[type].name ? &v->messages[type] : NULL;
}

/* What is wrong with a message, by its header and the state: KB_REASON_NONE, MESSAGE_UNKNOWN,
 * MESSAGE_TOO_SHORT, MESSAGE_TOO_LONG, MESSAGE_OUT_OF_PLACE. row: found for it, may be NULL. */
static inline enum kb_reason kb_grammar_judge(const struct kb_grammar_walk *g,
                                              const struct kb_grammar_row *row, uint32_t size)
{
    if (!row)
        return KB_REASON_MESSAGE_UNKNOWN;
    if (size > row->max)
        return KB_REASON_MESSAGE_TOO_LONG;
    if (size < row->min)
        return KB_REASON_MESSAGE_TOO_SHORT;
    uint8_t bars = g->again ? row->bars & (uint8_t)~KB_GRAMMAR_OPEN : row->bars;
    if ((g->state & (row->needs | bars)) != row->needs)
        return KB_REASON_MESSAGE_OUT_OF_PLACE;
    return KB_REASON_NONE;
}

/* The message is taken: the state goes on. KB_REASON_MESSAGE_FLOOD: too many of its class within
 * the second. */
static inline enum kb_reason kb_grammar_take(struct kb_grammar_walk *g,
                                             const struct kb_grammar_row *row, enum kb_direction d)
{
    g->state = (uint8_t)((g->state & ~row->clears) | row->sets);
    if (row->bars & KB_GRAMMAR_OPEN)
        g->again = false;
    return ++g->seen[d][row->rate] > kb_rate_max[row->rate] ? KB_REASON_MESSAGE_FLOOD
                                                            : KB_REASON_NONE;
}

/* Whether a LIST, its whole body, holds only what it may: WAIT_FOR_CHANNELS and INVAL_LIST, each
 * inside it from its first byte to the last that it counts. */
bool kb_grammar_list_adds_up(struct kb_span list);

#endif
