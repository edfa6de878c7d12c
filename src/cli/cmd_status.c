/* status, version, source list, source refresh, source check. Main thread. */
#include "cli/client.h"
#include "cli/table.h"

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
        {"version", "version", KB_CELL_TEXT, false},
        {"node", "node", KB_CELL_TEXT, false},
        {"up since", "started_at", KB_CELL_TIME, false},
        {"uptime", "uptime", KB_CELL_TEXT, false},
        {"ready", "ready", KB_CELL_TEXT, false},
        {"store", "store", KB_CELL_TEXT, false},
        {"sources", "sources", KB_CELL_TEXT, false},
        {"sources loaded", "sources_loaded", KB_CELL_TEXT, false},
        {"consoles", "consoles", KB_CELL_TEXT, false},
        {"sessions", "sessions", KB_CELL_TEXT, false},
        {"channels", "channels", KB_CELL_TEXT, false},
        {"public url", "public_url", KB_CELL_TEXT, false},
    };
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    json_auto_t *answer = NULL;
    status = kb_client_call(c, "GET", "/api/v1/status", NULL, &answer);
    if (status == KB_EXIT_DONE)
        kb_table_print_object(columns, sizeof columns / sizeof *columns, answer, o->json);
    kb_client_destroy(c);
    return status;
}

static const struct kb_column source_columns[] = {
    {"SOURCE", "source", KB_CELL_TEXT, true},
    {"TYPE", "type", KB_CELL_TEXT, false},
    {"STATE", "state", KB_CELL_TEXT, false},
    {"CONSOLES", "consoles", KB_CELL_PORT, false},
    {"LAST GOOD", "last_good", KB_CELL_TIME, false},
    {"STALE SINCE", "stale_since", KB_CELL_TIME, false},
    {"ERROR", "error", KB_CELL_TEXT, true},
};

int kb_cmd_source_list(const struct kb_cli_options *o)
{
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    json_auto_t *items = NULL;
    status = kb_client_list(c, "/api/v1/sources", 0, &items);
    if (status == KB_EXIT_DONE)
        kb_table_print(source_columns, sizeof source_columns / sizeof *source_columns, items,
                       o->json);
    kb_client_destroy(c);
    return status;
}

/* Exits with 1 when the source could not be listed. */
int kb_cmd_source_refresh(const struct kb_cli_options *o)
{
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    kb_auto_free char *path = kb_client_path("/api/v1/sources/%s/refresh", o->args[0]);
    json_auto_t *answer = NULL;
    status = kb_client_call(c, "POST", path, NULL, &answer);
    if (status == KB_EXIT_DONE) {
        json_auto_t *rows = json_pack("[O]", answer);
        if (o->json)
            kb_table_print_object(NULL, 0, answer, true);
        else
            kb_table_print(source_columns, sizeof source_columns / sizeof *source_columns, rows,
                           false);
        if (!json_is_null(json_object_get(answer, "error")))
            status = KB_EXIT_REFUSED;
    }
    kb_client_destroy(c);
    return status;
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
        {"STEP", "step", KB_CELL_TEXT, false},
        {"RESULT", "result", KB_CELL_TEXT, false},
        {"MS", "ms", KB_CELL_TEXT, false},
        {"DETAIL", "detail", KB_CELL_TEXT, true},
    };
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    kb_auto_free char *path = kb_client_path("/api/v1/sources/%s/check", o->args[0]);
    json_auto_t *answer = NULL;
    status = kb_client_call(c, "POST", path, NULL, &answer);
    if (status == KB_EXIT_DONE) {
        const json_t *steps = json_object_get(answer, "steps");
        if (o->json)
            kb_table_print_object(NULL, 0, answer, true);
        else
            kb_table_print(columns, sizeof columns / sizeof *columns, steps, false);
        if (!o->json)
            print_advice(steps);
        if (!json_is_true(json_object_get(answer, "ok")))
            status = KB_EXIT_REFUSED;
    }
    kb_client_destroy(c);
    return status;
}
