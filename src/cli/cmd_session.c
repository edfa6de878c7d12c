/* session list, show, terminate. Main thread. */
#include "cli/client.h"
#include "cli/table.h"

#include <stdio.h>

int kb_cmd_session_list(const struct kb_cli_options *o)
{
    static const struct kb_column columns[] = {
        {"ID", "id", KB_CELL_TEXT, false},
        {"USER", "user", KB_CELL_TEXT, true},
        {"CONSOLE", "console", KB_CELL_TEXT, true},
        {"SOURCE", "source", KB_CELL_TEXT, true},
        {"CLIENT", "client_address", KB_CELL_TEXT, false},
        {"STARTED", "started_at", KB_CELL_TIME, false},
        {"CHANNELS", "channels", KB_CELL_COUNT, false},
        {"FROM CLIENT", "bytes_from_client", KB_CELL_BYTES, false},
        {"FROM SERVER", "bytes_from_server", KB_CELL_BYTES, false},
    };
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    char *path = kb_client_path("/api/v1/sessions");
    kb_client_add_query(&path, "q", o->query);
    json_auto_t *items = NULL;
    status = kb_client_list(c, path, 0, &items);
    if (status == KB_EXIT_DONE)
        kb_table_print(columns, sizeof columns / sizeof *columns, items, o->json);
    free(path);
    kb_client_destroy(c);
    return status;
}

static void print_session(const json_t *session, bool json)
{
    static const struct kb_column columns[] = {
        {"id", "id", KB_CELL_TEXT, false},
        {"user", "user", KB_CELL_TEXT, false},
        {"console", "console", KB_CELL_TEXT, false},
        {"source", "source", KB_CELL_TEXT, false},
        {"uuid", "uuid", KB_CELL_TEXT, false},
        {"client", "client_address", KB_CELL_TEXT, false},
        {"hypervisor", "hypervisor", KB_CELL_TEXT, false},
        {"policy", "policy", KB_CELL_TEXT, false},
        {"grant", "grant_id", KB_CELL_TEXT, false},
        {"started", "started_at", KB_CELL_TIME, false},
        {"from client", "bytes_from_client", KB_CELL_BYTES, false},
        {"from server", "bytes_from_server", KB_CELL_BYTES, false},
    };
    static const struct kb_column channel_columns[] = {
        {"CHANNEL", "channel", KB_CELL_TEXT, false},
        {"OPENED", "opened_at", KB_CELL_TIME, false},
        {"FROM CLIENT", "bytes_from_client", KB_CELL_BYTES, false},
        {"PER S", "rate_from_client", KB_CELL_BYTES, false},
        {"FROM SERVER", "bytes_from_server", KB_CELL_BYTES, false},
        {"PER S", "rate_from_server", KB_CELL_BYTES, false},
        {"RTT US", "client_rtt_us", KB_CELL_PORT, false},
    };
    kb_table_print_object(columns, sizeof columns / sizeof *columns, session, json);
    if (json)
        return;
    putchar('\n');
    kb_table_print(channel_columns, sizeof channel_columns / sizeof *channel_columns,
                   json_object_get(session, "channels"), false);
}

int kb_cmd_session_show(const struct kb_cli_options *o)
{
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    kb_auto_free char *path = kb_client_path("/api/v1/sessions/%s", o->args[0]);
    json_auto_t *answer = NULL;
    status = kb_client_call(c, "GET", path, NULL, &answer);
    if (status == KB_EXIT_DONE)
        print_session(answer, o->json);
    kb_client_destroy(c);
    return status;
}

static json_t *terminate_body(const struct kb_cli_options *o)
{
    json_t *body = json_object();
    const struct {
        const char *key, *value;
    } texts[] = {{"user", o->user},
                 {"grant_id", o->grant},
                 {"source", o->source},
                 {"uuid", o->console},
                 {"reason", o->reason}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].value)
            json_object_set_new(body, texts[i].key, json_string(texts[i].value));
    return body;
}

int kb_cmd_session_terminate(const struct kb_cli_options *o)
{
    bool others = o->user || o->grant || o->source || o->console;
    if ((o->arg_count == 1) == others || (o->console && !o->source)) {
        fprintf(stderr, "kerbside: say which: an ID; or --user, --grant, --source, or --source "
                        "with --console\n");
        return KB_EXIT_USAGE;
    }
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    kb_auto_free char *path = others ? kb_client_path("/api/v1/sessions/terminate")
                                     : kb_client_path("/api/v1/sessions/%s/terminate", o->args[0]);
    json_auto_t *answer = NULL;
    status = kb_client_call(c, "POST", path, terminate_body(o), &answer);
    if (status == KB_EXIT_DONE && o->json)
        kb_table_print_object(NULL, 0, answer, true);
    else if (status == KB_EXIT_DONE && others)
        printf("%lld ended\n",
               (long long)json_integer_value(json_object_get(answer, "terminated")));
    kb_client_destroy(c);
    return status;
}
