/* Sends a client back to us when its desktop has moved, and knows the session again when it comes,
 * see switch.h. The loop's thread. */
#include "proxy/switch.h"

#include "base/clock.h"
#include "base/mem.h"
#include "proxy/migrate.h"
#include "proxy/reach.h"
#include "proxy/session_state.h"

#include <spice/enums.h>
#include <string.h>
#include <utlist.h>

enum kb_reason kb_switch_begin(struct kb_session *s, const struct kb_migration_place *place)
{
    kb_auto(kb_buf_finish) struct kb_buf body = {0};
    kb_proxy_way_back(s->shard->proxy, &body);
    if (!body.len || !s->main || s->switching_us)
        return KB_REASON_MIGRATED;
    kb_migrate_drop(s);
    s->switching_us = kb_clock_us();
    s->place = *place;
    s->linked = false; /* nobody joins any more */
    kb_copy_str(s->switch_address, sizeof s->switch_address, s->main->client_address);
    kb_channel_say(s->main, KB_FROM_SERVER, SPICE_MSG_MAIN_MIGRATE_SWITCH_HOST, kb_buf_span(&body));
    return KB_REASON_NONE;
}

struct kb_session *kb_switch_find(struct kb_shard *shard, const struct kb_hash *token_hash,
                                  const char *client_address)
{
    struct kb_session *s, *found = NULL;
    DL_FOREACH2(shard->by_token[token_hash->bytes[0] % KB_TOKEN_BUCKETS], s, token_next)
    if (s->switching_us && !s->ending && kb_hash_equal(&s->token_hash, token_hash) &&
        strcmp(s->switch_address, client_address) == 0)
        found = s;
    return found;
}

void kb_switch_arrive(struct kb_session *s, struct kb_channel *ch)
{
    while (s->channels)
        kb_channel_close(s->channels, KB_REASON_MIGRATED, NULL);
    s->switching_us = 0;
    s->left = s->target;
    s->target = NULL;
    kb_session_add(s, ch);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool kb_switch_is_left(const struct kb_session *s, const struct kb_target *t)
{
    const struct kb_target *left = s->left;
    return left && left->transport == t->transport && same_text(left->host, t->host) &&
           same_text(left->unix_socket, t->unix_socket) && left->port == t->port &&
           left->tls_port == t->tls_port && t->transport != KB_TRANSPORT_SOURCE;
}

void kb_switch_done(struct kb_session *s)
{
    if (!s->left)
        return;
    kb_switch_tell(s, s->left, "switch");
    kb_target_unref(s->left);
    s->left = NULL;
}

void kb_switch_tick(struct kb_session *s, uint64_t now_us)
{
    if (s->switching_us && now_us - s->switching_us > KB_SWITCH_MAX_US)
        kb_session_end(s, KB_REASON_MIGRATED, "the client did not come back");
}

void kb_switch_fill(struct kb_source_move *ask, const struct kb_session *s,
                    const struct kb_migration_place *place, struct kb_target *from)
{
    kb_copy_str(ask->source, sizeof ask->source, s->row.source);
    kb_copy_str(ask->uuid, sizeof ask->uuid, s->row.uuid);
    kb_copy_str(ask->host, sizeof ask->host, place->host);
    ask->port = place->port;
    ask->tls_port = place->tls_port;
    ask->from = kb_target_ref(from);
    ask->reply_to = &s->shard->loop->box;
}

void kb_switch_tell(struct kb_session *s, const struct kb_target *from, const char *how)
{
    kb_auto(kb_buf_finish) struct kb_buf text = {0};
    kb_buf_add_str(&text, "from ");
    kb_reach_describe(from, &text);
    kb_buf_add_str(&text, " to ");
    kb_reach_describe(s->target, &text);
    kb_buf_printf(&text, ", %s", how);
    kb_buf_add(&text, "", 1);
    kb_migrate_audit(s, "session.migrated", KB_REASON_NONE, (const char *)text.data);
}
