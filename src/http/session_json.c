/* Builds the JSON of sessions: of live ones from copies of the proxy's, of all from what the store
 * remembers. Pure; any thread. */
#include "http/session_json.h"

#include "http/request.h"

#include <stdio.h>
#include <string.h>

/* Channel types by number, spice/enums.h of spice-protocol. */
static const char *channel_name(uint8_t type)
{
    static const char *const names[] = {NULL,        "main",     "display", "inputs",
                                        "cursor",    "playback", "record",  "tunnel",
                                        "smartcard", "usbredir", "port",    "webdav"};
    return type < sizeof names / sizeof *names && names[type] ? names[type] : "other";
}

static json_t *channel_json(const struct kb_channel_view *c)
{
    char name[32];
    snprintf(name, sizeof name, "%s:%u", channel_name(c->type), c->id);
    return json_pack(
        "{s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "channel", name, "type",
        channel_name(c->type), "id", (int)c->id, "opened_at", kb_json_time(c->opened_at),
        "bytes_from_client", kb_json_uint(c->bytes_from_client), "bytes_from_server",
        kb_json_uint(c->bytes_from_server), "messages_from_client",
        kb_json_uint(c->messages_from_client), "messages_from_server",
        kb_json_uint(c->messages_from_server), "rate_from_client",
        kb_json_uint(c->rate_from_client), "rate_from_server", kb_json_uint(c->rate_from_server),
        "client_rtt_us", c->client_rtt_us ? kb_json_uint(c->client_rtt_us) : json_null());
}

json_t *kb_session_json(const struct kb_session_view *v)
{
    json_t *channels = json_array();
    uint64_t from_client = 0, from_server = 0;
    for (size_t i = 0; i < v->channel_count; i++) {
        json_array_append_new(channels, channel_json(&v->channels[i]));
        from_client += v->channels[i].rate_from_client;
        from_server += v->channels[i].rate_from_server;
    }
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", v->id,
        "grant_id", v->grant_id, "source", kb_json_text(v->source), "uuid", kb_json_text(v->uuid),
        "console", kb_json_text(v->console_name), "user", kb_json_text(v->user), "policy",
        kb_json_text(v->policy), "client_address", kb_json_text(v->client_address), "hypervisor",
        kb_json_text(v->hypervisor), "started_at", kb_json_time(v->started_at), "bytes_from_client",
        kb_json_uint(v->bytes_from_client), "bytes_from_server", kb_json_uint(v->bytes_from_server),
        "rate_from_client", kb_json_uint(from_client), "rate_from_server",
        kb_json_uint(from_server), "channels", channels);
}

/* --- with what is remembered -------------------------------------------------------------------
 */

static json_t *closed_json(const struct kb_channel_row *c)
{
    char name[32];
    snprintf(name, sizeof name, "%s:%u", channel_name(c->type), c->id);
    return json_pack("{s:s, s:s, s:i, s:o, s:o, s:s, s:o, s:o, s:o, s:o}", "channel", name, "type",
                     channel_name(c->type), "id", (int)c->id, "opened_at",
                     kb_json_time(c->opened_at), "closed_at", kb_json_time(c->closed_at), "reason",
                     c->reason, "bytes_from_client", kb_json_uint(c->bytes_from_client),
                     "bytes_from_server", kb_json_uint(c->bytes_from_server),
                     "messages_from_client", kb_json_uint(c->messages_from_client),
                     "messages_from_server", kb_json_uint(c->messages_from_server));
}

static json_t *termination_json(const struct kb_termination_row *t)
{
    if (!t->terminated_at)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "terminated_at", kb_json_time(t->terminated_at),
                     "actor", kb_json_text(t->actor), "apikey_id", kb_json_text(t->apikey_id),
                     "request_id", kb_json_text(t->request_id), "detail", kb_json_text(t->detail));
}

static void add_record(json_t *o, const struct kb_session_record *r)
{
    json_t *closed = r ? json_array() : json_null();
    for (size_t i = 0; r && i < r->channel_count; i++)
        json_array_append_new(closed, closed_json(&r->channels[i]));
    json_object_set_new(o, "ended_at", kb_json_time(r ? r->ended_at : 0));
    json_object_set_new(o, "reason", kb_json_text(r ? r->reason : NULL));
    json_object_set_new(o, "ended_by", kb_json_text(r ? r->ended_by : NULL));
    json_object_set_new(o, "termination", r ? termination_json(&r->termination) : json_null());
    json_object_set_new(o, "closed_channels", closed);
}

json_t *kb_session_json_live(const struct kb_session_view *v, const struct kb_session_record *r)
{
    json_t *o = kb_session_json(v);
    add_record(o, r);
    return o;
}

/* Nobody counted to the end of a session that a restart found, nor of one that has none yet. */
static bool has_bytes(const struct kb_session_record *r)
{
    return r->ended_at && strcmp(r->reason, kb_reason_name(KB_REASON_NODE_RESTARTED)) != 0;
}

json_t *kb_session_json_ended(const struct kb_session_record *r)
{
    const struct kb_session_row *s = &r->session;
    json_t *o = json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:n, s:o, s:o, s:o, s:i, s:i, s:[]}", "id", s->id,
        "grant_id", s->grant_id, "source", kb_json_text(s->source), "uuid", kb_json_text(s->uuid),
        "console", kb_json_text(s->console_name), "user", kb_json_text(s->user), "policy",
        kb_json_text(s->policy), "client_address", kb_json_text(r->client_address), "hypervisor",
        "started_at", kb_json_time(s->started_at), "bytes_from_client",
        has_bytes(r) ? kb_json_uint(r->bytes_from_client) : json_null(), "bytes_from_server",
        has_bytes(r) ? kb_json_uint(r->bytes_from_server) : json_null(), "rate_from_client", 0,
        "rate_from_server", 0, "channels");
    add_record(o, r);
    return o;
}
