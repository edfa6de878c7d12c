/* A connection to the daemon's API, for one run of the program. What goes wrong is said on stderr
 * here; callers pass the exit status on. */
#ifndef KB_CLI_CLIENT_H
#define KB_CLI_CLIENT_H

#include "base/auto.h"
#include "base/buf.h"
#include "cli/command.h"

#include <jansson.h>

struct kb_client;

/* NULL with *status set. */
struct kb_client *kb_client_create(const struct kb_cli_options *o, int *status);
void kb_client_destroy(struct kb_client *c);
/* How long an answer may take; two minutes where nobody says. */
void kb_client_set_patience(struct kb_client *c, long seconds);
/* Of the last call: 100..599, 0 when there was no answer. */
long kb_client_http_status(const struct kb_client *c);

/* A path with texts put in: each %s of format is percent-encoded first. The caller frees. */
char *kb_client_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Appends "?name=value" or "&name=value" to a path; does nothing if value is NULL. */
void kb_client_add_query(char **path, const char *name, const char *value);

/* "/api/v1/consoles/SOURCE/UUID" of the console that one word (its name) or two name. NULL, said on
 * stderr, with *status set. cmd_console.c. */
char *kb_client_console_path(struct kb_client *c, char **args, int count, int *status);

/* One request; body (may be NULL) is taken over. *answer: the JSON, or NULL for an empty answer.
 * Returns the exit status. */
int kb_client_call(struct kb_client *c, const char *method, const char *path, json_t *body,
                   json_t **answer);
/* All items of a list, page by page, at most `most` of them (0: all). */
int kb_client_list(struct kb_client *c, const char *path, size_t most, json_t **items);
/* POST with an answer that is a .vv file. */
int kb_client_fetch_vv(struct kb_client *c, const char *path, json_t *body, struct kb_buf *file);

#endif
