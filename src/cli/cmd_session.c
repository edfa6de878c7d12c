/* session list, show, terminate. Main thread. */
#include "cli/show.h"

#include <stdio.h>

int kb_cmd_session_list(const struct kb_cli_options *o)
{
    static const struct kb_column columns[] = {
        {"ID", "id", KB_CELL_TEXT, false, 0},
        {"USER", "user", KB_CELL_TEXT, true, 0},
        {"CONSOLE", "console", KB_CELL_TEXT, true, 0},
        {"SOURCE", "source", KB_CELL_TEXT, true, 5},
        {"CLIENT", "client_address", KB_CELL_TEXT, false, 1},
        {"STARTED", "started_at", KB_CELL_TIME, false, 3},
        {"CHANNELS", "channels", KB_CELL_COUNT, false, 2},
        {"FROM CLIENT", "bytes_from_client", KB_CELL_BYTES, false, 4},
        {"FROM SERVER", "bytes_from_server", KB_CELL_BYTES, false, 1},
    };
    kb_auto_free char *path = kb_client_path("/api/v1/sessions");
    kb_client_add_query(&path, "q", o->query);
    return kb_show_list(o, path, KB_COLUMNS(columns));
}

static void print_head(json_t *session)
{
    static const struct kb_column columns[] = {
        {"id", "id", KB_CELL_TEXT, false, 0},
        {"user", "user", KB_CELL_TEXT, false, 0},
        {"console", "console", KB_CELL_TEXT, false, 0},
        {"source", "source", KB_CELL_TEXT, false, 0},
        {"uuid", "uuid", KB_CELL_TEXT, false, 0},
        {"client", "client_address", KB_CELL_TEXT, false, 0},
        {"hypervisor", "hypervisor", KB_CELL_TEXT, false, 0},
        {"policy", "policy", KB_CELL_TEXT, false, 0},
        {"grant", "grant_id", KB_CELL_TEXT, false, 0},
        {"started", "started_at", KB_CELL_TIME, false, 0},
        {"ended", "ended_at", KB_CELL_TIME, false, 0},
        {"reason", "reason", KB_CELL_TEXT, false, 0},
        {"ended by", "ended_by", KB_CELL_TEXT, false, 0},
        {"because", "detail", KB_CELL_TEXT, false, 0},
        {"from client", "bytes_from_client", KB_CELL_BYTES, false, 0},
        {"from server", "bytes_from_server", KB_CELL_BYTES, false, 0},
    };
    const json_t *termination = json_object_get(session, "termination");
    json_object_set(session, "detail", json_object_get(termination, "detail"));
    kb_table_print_object(KB_COLUMNS(columns), session, false);
}

static void print_channels(const json_t *session)
{
    static const struct kb_column live_columns[] = {
        {"CHANNEL", "channel", KB_CELL_TEXT, false, 0},
        {"OPENED", "opened_at", KB_CELL_TIME, false, 1},
        {"FROM CLIENT", "bytes_from_client", KB_CELL_BYTES, false, 0},
        {"PER S", "rate_from_client", KB_CELL_BYTES, false, 0},
        {"FROM SERVER", "bytes_from_server", KB_CELL_BYTES, false, 0},
        {"PER S", "rate_from_server", KB_CELL_BYTES, false, 0},
        {"RTT US", "client_rtt_us", KB_CELL_PORT, false, 0},
    };
    static const struct kb_column closed_columns[] = {
        {"CLOSED", "channel", KB_CELL_TEXT, false, 0},
        {"AT", "closed_at", KB_CELL_TIME, false, 0},
        {"FROM CLIENT", "bytes_from_client", KB_CELL_BYTES, false, 0},
        {"FROM SERVER", "bytes_from_server", KB_CELL_BYTES, false, 0},
        {"REASON", "reason", KB_CELL_TEXT, true, 0},
    };
    const json_t *live = json_object_get(session, "channels");
    const json_t *closed = json_object_get(session, "closed_channels");
    if (json_array_size(live) > 0) {
        putchar('\n');
        kb_table_print(KB_COLUMNS(live_columns), live, false);
    }
    if (json_array_size(closed) > 0) {
        putchar('\n');
        kb_table_print(KB_COLUMNS(closed_columns), closed, false);
    }
}

int kb_cmd_session_show(const struct kb_cli_options *o)
{
    kb_auto_free char *path = kb_client_path("/api/v1/sessions/%s", o->args[0]);
    json_auto_t *answer = NULL;
    int status = kb_show_ask(o, "GET", path, NULL, &answer);
    if (status != KB_EXIT_DONE)
        return status;
    if (o->json) {
        kb_show_json(answer);
    } else {
        print_head(answer);
        print_channels(answer);
    }
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
    kb_auto_free char *path = others ? kb_client_path("/api/v1/sessions/terminate")
                                     : kb_client_path("/api/v1/sessions/%s/terminate", o->args[0]);
    json_auto_t *answer = NULL;
    int status = kb_show_ask(o, "POST", path, terminate_body(o), &answer);
    if (status == KB_EXIT_DONE && o->json)
        kb_show_json(answer);
    else if (status == KB_EXIT_DONE && others)
        printf("%lld ended\n",
               (long long)json_integer_value(json_object_get(answer, "terminated")));
    return status;
}
