/* A client and a server of main around the agent filter, which keep the accounts of real ones and
 * abort where those would end the channel: tokens, chunk sizes, where messages begin. Shared by
 * the unit tests and the fuzz target, each with its own MUST. */
#ifndef KB_TEST_AGENT_RIG_H
#define KB_TEST_AGENT_RIG_H

#include "base/buf.h"
#include "policy/agent.h"

#include <spice/enums.h>
#include <spice/vd_agent.h>
#include <stdio.h>

#define RIG_TOKENS 10 /* REDS_AGENT_WINDOW_SIZE */
#define RIG_BATCH 5   /* REDS_TOKENS_TO_SEND */

struct agent_rig {
    struct kb_agent *a;
    struct kb_content c;
    const struct kb_rules *rules;
    uint64_t client_tokens, server_tokens; /* each as its side counts the client's */
    unsigned used;                         /* taken by the server, not yet given back */
    /* What the other side got: chunks' bytes one behind the other, and of the message under way. */
    struct kb_buf got[KB_DIRECTIONS];
    uint32_t left[KB_DIRECTIONS];
    bool raw; /* nothing is known of where messages begin */
    bool ended;
    unsigned rules_hit[KB_RULE_COUNT][KB_RULE_ACTIONS];
    unsigned facts[KB_FACT_USB_UNPLUGGED + 1];
    struct kb_fact last;
    char last_name[300];
};

static inline void rig_on_rule(void *owner, enum kb_rule rule, enum kb_rule_action action,
                               enum kb_direction d, const char *detail)
{
    struct agent_rig *r = owner;
    (void)d;
    (void)detail;
    r->rules_hit[rule][action]++;
}

static inline void rig_on_fact(void *owner, const struct kb_fact *fact)
{
    struct agent_rig *r = owner;
    r->facts[fact->kind]++;
    r->last = *fact;
    snprintf(r->last_name, sizeof r->last_name, "%s", fact->name ? fact->name : "");
    r->last.name = r->last_name;
}

/* A chunk that arrives: in the form that every receiver reads alike. */
static inline void rig_take_chunk(struct agent_rig *r, enum kb_direction d, struct kb_span chunk)
{
    MUST(chunk.len > 0 && chunk.len <= KB_AGENT_CHUNK_MAX);
    kb_buf_add(&r->got[d], chunk.data, chunk.len);
    if (r->raw)
        return;
    if (!r->left[d]) {
        MUST(chunk.len >= 20); /* agent-msg-filter.c: incomplete header */
        MUST(kb_get_u32(chunk.data) == VD_AGENT_PROTOCOL);
        r->left[d] = kb_get_u32(chunk.data + 16);
        chunk = kb_span(chunk.data + 20, chunk.len - 20);
    }
    MUST(chunk.len <= r->left[d]); /* data exceeds size from header */
    r->left[d] -= (uint32_t)chunk.len;
}

static inline void rig_take(struct agent_rig *r, enum kb_direction d, uint16_t type,
                            struct kb_span body)
{
    if (d == KB_FROM_CLIENT) {
        if (type == SPICE_MSGC_MAIN_AGENT_DATA) {
            MUST(r->server_tokens > 0); /* token violation */
            r->server_tokens--;
            r->used++;
            rig_take_chunk(r, d, body);
        }
        return;
    }
    if (type == SPICE_MSG_MAIN_AGENT_DATA)
        rig_take_chunk(r, d, body);
    else if (type == SPICE_MSG_MAIN_AGENT_TOKEN)
        r->client_tokens += kb_get_u32(body.data);
    else if (type == SPICE_MSG_MAIN_INIT && body.len >= 24)
        r->client_tokens = kb_get_u32(body.data + 20);
    else if (type == SPICE_MSG_MAIN_AGENT_CONNECTED_TOKENS && body.len >= 4)
        r->client_tokens = kb_get_u32(body.data);
}

static inline void rig_take_all(struct agent_rig *r)
{
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        struct kb_buf out = r->c.to[d];
        r->c.to[d] = (struct kb_buf){0};
        size_t at = 0;
        while (at < out.len) {
            MUST(out.len - at >= KB_MINI_HEADER_SIZE);
            uint32_t size = kb_get_u32(out.data + at + 2);
            MUST(out.len - at - KB_MINI_HEADER_SIZE >= size);
            rig_take(r, (enum kb_direction)d, kb_get_u16(out.data + at),
                     kb_span(out.data + at + KB_MINI_HEADER_SIZE, size));
            at += KB_MINI_HEADER_SIZE + size;
        }
        kb_buf_finish(&out);
    }
}

static inline bool rig_feed(struct agent_rig *r, enum kb_direction d, uint16_t type,
                            struct kb_span body)
{
    if (r->ended)
        return false;
    r->ended = !kb_agent_feed(r->a, &r->c, r->rules, d, type, body);
    rig_take_all(r);
    if (!r->ended) {
        MUST(r->client_tokens == kb_agent_client_tokens(r->a));
        /* What neither side of ours has is in chunks that are held back. */
        MUST(r->client_tokens + kb_agent_reserve(r->a) <= r->server_tokens);
    }
    return !r->ended;
}

static inline void rig_give_back(struct agent_rig *r)
{
    uint8_t n[4];
    if (r->used < RIG_BATCH || r->ended)
        return;
    kb_put_u32(n, r->used);
    r->server_tokens += r->used;
    r->used = 0;
    rig_feed(r, KB_FROM_SERVER, SPICE_MSG_MAIN_AGENT_TOKEN, kb_span(n, sizeof n));
}

/* One chunk as its sender sends it; a client without tokens waits, which here would be for ever. */
static inline bool rig_chunk(struct agent_rig *r, enum kb_direction d, struct kb_span chunk)
{
    if (d == KB_FROM_CLIENT && !r->ended) {
        MUST(r->client_tokens > 0);
        r->client_tokens--;
    }
    bool good = rig_feed(
        r, d, d == KB_FROM_CLIENT ? SPICE_MSGC_MAIN_AGENT_DATA : SPICE_MSG_MAIN_AGENT_DATA, chunk);
    rig_give_back(r);
    return good && !r->ended;
}

/* INIT with the agent there, and the client's START. */
static inline void rig_open(struct agent_rig *r, const struct kb_rules *rules)
{
    uint8_t init[32] = {0}, grant[4] = {0xff, 0xff, 0xff, 0xff};
    *r = (struct agent_rig){.a = kb_agent_create(), .rules = rules};
    r->c = (struct kb_content){.on_rule = rig_on_rule, .on_fact = rig_on_fact, .owner = r};
    kb_put_u32(init + 16, 1);
    kb_put_u32(init + 20, RIG_TOKENS);
    r->server_tokens = RIG_TOKENS;
    MUST(rig_feed(r, KB_FROM_SERVER, SPICE_MSG_MAIN_INIT, kb_span(init, sizeof init)));
    MUST(r->client_tokens + kb_agent_reserve(r->a) == RIG_TOKENS);
    MUST(rig_feed(r, KB_FROM_CLIENT, SPICE_MSGC_MAIN_AGENT_START, kb_span(grant, 4)));
}

static inline void rig_close(struct agent_rig *r)
{
    kb_agent_finish(r->a, &r->c);
    kb_agent_destroy(r->a);
    kb_content_finish(&r->c);
    for (int d = 0; d < KB_DIRECTIONS; d++)
        kb_buf_finish(&r->got[d]);
}

#endif
