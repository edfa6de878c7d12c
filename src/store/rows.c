/* Frees what came out of the store. Any thread. */
#include "store/store.h"

void kb_console_row_finish(struct kb_console_row *r)
{
    free(r->source);
    free(r->uuid);
    free(r->name);
    free(r->hypervisor);
    free(r->hypervisor_ip);
    free(r->unix_socket);
    free(r->host_subject);
    free(r->owner);
    free(r->project);
    free(r->state);
    free(r->protocol);
    free(r->transport);
    *r = (struct kb_console_row){0};
}

void kb_grant_row_finish(struct kb_grant_row *r)
{
    free(r->source);
    free(r->uuid);
    free(r->user);
    free(r->created_by);
    free(r->client_address);
    free(r->policy);
    free(r->console_name);
    *r = (struct kb_grant_row){0};
}

void kb_user_row_finish(struct kb_user_row *r)
{
    free(r->name);
    free(r->role);
    free(r->password_hash);
    *r = (struct kb_user_row){0};
}

void kb_apikey_row_finish(struct kb_apikey_row *r)
{
    free(r->name);
    free(r->role);
    free(r->created_by);
    free(r->cidrs);
    free(r->sources);
    free(r->consoles);
    *r = (struct kb_apikey_row){0};
}

void kb_login_row_finish(struct kb_login_row *r)
{
    free(r->user);
    free(r->provider);
    free(r->client_address);
    free(r->role);
    free(r->alias);
    free(r->groups);
    *r = (struct kb_login_row){0};
}

void kb_session_record_finish(struct kb_session_record *r)
{
    free(r->channels);
    *r = (struct kb_session_record){0};
}

void kb_store_list_logins_finish(struct kb_store_list_logins *c)
{
    for (size_t i = 0; i < c->count; i++)
        kb_login_row_finish(&c->rows[i]);
    free(c->rows);
    c->rows = NULL;
    c->count = 0;
}

void kb_store_list_consoles_finish(struct kb_store_list_consoles *c)
{
    for (size_t i = 0; i < c->count; i++)
        kb_console_row_finish(&c->rows[i]);
    free(c->rows);
    free(c->next);
    c->rows = NULL;
    c->next = NULL;
    c->count = 0;
}

void kb_store_list_grants_finish(struct kb_store_list_grants *c)
{
    for (size_t i = 0; i < c->count; i++)
        kb_grant_row_finish(&c->rows[i]);
    free(c->rows);
    free(c->next);
    c->rows = NULL;
    c->next = NULL;
    c->count = 0;
}

void kb_store_list_audit_finish(struct kb_store_list_audit *c)
{
    free(c->rows);
    free(c->ids);
    free(c->next);
    c->rows = NULL;
    c->ids = NULL;
    c->next = NULL;
    c->count = 0;
}

void kb_store_list_users_finish(struct kb_store_list_users *c)
{
    for (size_t i = 0; i < c->count; i++)
        kb_user_row_finish(&c->rows[i]);
    free(c->rows);
    c->rows = NULL;
    c->count = 0;
}

void kb_store_list_apikeys_finish(struct kb_store_list_apikeys *c)
{
    for (size_t i = 0; i < c->count; i++)
        kb_apikey_row_finish(&c->rows[i]);
    free(c->rows);
    c->rows = NULL;
    c->count = 0;
}
