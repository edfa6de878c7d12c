/* A YAML file as libyaml's document, after everything that would be dangerous or surprising was
 * refused: bytes that are not UTF-8, more than one document, deep nesting, tags, too much of it. */
#ifndef KB_DAEMON_CONFIG_DOCUMENT_H
#define KB_DAEMON_CONFIG_DOCUMENT_H

#include "daemon/config_problem.h"

#include <yaml.h>

/* Some 50 000 consoles. */
#define KB_CONFIG_FILE_MAX (16u << 20)
/* Deeper than any key lies, with room for what is not ours. */
#define KB_CONFIG_DEPTH_MAX 32

struct kb_config_document {
    char *file;   /* as named; for problems */
    char *folder; /* where its relative paths start */
    size_t number;
    bool loaded;
    yaml_document_t yaml;
};

/* Reads a regular file or a pipe of at most max bytes into text. NULL, or a static text that says
 * why not. The caller wipes and frees. */
const char *kb_config_read_file(const char *path, size_t max, bool pipes, struct kb_buf *text);
/* Wipes, then frees. */
void kb_config_wipe(struct kb_buf *text);

/* False after problems were added; finish it in any case. */
bool kb_config_document_parse(struct kb_config_document *d, const char *file, size_t number,
                              struct kb_span text, struct kb_config_problems *problems);
void kb_config_document_finish(struct kb_config_document *d); /* wipes the values */

/* NULL for an empty document. */
yaml_node_t *kb_config_document_root(struct kb_config_document *d);
static inline yaml_node_t *kb_config_node(struct kb_config_document *d, int id)
{
    return yaml_document_get_node(&d->yaml, id);
}
static inline size_t kb_config_line(const yaml_node_t *node)
{
    return node->start_mark.line + 1;
}
/* Nothing at all, null, ~ or "": the key counts as not set. */
bool kb_config_is_empty(const yaml_node_t *node);

#endif
