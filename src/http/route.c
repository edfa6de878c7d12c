/* ONE table of all routes, and what happens before a handler runs. HTTP threads; the search is
 * pure. */
#include "http/route.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/auth.h"
#include "http/server.h"

#include <stdio.h>

#define WEB (KB_DOOR_WEB | KB_DOOR_ADMIN)
#define ALL (KB_DOOR_WEB | KB_DOOR_ADMIN | KB_DOOR_METRICS)
#define MAY(action) (1u << KB_MAY_##action)

_Static_assert(KB_ACTIONS <= 32, "a route's actions are bits of an unsigned");

const struct kb_route kb_routes[] = {
    {"GET", "/", WEB, true, 0, kb_page_root},
    {"GET", "/web/{file}", WEB, true, 0, kb_page_file},
    {"GET", "/healthz", ALL, true, 0, kb_api_healthz},
    {"GET", "/readyz", ALL, true, 0, kb_api_readyz},
    {"GET", "/metrics", KB_DOOR_METRICS | KB_DOOR_ADMIN, true, 0, kb_api_metrics},
    {"GET", "/vv/{token}.vv", WEB, true, 0, kb_api_exchange},
    {"POST", "/vv/{token}.vv", WEB, true, 0, kb_api_exchange},

    {"GET", "/console/proxy/{source}/{uuid}/console.vv", WEB, false, MAY(OPEN_CONSOLE),
     kb_api_console_proxy},
    {"GET", "/console/direct/{source}/{uuid}/console.vv", WEB, false, MAY(OPEN_DIRECT),
     kb_api_console_direct},
    {"GET", "/nova/{source}/console.vv", WEB, true, 0, kb_api_nova_exchange_own},
    {"GET", "/nova-console.vv", WEB, true, 0, kb_api_nova_exchange},
    {"GET", "/sf-console.vv", WEB, true, 0, kb_api_sf_exchange},

    {"GET", "/api/v1/openapi.json", WEB, true, 0, kb_api_openapi},
    {"POST", "/api/v1/login", WEB, true, 0, kb_api_login},
    {"DELETE", "/api/v1/login", WEB, false, 0, kb_api_logout},
    {"GET", "/api/v1/login/methods", WEB, true, 0, kb_api_login_methods},
    {"GET", "/api/v1/login/oidc", WEB, true, 0, kb_api_oidc},
    {"GET", "/api/v1/login/oidc/callback", WEB, true, 0, kb_api_oidc_callback},
    {"GET", "/api/v1/logins", WEB, false, 0, kb_api_logins},
    {"DELETE", "/api/v1/logins", WEB, false, 0, kb_api_logins_end},
    {"DELETE", "/api/v1/logins/{id}", WEB, false, 0, kb_api_login_end},
    {"GET", "/api/v1/me", WEB, false, 0, kb_api_me},
    {"GET", "/api/v1/status", WEB, false, MAY(LIST_SESSIONS), kb_api_status},

    {"GET", "/api/v1/sources", WEB, false, MAY(LIST_SOURCES), kb_api_sources},
    {"GET", "/api/v1/sources/{source}", WEB, false, MAY(LIST_SOURCES), kb_api_source},
    {"POST", "/api/v1/sources/{source}/refresh", WEB, false, MAY(LIST_SOURCES),
     kb_api_source_refresh},
    {"POST", "/api/v1/sources/{source}/check", WEB, false, MAY(LIST_SOURCES), kb_api_source_check},

    {"PUT", "/api/v1/sources/{source}/machines/{name}", WEB, false, MAY(REGISTER),
     kb_api_machine_register},
    {"DELETE", "/api/v1/sources/{source}/machines/{name}", WEB, false, MAY(REGISTER),
     kb_api_machine_deregister},

    {"GET", "/api/v1/consoles", WEB, false, MAY(LIST_CONSOLES), kb_api_consoles},
    {"GET", "/api/v1/consoles/{source}/{uuid}", WEB, false, MAY(LIST_CONSOLES), kb_api_console},
    {"GET", "/api/v1/consoles/{source}/{uuid}/diagnosis", WEB, false, MAY(LIST_SESSIONS),
     kb_api_diagnosis},
    {"GET", "/api/v1/consoles/{source}/{uuid}/policy", WEB, false, MAY(LIST_SESSIONS),
     kb_api_console_policy},
    {"POST", "/api/v1/consoles/{source}/{uuid}/grants", WEB, false,
     MAY(OPEN_CONSOLE) | MAY(GRANT_FOR_OTHERS), kb_api_grant_create},
    {"POST", "/api/v1/consoles/{source}/{uuid}/terminate", WEB, false, MAY(END_SESSION),
     kb_api_console_terminate},

    {"GET", "/api/v1/policies", WEB, false, MAY(LIST_SESSIONS), kb_api_policies},

    {"GET", "/api/v1/grants", WEB, false, MAY(LIST_GRANTS) | MAY(GRANT_FOR_OTHERS), kb_api_grants},
    {"DELETE", "/api/v1/grants/{id}", WEB, false, MAY(LIST_GRANTS) | MAY(GRANT_FOR_OTHERS),
     kb_api_grant_revoke},

    {"GET", "/api/v1/sessions", WEB, false, MAY(LIST_SESSIONS), kb_api_sessions},
    {"POST", "/api/v1/sessions/terminate", WEB, false, MAY(END_SESSION), kb_api_sessions_terminate},
    {"GET", "/api/v1/sessions/{id}", WEB, false, MAY(LIST_SESSIONS), kb_api_session},
    {"POST", "/api/v1/sessions/{id}/terminate", WEB, false, MAY(END_SESSION),
     kb_api_session_terminate},

    {"GET", "/api/v1/audit", WEB, false, MAY(READ_AUDIT), kb_api_audit},

    {"GET", "/api/v1/users", WEB, false, MAY(MANAGE_USERS), kb_api_users},
    {"POST", "/api/v1/users", WEB, false, MAY(MANAGE_USERS), kb_api_user_add},
    {"PATCH", "/api/v1/users/{name}", WEB, false, MAY(MANAGE_USERS), kb_api_user_change},
    {"DELETE", "/api/v1/users/{name}", WEB, false, MAY(MANAGE_USERS), kb_api_user_remove},
    {"POST", "/api/v1/users/{name}/password", WEB, false, MAY(MANAGE_USERS), kb_api_user_password},
    {"GET", "/api/v1/apikeys", WEB, false, MAY(MANAGE_USERS), kb_api_apikeys},
    {"POST", "/api/v1/apikeys", WEB, false, MAY(MANAGE_USERS), kb_api_apikey_create},
    {"DELETE", "/api/v1/apikeys/{id}", WEB, false, MAY(MANAGE_USERS), kb_api_apikey_revoke},
};

