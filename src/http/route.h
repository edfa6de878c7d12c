/* The table of routes and the way from a request to its handler: find, ask who, ask whether, call.
 */
#ifndef KB_HTTP_ROUTE_H
#define KB_HTTP_ROUTE_H

#include "http/request.h"

struct kb_route {
    const char *method;
    const char *pattern; /* also the label of kerbside_http_requests_total */
    unsigned doors;      /* bits of kb_http_door */
    bool open;           /* for anyone; nobody is asked who he is */
    unsigned any_of;     /* bits 1 << kb_action, one of which the role needs; 0: to be logged in */
    void (*handle)(struct kb_request *r);
};

extern const struct kb_route kb_routes[];
extern const size_t kb_route_count;

/* Answers the request, whatever it is. */
void kb_route_request(struct kb_request *r);
/* Pure: the route for method and target at a door; NULL with the methods that there are for the
 * path in allow ("GET, HEAD, POST"), "" if there is no such path. */
const struct kb_route *kb_route_find(const char *method, struct kb_http_target *t,
                                     enum kb_http_door door, const char *params[KB_TARGET_PARAMS],
                                     char *allow, size_t allow_size);

/* handlers, by file */
/* api_login.c */
void kb_api_login(struct kb_request *r);
void kb_api_logout(struct kb_request *r);
void kb_api_me(struct kb_request *r);
void kb_api_login_methods(struct kb_request *r);
/* api_oidc.c */
void kb_api_oidc(struct kb_request *r);
void kb_api_oidc_callback(struct kb_request *r);
/* api_logins.c */
void kb_api_logins(struct kb_request *r);
void kb_api_logins_end(struct kb_request *r);
void kb_api_login_end(struct kb_request *r);
/* api_sources.c */
void kb_api_sources(struct kb_request *r);
void kb_api_source(struct kb_request *r);
void kb_api_source_refresh(struct kb_request *r);
void kb_api_source_check(struct kb_request *r);
void kb_api_machine_register(struct kb_request *r);
void kb_api_machine_deregister(struct kb_request *r);
/* api_consoles.c */
void kb_api_consoles(struct kb_request *r);
void kb_api_console(struct kb_request *r);
/* api_diagnosis.c */
void kb_api_diagnosis(struct kb_request *r);
/* api_policies.c */
void kb_api_policies(struct kb_request *r);
void kb_api_console_policy(struct kb_request *r);
/* api_direct.c */
void kb_api_console_direct(struct kb_request *r);
/* api_exchange.c */
void kb_api_nova_exchange_own(struct kb_request *r);
void kb_api_nova_exchange(struct kb_request *r);
void kb_api_sf_exchange(struct kb_request *r);
/* api_grants.c */
void kb_api_console_proxy(struct kb_request *r);
void kb_api_grant_create(struct kb_request *r);
void kb_api_grants(struct kb_request *r);
void kb_api_grant_revoke(struct kb_request *r);
/* exchange.c */
void kb_api_exchange(struct kb_request *r);
/* api_sessions.c */
void kb_api_sessions(struct kb_request *r);
void kb_api_session(struct kb_request *r);
void kb_api_session_terminate(struct kb_request *r);
void kb_api_sessions_terminate(struct kb_request *r);
void kb_api_console_terminate(struct kb_request *r);
/* api_audit.c */
void kb_api_audit(struct kb_request *r);
/* api_users.c, api_apikeys.c */
void kb_api_users(struct kb_request *r);
void kb_api_user_add(struct kb_request *r);
void kb_api_user_change(struct kb_request *r);
void kb_api_user_remove(struct kb_request *r);
void kb_api_user_password(struct kb_request *r);
void kb_api_apikeys(struct kb_request *r);
void kb_api_apikey_create(struct kb_request *r);
void kb_api_apikey_revoke(struct kb_request *r);
/* health.c */
void kb_api_healthz(struct kb_request *r);
void kb_api_readyz(struct kb_request *r);
void kb_api_metrics(struct kb_request *r);
void kb_api_status(struct kb_request *r);
/* openapi.c */
void kb_api_openapi(struct kb_request *r);
/* static.c */
void kb_page_root(struct kb_request *r);
void kb_page_file(struct kb_request *r);

#endif
