/* Whether the daemon lives, whether it can work, and how it is: /healthz, /readyz, /metrics and the
 * status that the command line shows. HTTP threads. */
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/route.h"
#include "http/server.h"

static struct kb_family log_dropped = {
    .name = "kerbside_log_lines_dropped_total",
    .help = "Log lines that the writer could not keep up with.",
    .kind = KB_COUNTER,
};

void kb_api_healthz(struct kb_request *r)
{
    kb_reply_text(r, 200, "text/plain; charset=utf-8", "ok\n");
}

static bool store_is_good(struct kb_request *r)
{
    struct kb_store_ping c = {.call.verb = KB_STORE_PING};
    return kb_store_run(r->store, &c.call) == KB_STORE_OK;
}

struct sources_state {
    size_t all, loaded, consoles;
};

static struct sources_state sources_state(struct kb_request *r)
{
    struct kb_source_view *views;
    struct sources_state s = {.all = kb_sources_list(r->http->sources, &views)};
    for (size_t i = 0; i < s.all; i++) {
        s.loaded += views[i].last_good != 0;
        s.consoles += views[i].consoles;
    }
    kb_source_views_free(views, s.all);
    return s;
}

void kb_api_readyz(struct kb_request *r)
{
    bool listening = atomic_load(&r->http->ready);
    bool store = store_is_good(r);
    bool sources = sources_state(r).loaded > 0;
    bool ready = listening && store && sources;
    if (!ready)
        kb_reply_header(r, "Retry-After", "1");
    kb_reply_json(r, ready ? 200 : 503,
                  json_pack("{s:b, s:{s:s, s:s, s:s}}", "ready", ready, "checks", "listeners",
                            listening ? "ok" : "starting or draining", "store",
                            store ? "ok" : "cannot be written", "sources",
                            sources ? "ok" : "none has been loaded yet"));
}

void kb_api_metrics(struct kb_request *r)
{
    kb_metric_set(kb_metric(&log_dropped, NULL, NULL, NULL, NULL), (int64_t)kb_log_dropped());
    r->status = 200;
    r->content_type = "text/plain; version=0.0.4; charset=utf-8";
    kb_metrics_render(&r->out);
}

void kb_api_status(struct kb_request *r)
{
    struct kb_session_view *views;
    size_t sessions = kb_proxy_list_sessions(r->http->proxy, NULL, &views), channels = 0;
    for (size_t i = 0; i < sessions; i++)
        channels += views[i].channel_count;
    kb_session_views_free(views, sessions);
    struct sources_state s = sources_state(r);
    int64_t uptime = (kb_clock_wall_ms() - r->http->started_at) / 1000 * 1000;
    kb_reply_json(
        r, 200,
        json_pack(
            "{s:o, s:o, s:o, s:o, s:b, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "version",
            kb_json_text(r->options->version), "node", kb_json_text(r->options->node), "started_at",
            kb_json_time(r->http->started_at), "uptime", kb_json_duration(uptime > 0 ? uptime : 0),
            "ready", (int)atomic_load(&r->http->ready), "store", store_is_good(r) ? "ok" : "failed",
            "sources", kb_json_uint(s.all), "sources_loaded", kb_json_uint(s.loaded), "consoles",
            kb_json_uint(s.consoles), "sessions", kb_json_uint(sessions), "channels",
            kb_json_uint(channels), "public_url", kb_json_text(r->options->public_url)));
}
