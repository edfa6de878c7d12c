/* The proxy's metrics: families and the series that are counted often. Any thread. */
#include "proxy/metrics.h"

#include "base/mem.h"
#include "base/metrics.h"

#include <pthread.h>
#include <stdio.h>

static struct kb_family setup_seconds = {
    .name = "kerbside_setup_seconds",
    .help = "Time that the setting up of a channel takes, by phase.",
    .kind = KB_HISTOGRAM,
    .labels = {"phase"},
};
static struct kb_family link_results = {
    .name = "kerbside_link_results_total",
    .help = "SPICE link results sent to clients, by SPICE error code.",
    .labels = {"code"},
};
static struct kb_family dial_failures = {
    .name = "kerbside_backend_dial_failures_total",
    .help = "Channels that could not be opened at the hypervisor.",
    .labels = {"source", "reason"},
};
static struct kb_family client_rtt = {
    .name = "kerbside_client_rtt_seconds",
    .help = "Round-trip time to clients of live sessions, sampled.",
    .kind = KB_HISTOGRAM,
};
static struct kb_family relay_bytes = {
    .name = "kerbside_relay_bytes_total",
    .help = "Bytes relayed, mini headers included.",
    .labels = {"channel", "direction"},
};
static struct kb_family relay_messages = {
    .name = "kerbside_relay_messages_total",
    .help = "SPICE messages relayed.",
    .labels = {"channel", "direction"},
};
static struct kb_family channels_active = {
    .name = "kerbside_channels_active",
    .help = "Channels being relayed now.",
    .kind = KB_GAUGE,
    .labels = {"channel"},
};
static struct kb_family sessions_active = {
    .name = "kerbside_sessions_active",
    .help = "Live sessions.",
    .kind = KB_GAUGE,
};
static struct kb_family verdicts = {
    .name = "kerbside_policy_verdicts_total",
    .help = "Messages that a policy did not let pass unseen.",
    .labels = {"channel", "direction", "rule", "action"},
};

static struct {
    struct kb_series *phases[KB_PHASES];
    struct kb_series *linked, *rtt, *sessions;
    struct kb_series *bytes[KB_CHANNEL_END][KB_DIRECTIONS],
        *messages[KB_CHANNEL_END][KB_DIRECTIONS];
    struct kb_series *active[KB_CHANNEL_END];
} series;

static void find_all(void)
{
    static const char *const phases[KB_PHASES] = {"tls", "link", "authorize", "dial", "total"};
    for (int i = 0; i < KB_PHASES; i++)
        series.phases[i] = kb_metric(&setup_seconds, phases[i], NULL, NULL, NULL);
    series.linked = kb_metric(&link_results, "0", NULL, NULL, NULL);
    series.rtt = kb_metric(&client_rtt, NULL, NULL, NULL, NULL);
    series.sessions = kb_metric(&sessions_active, NULL, NULL, NULL, NULL);
    for (unsigned t = KB_CHANNEL_MAIN; t < KB_CHANNEL_END; t++) {
        const char *name = kb_channel_type_name(t);
        series.active[t] = kb_metric(&channels_active, name, NULL, NULL, NULL);
        for (int d = 0; d < KB_DIRECTIONS; d++) {
            const char *way = kb_direction_name((enum kb_direction)d);
            series.bytes[t][d] = kb_metric(&relay_bytes, name, way, NULL, NULL);
            series.messages[t][d] = kb_metric(&relay_messages, name, way, NULL, NULL);
        }
    }
}

static void ensure(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_all);
}

void kb_count_phase(enum kb_phase phase, uint64_t us)
{
    ensure();
    kb_metric_observe(series.phases[phase], us);
}

void kb_count_linked(void)
{
    ensure();
    kb_metric_add(series.linked, 1);
}

void kb_count_refused(enum kb_reason reason)
{
    char code[12];
    snprintf(code, sizeof code, "%u", kb_reason_link_error(reason));
    kb_metric_add(kb_metric(&link_results, code, NULL, NULL, NULL), 1);
}

void kb_count_dial_failed(const char *source, enum kb_reason reason)
{
    kb_metric_add(kb_metric(&dial_failures, source, kb_reason_name(reason), NULL, NULL), 1);
}

void kb_count_client_rtt(uint32_t us)
{
    ensure();
    kb_metric_observe(series.rtt, us);
}

struct kb_series *kb_relay_bytes(unsigned channel_type, enum kb_direction d)
{
    ensure();
    return series.bytes[channel_type][d];
}

struct kb_series *kb_relay_messages(unsigned channel_type, enum kb_direction d)
{
    ensure();
    return series.messages[channel_type][d];
}

void kb_count_channel_opened(unsigned channel_type)
{
    ensure();
    kb_metric_add(series.active[channel_type], 1);
}

void kb_count_channel_closed(unsigned channel_type)
{
    ensure();
    kb_metric_add(series.active[channel_type], -1);
}

void kb_count_verdict(unsigned channel_type, enum kb_direction d, const char *rule,
                      const char *action)
{
    kb_metric_add(kb_metric(&verdicts, kb_channel_type_name(channel_type), kb_direction_name(d),
                            rule, action),
                  1);
}

void kb_count_sessions(int change)
{
    ensure();
    kb_metric_add(series.sessions, change);
}
