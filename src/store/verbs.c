/* The table of verbs: their names in metrics, which thread runs them, and how to take back what
 * came out when the transaction that it came from could not be committed. */
#include "store/backend.h"

static void discard_create_grant(struct kb_store_call *call)
{
    kb_grant_row_finish(&((struct kb_store_create_grant *)call)->row);
}

static void discard_exchange_grant(struct kb_store_call *call)
{
    struct kb_store_exchange_grant *c = (struct kb_store_exchange_grant *)call;
    c->reason = KB_REASON_STORE_FAILED;
    kb_grant_row_finish(&c->row);
    kb_console_row_finish(&c->console);
}

static void discard_redeem_grant(struct kb_store_call *call)
{
    struct kb_store_redeem_grant *c = (struct kb_store_redeem_grant *)call;
    c->reason = KB_REASON_STORE_FAILED;
    c->session = (struct kb_session_row){0};
}

static void discard_explain_token(struct kb_store_call *call)
{
    struct kb_store_explain_token *c = (struct kb_store_explain_token *)call;
    c->reason = KB_REASON_STORE_FAILED;
    c->grant_id[0] = '\0';
}

static void discard_list_consoles(struct kb_store_call *call)
{
    kb_store_list_consoles_finish((struct kb_store_list_consoles *)call);
}

static void discard_get_console(struct kb_store_call *call)
{
    kb_console_row_finish(&((struct kb_store_get_console *)call)->row);
}

static void discard_list_grants(struct kb_store_call *call)
{
    kb_store_list_grants_finish((struct kb_store_list_grants *)call);
}

static void discard_get_session(struct kb_store_call *call)
{
    kb_session_record_finish(&((struct kb_store_get_session *)call)->record);
}

static void discard_list_audit(struct kb_store_call *call)
{
    kb_store_list_audit_finish((struct kb_store_list_audit *)call);
}

static void discard_find_user(struct kb_store_call *call)
{
    kb_user_row_finish(&((struct kb_store_find_user *)call)->row);
}

static void discard_list_users(struct kb_store_call *call)
{
    kb_store_list_users_finish((struct kb_store_list_users *)call);
}

static void discard_find_apikey(struct kb_store_call *call)
{
    kb_apikey_row_finish(&((struct kb_store_find_apikey *)call)->row);
}

static void discard_list_apikeys(struct kb_store_call *call)
{
    kb_store_list_apikeys_finish((struct kb_store_list_apikeys *)call);
}

static void discard_find_login(struct kb_store_call *call)
{
    kb_login_row_finish(&((struct kb_store_find_login *)call)->row);
}

static void discard_list_logins(struct kb_store_call *call)
{
    kb_store_list_logins_finish((struct kb_store_list_logins *)call);
}

static const struct kb_verb verbs[KB_STORE_VERBS] = {
    [KB_STORE_RECOVER] = {"recover", false, NULL},
    [KB_STORE_PING] = {"ping", false, NULL},
    [KB_STORE_SYNC_CONSOLES] = {"sync_consoles", false, NULL},
    [KB_STORE_RETAIN_SOURCES] = {"retain_sources", false, NULL},
    [KB_STORE_LIST_CONSOLES] = {"list_consoles", true, discard_list_consoles},
    [KB_STORE_GET_CONSOLE] = {"get_console", true, discard_get_console},
    [KB_STORE_CREATE_GRANT] = {"create_grant", false, discard_create_grant},
    [KB_STORE_EXCHANGE_GRANT] = {"exchange_grant", false, discard_exchange_grant},
    [KB_STORE_REDEEM_GRANT] = {"redeem_grant", false, discard_redeem_grant},
    [KB_STORE_EXPLAIN_TOKEN] = {"explain_token", false, discard_explain_token},
    [KB_STORE_LIST_GRANTS] = {"list_grants", true, discard_list_grants},
    [KB_STORE_REVOKE_GRANT] = {"revoke_grant", false, NULL},
    [KB_STORE_END_SESSION] = {"end_session", false, NULL},
    [KB_STORE_GET_SESSION] = {"get_session", true, discard_get_session},
    [KB_STORE_APPEND_AUDIT] = {"append_audit", false, NULL},
    [KB_STORE_LIST_AUDIT] = {"list_audit", true, discard_list_audit},
    [KB_STORE_PUT_USER] = {"put_user", false, NULL},
    [KB_STORE_FIND_USER] = {"find_user", true, discard_find_user},
    [KB_STORE_LIST_USERS] = {"list_users", true, discard_list_users},
    [KB_STORE_REMOVE_USER] = {"remove_user", false, NULL},
    [KB_STORE_CREATE_APIKEY] = {"create_apikey", false, NULL},
    [KB_STORE_FIND_APIKEY] = {"find_apikey", true, discard_find_apikey},
    [KB_STORE_LIST_APIKEYS] = {"list_apikeys", true, discard_list_apikeys},
    [KB_STORE_REVOKE_APIKEY] = {"revoke_apikey", false, NULL},
    [KB_STORE_CREATE_LOGIN] = {"create_login", false, NULL},
    [KB_STORE_FIND_LOGIN] = {"find_login", true, discard_find_login},
    [KB_STORE_END_LOGIN] = {"end_login", false, NULL},
    [KB_STORE_LIST_LOGINS] = {"list_logins", true, discard_list_logins},
    [KB_STORE_END_LOGINS] = {"end_logins", false, NULL},
    [KB_STORE_SPEND_ID] = {"spend_id", false, NULL},
};

const struct kb_verb *kb_verb(enum kb_store_verb v)
{
    return &verbs[v];
}
