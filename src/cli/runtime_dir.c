/* Reads one key of the daemon's configuration and nothing else: the file may hold secrets and keys
 * of a newer daemon, and neither is this program's business. Main thread. */
#include "cli/runtime_dir.h"

#include "base/auto.h"
#include "base/mem.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <yaml.h>

static const char *text_of(const yaml_node_t *n)
{
    return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : "";
}

static char *find_key(yaml_document_t *d, const char *key)
{
    yaml_node_t *root = yaml_document_get_root_node(d);
    if (!root || root->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top;
         p++)
        if (strcmp(text_of(yaml_document_get_node(d, p->key)), key) == 0)
            return kb_strdup(text_of(yaml_document_get_node(d, p->value)));
    return NULL;
}

/* Relative paths of a configuration start where the file is. */
static char *absolute(const char *file, char *dir)
{
    const char *slash = strrchr(file, '/');
    if (dir[0] == '/' || !slash)
        return dir;
    char *path = kb_printf("%.*s/%s", (int)(slash - file), file, dir);
    free(dir);
    return path;
}

char *kb_runtime_dir_read(const char *file, char **problem)
{
    kb_auto_fclose FILE *f = fopen(file, "re");
    if (!f) {
        *problem = kb_printf("%s: %s", file, strerror(errno));
        return NULL;
    }
    yaml_parser_t parser;
    yaml_document_t document;
    yaml_parser_initialize(&parser);
    yaml_parser_set_input_file(&parser, f);
    char *dir = NULL;
    if (!yaml_parser_load(&parser, &document)) {
        *problem = kb_printf("%s:%zu: %s", file, parser.problem_mark.line + 1, parser.problem);
    } else {
        dir = find_key(&document, "runtime_dir");
        if (!dir || !*dir) {
            free(dir);
            dir = kb_strdup(KB_DEFAULT_RUNTIME_DIR);
        }
        dir = absolute(file, dir);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return dir;
}
