/* Audit events as log lines. Any thread; the rows are the store thread's business. */
#include "store/backend.h"

#include "base/log.h"

#include <string.h>

static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

/* What somebody should look at is a warning: it failed, was refused or was blocked. */
static enum kb_log_level level_of(const char *event)
{
    static const char *const bad[] = {"login.failed",  "login.limited",   "apikey.refused",
                                      "grant.denied",  "channel.refused", "policy.blocked",
                                      "source.failed", "config.rejected"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (strcmp(event, bad[i]) == 0)
            return KB_LOG_WARNING;
    return KB_LOG_INFO;
}

void kb_store_log_event(const struct kb_audit_event *e)
{
    const struct kb_field fields[] = {
        KB_STR("node", or_null(e->node)),
        KB_STR("request_id", or_null(e->request_id)),
        KB_STR("session_id", or_null(e->session_id)),
        KB_STR("grant_id", or_null(e->grant_id)),
        KB_STR("actor", or_null(e->actor)),
        KB_STR("user", or_null(e->user)),
        KB_STR("client_address", or_null(e->client_address)),
        KB_STR("source", or_null(e->source)),
        KB_STR("console", or_null(e->console)),
        KB_STR("console_name", or_null(e->console_name)),
        KB_STR("channel", or_null(e->channel)),
        KB_STR("reason", or_null(e->reason)),
        KB_STR("detail", or_null(e->detail)),
        KB_UINT("count", e->count ? e->count : 1),
        /* A key of NULL ends the list. */
        KB_UINT(e->has_bytes ? "bytes_from_client" : NULL, e->bytes_from_client),
        KB_UINT("bytes_from_server", e->bytes_from_server),
        KB_INT("duration_ms", e->duration),
        {0},
    };
    kb_log_fields(level_of(e->event), e->event, fields);
}