const size_t kb_route_count = sizeof kb_routes / sizeof *kb_routes;

static void add_method(char *allow, size_t size, const char *method)
{
    size_t len = strlen(allow);
    snprintf(allow + len, size - len, "%s%s", len ? ", " : "", method);
}

const struct kb_route *kb_route_find(const char *method, struct kb_http_target *t,
                                     enum kb_http_door door, const char *params[KB_TARGET_PARAMS],
                                     char *allow, size_t allow_size)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    const char *matched = NULL; /* a target is matched with one pattern once */
    allow[0] = '\0';
    for (size_t i = 0; i < kb_route_count; i++) {
        const struct kb_route *route = &kb_routes[i];
        if (!(route->doors & door))
            continue;
        if (!matched && kb_http_target_match(t, route->pattern, params))
            matched = route->pattern;
        if (!matched || strcmp(matched, route->pattern) != 0)
            continue;
        if (strcmp(route->method, wanted) == 0)
            return route;
        add_method(allow, allow_size, route->method);
        if (strcmp(route->method, "GET") == 0)
            add_method(allow, allow_size, "HEAD");
    }
    return NULL;
}

static bool is_allowed(const struct kb_request *r)
{
    if (r->route->any_of == 0)
        return true;
    for (unsigned a = 0; a < KB_ACTIONS; a++)
        if ((r->route->any_of & 1u << a) && kb_request_may(r, (enum kb_action)a))
            return true;
    return false;
}

/* False: answered. The log has one line for many, since who asks too much would fill it too. */
static bool at_a_pace(struct kb_request *r, const char *kind, const char *who)
{
    int64_t now = (int64_t)kb_clock_us();
    int64_t wait = kb_limit_pace(&r->http->requests, kind, who, now);
    if (wait == 0)
        return true;
    if (kb_limit_pace(&r->http->request_log, kind, who, now) == 0)
        kb_log(KB_LOG_WARNING, "http.limited", KB_STR("request_id", r->id), KB_STR("by", kind),
               KB_STR("actor", *r->asker.actor ? r->asker.actor : NULL),
               KB_STR("client_address", r->client_address));
    kb_reply_header(r, "Retry-After", "%d", (int)((wait + 999) / 1000));
    kb_reply_error(r, 429, "too_many_requests",
                   "too many requests from this %s; limits.http_requests says how many are served",
                   kind);
    return false;
}

/* Who watches the daemon must hear from it whatever else comes from his address. */
static bool is_limited(const struct kb_request *r)
{
    return r->door == KB_DOOR_WEB &&
           !(r->route && (r->route->handle == kb_api_healthz || r->route->handle == kb_api_readyz));
}

static bool address_at_a_pace(struct kb_request *r)
{
    char group[64];
    kb_address_group(r->client_address, group);
    return at_a_pace(r, "address", group);
}

/* All logins of a user are one, else he would only have to log in again. */
static bool asker_at_a_pace(struct kb_request *r)
{
    return r->asker.via == KB_VIA_APIKEY ? at_a_pace(r, "API key", r->asker.key_row.id)
                                         : at_a_pace(r, "user", r->asker.actor);
}

void kb_route_request(struct kb_request *r)
{
    char allow[64];
    r->route = kb_route_find(r->method, &r->target, r->door, r->params, allow, sizeof allow);
    if (is_limited(r) && !address_at_a_pace(r))
        return;
    if (!r->route && !*allow) {
        kb_reply_error(r, 404, "not_found", "there is nothing at this path");
        return;
    }
    if (!r->route) {
        kb_reply_header(r, "Allow", "%s", allow);
        kb_reply_error(r, 405, "method_not_allowed", "this path knows %s alone", allow);
        return;
    }
    if (!r->route->open) {
        if (!kb_auth_request(r) || (is_limited(r) && !asker_at_a_pace(r)))
            return;
        if (!is_allowed(r)) {
            kb_reply_error(r, 403, "forbidden", "the role %s may not do this",
                           kb_role_name(r->asker.role));
            return;
        }
    }
    r->route->handle(r);
}
