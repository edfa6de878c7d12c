/* status, version, source list, source refresh, source check. Main thread. */
#include "cli/show.h"

#include <stdio.h>

int kb_cmd_version(const struct kb_cli_options *o)
{
    (void)o;
    puts("kerbside " KB_VERSION);
    return KB_EXIT_DONE;
}

int kb_cmd_status(const struct kb_cli_options *o)
{
    static const struct kb_column columns[] = {
        {"version", "version", KB_CELL_TEXT, false, 0},
        {"node", "node", KB_CELL_TEXT, false, 0},
        {"up since", "started_at", KB_CELL_TIME, false, 0},
        {"uptime", "uptime", KB_CELL_TEXT, false, 0},
        {"ready", "ready", KB_CELL_TEXT, false, 0},
        {"store", "store", KB_CELL_TEXT, false, 0},
        {"sources", "sources", KB_CELL_TEXT, false, 0},
        {"sources loaded", "sources_loaded", KB_CELL_TEXT, false, 0},
        {"consoles", "consoles", KB_CELL_TEXT, false, 0},
        {"sessions", "sessions", KB_CELL_TEXT, false, 0},
        {"channels", "channels", KB_CELL_TEXT, false, 0},
        {"public url", "public_url", KB_CELL_TEXT, false, 0},
    };
    json_auto_t *answer = NULL;
    int status = kb_show_ask(o, "GET", "/api/v1/status", NULL, &answer);
    if (status == KB_EXIT_DONE)
        kb_table_print_object(KB_COLUMNS(columns), answer, o->json);
    return status;
}

static const struct kb_column source_columns[] = {
    {"SOURCE", "source", KB_CELL_TEXT, true, 0},
    {"TYPE", "type", KB_CELL_TEXT, false, 0},
    {"STATE", "state", KB_CELL_TEXT, false, 0},
    {"CONSOLES", "consoles", KB_CELL_PORT, false, 0},
    {"LAST GOOD", "last_good", KB_CELL_TIME, false, 1},
    {"STALE SINCE", "stale_since", KB_CELL_TIME, false, 0},
    {"ERROR", "error", KB_CELL_TEXT, true, 0},
};

int kb_cmd_source_list(const struct kb_cli_options *o)
{
    return kb_show_list(o, "/api/v1/sources", KB_COLUMNS(source_columns));
}

/* Exits with 1 when the source could not be listed. */
int kb_cmd_source_refresh(const struct kb_cli_options *o)
{
    kb_auto_free char *path = kb_client_path("/api/v1/sources/%s/refresh", o->args[0]);
    json_auto_t *answer = NULL;
    int status = kb_show_ask(o, "POST", path, NULL, &answer);
    if (status != KB_EXIT_DONE)
        return status;
    json_auto_t *rows = json_pack("[O]", answer);
    if (o->json)
        kb_show_json(answer);
    else
        kb_table_print(KB_COLUMNS(source_columns), rows, false);
    return json_is_null(json_object_get(answer, "error")) ? KB_EXIT_DONE : KB_EXIT_REFUSED;
}

static void print_advice(const json_t *steps)
{
    const json_t *last = json_array_get(steps, json_array_size(steps) - 1);
    const char *advice = json_string_value(json_object_get(last, "advice"));
    if (advice)
        printf("\n%s\n", advice);
}

/* Exits with 1 when a step failed, so that scripts can ask. */
int kb_cmd_source_check(const struct kb_cli_options *o)
{
    static const struct kb_column columns[] = {
        {"STEP", "step", KB_CELL_TEXT, false, 0},
        {"RESULT", "result", KB_CELL_TEXT, false, 0},
        {"MS", "ms", KB_CELL_TEXT, false, 0},
        {"DETAIL", "detail", KB_CELL_TEXT, true, 0},
    };
    kb_auto_free char *path = kb_client_path("/api/v1/sources/%s/check", o->args[0]);
    json_auto_t *answer = NULL;
    int status = kb_show_ask(o, "POST", path, NULL, &answer);
    if (status != KB_EXIT_DONE)
        return status;
    const json_t *steps = json_object_get(answer, "steps");
    if (o->json) {
        kb_show_json(answer);
    } else {
        kb_table_print(KB_COLUMNS(columns), steps, false);
        print_advice(steps);
    }
    return json_is_true(json_object_get(answer, "ok")) ? KB_EXIT_DONE : KB_EXIT_REFUSED;
}
