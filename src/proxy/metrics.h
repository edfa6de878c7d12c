/* What the setting up of channels costs and how it ends, as metrics. Any thread. Private to proxy.
 */
#ifndef KB_PROXY_METRICS_H
#define KB_PROXY_METRICS_H

#include "base/reason.h"
#include "spice/wire.h"

#include <stdint.h>

struct kb_series;

enum kb_phase {
    KB_PHASE_TLS,
    KB_PHASE_LINK,
    KB_PHASE_AUTHORIZE,
    KB_PHASE_DIAL,
    KB_PHASE_TOTAL,
    KB_PHASES
};

void kb_count_phase(enum kb_phase phase, uint64_t us);
/* The link's result as the client sees it: kerbside_link_results_total. */
void kb_count_linked(void);
void kb_count_refused(enum kb_reason reason);
void kb_count_dial_failed(const char *source, enum kb_reason reason);
void kb_count_client_rtt(uint32_t us);

/* Per channel type, counted by the relay. */
struct kb_series *kb_relay_bytes(unsigned channel_type, enum kb_direction d);
struct kb_series *kb_relay_messages(unsigned channel_type, enum kb_direction d);
void kb_count_channel_opened(unsigned channel_type);
void kb_count_channel_closed(unsigned channel_type);
void kb_count_verdict(unsigned channel_type, enum kb_direction d, const char *rule,
                      const char *action);
void kb_count_sessions(int change);

#endif
