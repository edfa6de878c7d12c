/* user add, list, passwd, role, remove; apikey create, list, revoke. Main thread. */
#include "cli/password.h"
#include "cli/show.h"

#include <stdio.h>
#include <string.h>

/* One call without an answer worth showing. Takes body over. */
static int call(const struct kb_cli_options *o, const char *method, const char *path, json_t *body)
{
    json_auto_t *answer = NULL;
    int status = kb_show_ask(o, method, path, body, &answer);
    if (status == KB_EXIT_DONE && o->json && answer)
        kb_show_json(answer);
    return status;
}

static int need_role(const struct kb_cli_options *o)
{
    if (o->role)
        return KB_EXIT_DONE;
    fprintf(stderr, "kerbside: --role is needed: admin, operator, auditor, broker or user\n");
    return KB_EXIT_USAGE;
}

int kb_cmd_user_add(const struct kb_cli_options *o)
{
    kb_auto(kb_secret_finish) struct kb_secret password = {0};
    if (need_role(o) != KB_EXIT_DONE || !kb_password_ask(o->password_stdin, &password))
        return KB_EXIT_USAGE;
    return call(o, "POST", "/api/v1/users",
                json_pack("{s:s, s:s, s:s}", "name", o->args[0], "role", o->role, "password",
                          kb_secret_text(&password)));
}

int kb_cmd_user_passwd(const struct kb_cli_options *o)
{
    kb_auto(kb_secret_finish) struct kb_secret password = {0};
    if (!kb_password_ask(o->password_stdin, &password))
        return KB_EXIT_USAGE;
    kb_auto_free char *path = kb_client_path("/api/v1/users/%s/password", o->args[0]);
    return call(o, "POST", path, json_pack("{s:s}", "password", kb_secret_text(&password)));
}

int kb_cmd_user_role(const struct kb_cli_options *o)
{
    kb_auto_free char *path = kb_client_path("/api/v1/users/%s", o->args[0]);
    return call(o, "PATCH", path, json_pack("{s:s}", "role", o->args[1]));
}

int kb_cmd_user_remove(const struct kb_cli_options *o)
{
    kb_auto_free char *path = kb_client_path("/api/v1/users/%s", o->args[0]);
    return call(o, "DELETE", path, NULL);
}

int kb_cmd_user_list(const struct kb_cli_options *o)
{
    static const struct kb_column columns[] = {
        {"NAME", "name", KB_CELL_TEXT, true, 0},
        {"ROLE", "role", KB_CELL_TEXT, false, 0},
        {"CREATED", "created_at", KB_CELL_TIME, false, 0},
    };
    return kb_show_list(o, "/api/v1/users", KB_COLUMNS(columns));
}

/* "a,b" as ["a", "b"]; nothing when it was not given. */
static void set_list(json_t *body, const char *field, const char *text)
{
    if (!text)
        return;
    json_t *list = json_array();
    for (size_t len; (len = strcspn(text, ",")) > 0 || *text; text += len + (text[len] == ','))
        if (len > 0)
            json_array_append_new(list, json_stringn(text, len));
    json_object_set_new(body, field, list);
}

int kb_cmd_apikey_create(const struct kb_cli_options *o)
{
    if (need_role(o) != KB_EXIT_DONE)
        return KB_EXIT_USAGE;
    json_t *body = json_pack("{s:s, s:s}", "name", o->args[0], "role", o->role);
    if (o->expires_in)
        json_object_set_new(body, "expires_in", json_string(o->expires_in));
    set_list(body, "cidrs", o->cidr);
    set_list(body, "sources", o->source);
    set_list(body, "consoles", o->console);
    json_auto_t *answer = NULL;
    int status = kb_show_ask(o, "POST", "/api/v1/apikeys", body, &answer);
    if (status == KB_EXIT_DONE && o->json)
        kb_show_json(answer);
    else if (status == KB_EXIT_DONE)
        puts(json_string_value(json_object_get(answer, "key"))); /* alone, for scripts */
    return status;
}

int kb_cmd_apikey_list(const struct kb_cli_options *o)
{
    static const struct kb_column columns[] = {
        {"ID", "id", KB_CELL_TEXT, false, 0},
        {"NAME", "name", KB_CELL_TEXT, true, 0},
        {"ROLE", "role", KB_CELL_TEXT, false, 0},
        {"CREATED", "created_at", KB_CELL_TIME, false, 2},
        {"BY", "created_by", KB_CELL_TEXT, true, 3},
        {"EXPIRES", "expires_at", KB_CELL_TIME, false, 1},
        {"REVOKED", "revoked_at", KB_CELL_TIME, false, 0},
    };
    return kb_show_list(o, "/api/v1/apikeys", KB_COLUMNS(columns));
}

int kb_cmd_apikey_revoke(const struct kb_cli_options *o)
{
    kb_auto_free char *path = kb_client_path("/api/v1/apikeys/%s", o->args[0]);
    return call(o, "DELETE", path, NULL);
}
