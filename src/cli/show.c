/* Asks the daemon once and prints what comes. Main thread. */
#include "cli/show.h"

int kb_show_ask(const struct kb_cli_options *o, const char *method, const char *path, json_t *body,
                json_t **answer)
{
    int status;
    *answer = NULL;
    struct kb_client *c = kb_client_create(o, &status);
    if (c)
        status = kb_client_call(c, method, path, body, answer);
    else
        json_decref(body);
    kb_client_destroy(c);
    return status;
}

int kb_show_list(const struct kb_cli_options *o, const char *path, const struct kb_column *columns,
                 size_t count)
{
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    json_auto_t *items = NULL;
    status = kb_client_list(c, path, 0, &items);
    if (status == KB_EXIT_DONE)
        kb_table_print(columns, count, items, o->json);
    kb_client_destroy(c);
    return status;
}

void kb_show_json(const json_t *answer)
{
    kb_table_print_object(NULL, 0, answer, true);
}
