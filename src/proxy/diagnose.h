/* Why a console does not open: goes the way of a channel to its hypervisor, hop by hop, as far
 * as the proof that the ticket is good, and says how each hop went. No session begins there. */
#ifndef KB_PROXY_DIAGNOSE_H
#define KB_PROXY_DIAGNOSE_H

#include "base/reason.h"

#include <stdint.h>

struct kb_proxy;

enum kb_hop {
    KB_HOP_SOURCE,   /* the source says how to reach it */
    KB_HOP_RESOLVE,  /* the hypervisor's name */
    KB_HOP_CONNECT,  /* TCP, or the unix socket */
    KB_HOP_TLS,      /* the handshake */
    KB_HOP_IDENTITY, /* whether the certificate is trusted and the right one */
    KB_HOP_LINK,     /* the link message and the reply to it */
    KB_HOP_TICKET,   /* whether the ticket is accepted */
    KB_HOPS
};

enum kb_hop_result {
    KB_HOP_UNTRIED, /* one before it failed */
    KB_HOP_OK,
    KB_HOP_FAILED,
    KB_HOP_NOT_NEEDED,
};

struct kb_hop_view {
    enum kb_hop_result result;
    uint64_t us;           /* how long it took */
    enum kb_reason reason; /* FAILED: why */
    char detail[256];      /* what exactly, may be "" */
};

struct kb_diagnosis {
    struct kb_hop_view hops[KB_HOPS];
};

/* Blocks for as long as a channel's dial may take: HTTP threads only. */
void kb_proxy_diagnose(struct kb_proxy *p, const char *source, const char *uuid,
                       struct kb_diagnosis *out);

const char *kb_hop_name(enum kb_hop hop); /* snake_case, stable */
/* What an operator should do about it; one or two sentences. */
const char *kb_diagnosis_advice(enum kb_reason reason);

#endif
