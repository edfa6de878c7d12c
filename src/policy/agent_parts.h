/* What the files agent*.c share; nobody else's. */
#ifndef KB_POLICY_AGENT_PARTS_H
#define KB_POLICY_AGENT_PARTS_H

#include "policy/agent.h"

#include <sodium.h>
#include <spice/vd_agent.h>

#define HEADER_SIZE 20                    /* VDAgentMessage */
#define HELD_MAX 8192                     /* the longest message that is judged as a whole */
#define WAITING_MAX 4096                  /* bytes of our own messages that wait for their turn */
#define MESSAGE_MAX (UINT32_C(256) << 20) /* spice-gtk allocates what the header says */
#define SELECTIONS 3                      /* clipboard, primary, secondary */
#define TYPES 32                          /* clipboard types; the protocol has 7 */
#define FILES_MAX 64                      /* transfers at once */
#define NAME_SIZE 256

enum lane_state {
    LANE_HEAD,    /* collects header and what the judgement needs */
    LANE_PASS,    /* the rest of a message goes on */
    LANE_SWALLOW, /* the rest of a message does not */
    LANE_DEAD,    /* unreadable until the agent is another */
    LANE_RAW,     /* unreadable, and grammar is only observed: all goes on as it is */
};

/* One direction. */
struct lane {
    enum lane_state state;
    struct kb_buf held; /* HEAD: of the message that is being judged */
    uint32_t need;      /* HEAD: bytes that held must have */
    uint32_t type, left;
    uint8_t chunk[KB_AGENT_CHUNK_MAX]; /* what goes on, being filled */
    uint32_t chunk_len;
    bool open;             /* a message has begun to go on */
    int64_t credit;        /* chunks that came, less those that went on or were paid back */
    struct kb_buf waiting; /* our own whole messages for this direction */
};

struct selection {
    uint32_t offered[KB_DIRECTIONS];     /* types of the side's grab, as it went on: bits */
    uint8_t asked[KB_DIRECTIONS][TYPES]; /* requests of the side that went on, unanswered */
    uint32_t ahead;                      /* client's count of grabs less the guest's */
    uint32_t last_grab[KB_DIRECTIONS];   /* serial with which the side's last grab went on */
    bool grabbed[KB_DIRECTIONS];         /* last_grab is one */
};

struct file {
    struct file *next;
    uint32_t id;
    uint64_t size, bytes;
    crypto_hash_sha256_state hash;
    char name[NAME_SIZE];
};

struct kb_agent {
    struct lane lanes[KB_DIRECTIONS];
    bool started;           /* the client has begun with the agent that is there */
    uint64_t client_tokens; /* as the client counts them */
    unsigned reserve, reserve_max;
    uint32_t grant; /* what the client gave the server; ~0: no counting */
    bool announced[KB_DIRECTIONS];
    uint32_t caps[KB_DIRECTIONS]; /* first word, as it went on */
    struct selection selections[SELECTIONS];
    struct file *files;
    unsigned file_count;
    struct file *hashing;            /* whose data goes on in the client's lane */
    uint64_t pasting[KB_DIRECTIONS]; /* bytes of the clipboard that go on, for the fact */
};

/* A feed: what every step needs. */
struct turn {
    struct kb_agent *a;
    struct kb_content *c;
    const struct kb_rules *rules;
    enum kb_direction d;
};

/* What becomes of a message. Its header and what is known of its body are in the lane's held, and
 * may have been edited: PASS sends them on and what follows; SWALLOW nothing; INSTEAD sends held
 * and swallows what follows. BAD: it cannot be read. */
enum judged { JUDGED_PASS, JUDGED_SWALLOW, JUDGED_INSTEAD, JUDGED_BAD };

static inline struct lane *lane_of(struct turn *t)
{
    return &t->a->lanes[t->d];
}
static inline struct kb_span body_of(struct lane *l)
{
    return kb_span(l->held.data + HEADER_SIZE, l->held.len - HEADER_SIZE);
}
/* Makes held a message of the type; its body is what is in held behind the header. */
void kb_agent_held_set(struct lane *l, uint32_t type, size_t body_len);
/* Our own message, when the direction's turn comes. */
void kb_agent_say(struct turn *t, enum kb_direction d, uint32_t type, struct kb_span body);
static inline bool kb_agent_common(const struct kb_agent *a, unsigned cap)
{
    return (a->caps[KB_FROM_CLIENT] & a->caps[KB_FROM_SERVER]) >> cap & 1;
}

/* agent_clipboard.c */
bool kb_agent_is_clipboard(uint32_t type);
uint32_t kb_agent_clipboard_need(const struct kb_agent *a, uint32_t type, uint32_t size);
enum judged kb_agent_clipboard(struct turn *t, uint32_t type, uint32_t size);
enum judged kb_agent_max_clipboard(struct turn *t);
void kb_agent_edit_caps(struct turn *t, uint32_t *caps);
void kb_agent_clipboard_reset(struct kb_agent *a);

/* agent_files.c */
enum judged kb_agent_file_start(struct turn *t);
enum judged kb_agent_file_data(struct turn *t, uint32_t size);
enum judged kb_agent_file_status(struct turn *t);
void kb_agent_file_bytes(struct kb_agent *a, struct kb_span bytes);
void kb_agent_files_reset(struct kb_agent *a, struct kb_content *c);

#endif
