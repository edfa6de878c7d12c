/* What most subcommands are: one question to the daemon, and its answer on the terminal. */
#ifndef KB_CLI_SHOW_H
#define KB_CLI_SHOW_H

#include "cli/client.h"
#include "cli/table.h"

/* One request over a connection of its own; body (may be NULL) is taken over. *answer: the JSON, or
 * NULL. Returns the exit status. */
int kb_show_ask(const struct kb_cli_options *o, const char *method, const char *path, json_t *body,
                json_t **answer);
/* All items of the list at path, as a table or JSON. Returns the exit status. */
int kb_show_list(const struct kb_cli_options *o, const char *path, const struct kb_column *columns,
                 size_t count);
/* The answer itself, as JSON. */
void kb_show_json(const json_t *answer);

#endif
