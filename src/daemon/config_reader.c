/* Walks a mapping by a table of keys. Knows no key of kerbside's by name. Main thread. */
#include "daemon/config_reader.h"

#include "base/auto.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A merge key (`<<: *common`) may name a mapping that has one too. */
#define MERGE_DEPTH_MAX 4

/* --- problems and paths ----------------------------------------------------------------------- */

__attribute__((format(printf, 4, 0))) static void report(struct kb_config_reader *r,
                                                         enum kb_config_severity severity,
                                                         const yaml_node_t *at, const char *format,
                                                         va_list args)
{
    kb_auto_free char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        abort();
    kb_config_problem_add(r->problems, severity, r->document->file, r->document->number,
                          at ? kb_config_line(at) : 0, r->path, r->source, text);
}

void kb_config_error(struct kb_config_reader *r, const yaml_node_t *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (r->in_source)
        r->source_problems++;
    report(r, r->in_source ? KB_CONFIG_SKIPPED : KB_CONFIG_ERROR, at, format, args);
    va_end(args);
}

void kb_config_warn(struct kb_config_reader *r, const yaml_node_t *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(r, KB_CONFIG_WARNING, at, format, args);
    va_end(args);
}

static size_t extend(struct kb_config_reader *r, const char *dot, const char *name)
{
    size_t before = r->path_len;
    kb_auto_free char *path = kb_printf("%s%s%s", r->path, dot, name);
    kb_copy_str(r->path, sizeof r->path, path);
    r->path_len = strlen(r->path);
    return before;
}

size_t kb_config_enter(struct kb_config_reader *r, const char *name)
{
    return extend(r, r->path_len ? "." : "", name);
}

size_t kb_config_enter_index(struct kb_config_reader *r, size_t index)
{
    kb_auto_free char *name = kb_printf("[%zu]", index);
    return extend(r, "", name);
}

void kb_config_leave(struct kb_config_reader *r, size_t before)
{
    r->path_len = before;
    r->path[before] = '\0';
}

/* The last unit is kept for saying that it is the last. */
bool kb_config_spend(struct kb_config_reader *r, const yaml_node_t *at)
{
    if (r->budget == 0)
        return false;
    if (--r->budget)
        return true;
    kb_config_problem_add(r->problems, KB_CONFIG_ERROR, r->document->file, r->document->number,
                          kb_config_line(at), r->path, NULL,
                          "the file says too much; reading stops here");
    return false;
}

const char *kb_config_scalar(struct kb_config_reader *r, const yaml_node_t *node, const char *want)
{
    if (node->type != YAML_SCALAR_NODE)
        kb_config_error(r, node, "must be %s, not a %s", want,
                        node->type == YAML_SEQUENCE_NODE ? "list" : "mapping");
    else if (strlen((const char *)node->data.scalar.value) != node->data.scalar.length)
        kb_config_error(r, node, "must not contain a NUL character");
    else
        return (const char *)node->data.scalar.value;
    return NULL;
}

bool kb_config_items(struct kb_config_reader *r, const yaml_node_t *node, yaml_node_item_t **first,
                     size_t *count)
{
    if (node->type != YAML_SEQUENCE_NODE) {
        kb_config_error(r, node, "must be a list, not %s",
                        node->type == YAML_SCALAR_NODE ? "a text" : "a mapping");
        return false;
    }
    *first = node->data.sequence.items.start;
    *count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    for (size_t i = 0; i < *count; i++)
        if (!kb_config_spend(r, node))
            return false;
    return true;
}

/* --- names that are nearly right -------------------------------------------------------------- */

/* How many letters differ, are missing, or are swapped with their neighbour (optimal string
 * alignment); texts above 31 letters count as far apart. */
static unsigned distance(const char *a, size_t an, const char *b, size_t bn)
{
    unsigned d[32][32];
    if (an > 31 || bn > 31)
        return 99;
    for (unsigned i = 0; i <= an; i++)
        d[i][0] = i;
    for (unsigned j = 0; j <= bn; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= an; i++) {
        for (size_t j = 1; j <= bn; j++) {
            unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[an][bn];
}

struct walk {
    struct kb_config_reader *r;
    const struct kb_config_key *keys;
    size_t count;
    void *base;
    const char *prefix;              /* of the section within the table: "grants.", "" at the top */
    size_t seen[KB_CONFIG_KEYS_MAX]; /* the line, by the first row that the key matches */
};

/* The part of row i that is a key at this level, its length in *len; NULL if it lies elsewhere. */
static const char *name_at(const struct walk *w, size_t i, size_t *len)
{
    size_t skip = strlen(w->prefix);
    if (strncmp(w->keys[i].path, w->prefix, skip) != 0)
        return NULL;
    const char *name = w->keys[i].path + skip;
    *len = strcspn(name, ".");
    return name;
}

/* The nearest key of this level, else one of that very name elsewhere; NULL if there is none. */
static char *suggest(const struct walk *w, const char *key)
{
    size_t key_len = strlen(key), len, best_len = 0;
    unsigned best = key_len < 5 ? 2 : 3; /* that much is too far */
    const char *nearest = NULL;
    for (size_t i = 0; i < w->count; i++) {
        const char *name = name_at(w, i, &len);
        unsigned d = name ? distance(key, key_len, name, len) : 99;
        if (d < best) {
            best = d;
            nearest = name;
            best_len = len;
        }
    }
    if (nearest)
        return kb_printf("%.*s", (int)best_len, nearest);
    for (size_t i = 0; i < w->count; i++) {
        const char *dot = strrchr(w->keys[i].path, '.');
        if (strcmp(dot ? dot + 1 : w->keys[i].path, key) == 0)
            return kb_strdup(w->keys[i].path);
    }
    return NULL;
}

/* --- the walk --------------------------------------------------------------------------------- */

static void walk_mapping(struct walk *w, yaml_node_t *node, unsigned merges);

static void walk_section(const struct walk *w, size_t row, yaml_node_t *node)
{
    size_t len;
    const char *name = name_at(w, row, &len);
    kb_auto_free char *prefix =
        kb_printf("%.*s.", (int)(name + len - w->keys[row].path), w->keys[row].path);
    struct walk inner = {
        .r = w->r, .keys = w->keys, .count = w->count, .base = w->base, .prefix = prefix};
    walk_mapping(&inner, node, 0);
}

static void read_pair(struct walk *w, yaml_node_t *key, yaml_node_t *value, bool merged)
{
    struct kb_config_reader *r = w->r;
    const char *text = key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : "";
    if (key->type != YAML_SCALAR_NODE || strlen(text) != key->data.scalar.length || !*text) {
        kb_config_error(r, key, "a key must be a plain word");
        return;
    }
    size_t row = 0, len = 0;
    const char *name = NULL;
    for (; row < w->count; row++) {
        name = name_at(w, row, &len);
        if (name && strlen(text) == len && strncmp(name, text, len) == 0)
            break;
    }
    size_t before = kb_config_enter(r, text);
    if (row == w->count) {
        kb_auto_free char *near = suggest(w, text);
        if (near)
            kb_config_error(r, key, "unknown key; did you mean %s?", near);
        else
            kb_config_error(r, key, "unknown key");
    } else if (w->seen[row] && !merged) {
        kb_config_error(r, key, "the key is there twice; first on line %zu", w->seen[row]);
    } else if (!w->seen[row]) {
        w->seen[row] = kb_config_line(key);
        if (name[len] == '.') {
            if (!kb_config_is_empty(value))
                walk_section(w, row, value);
        } else if (!kb_config_is_empty(value)) {
            w->keys[row].read(r, &w->keys[row], value, w->base);
        } else if (w->keys[row].required) {
            kb_config_error(r, key, "is required, but empty");
        }
    }
    kb_config_leave(r, before);
}

static bool is_merge(const yaml_node_t *key)
{
    return key->type == YAML_SCALAR_NODE && key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           strcmp((const char *)key->data.scalar.value, "<<") == 0;
}

/* What is merged in never overrides, so it comes after the mapping's own keys. */
static void walk_merge(struct walk *w, yaml_node_t *value, unsigned merges)
{
    if (value->type == YAML_MAPPING_NODE) {
        walk_mapping(w, value, merges + 1);
        return;
    }
    yaml_node_item_t *first;
    size_t count;
    if (!kb_config_items(w->r, value, &first, &count))
        return;
    for (size_t i = 0; i < count && w->r->budget; i++)
        walk_mapping(w, kb_config_node(w->r->document, first[i]), merges + 1);
}

/* merges: how many merge keys led here. */
static void walk_mapping(struct walk *w, yaml_node_t *node, unsigned merges)
{
    struct kb_config_reader *r = w->r;
    if (node->type != YAML_MAPPING_NODE) {
        kb_config_error(r, node, "must be a mapping of keys, not a %s",
                        node->type == YAML_SEQUENCE_NODE ? "list" : "text");
        return;
    }
    if (merges > MERGE_DEPTH_MAX) {
        kb_config_error(r, node, "merge keys (<<) are nested too deeply");
        return;
    }
    yaml_node_pair_t *pair = node->data.mapping.pairs.start, *end = node->data.mapping.pairs.top;
    for (yaml_node_pair_t *p = pair; p < end && kb_config_spend(r, node); p++) {
        yaml_node_t *key = kb_config_node(r->document, p->key);
        if (!is_merge(key))
            read_pair(w, key, kb_config_node(r->document, p->value), merges > 0);
    }
    for (yaml_node_pair_t *p = pair; p < end && r->budget; p++)
        if (is_merge(kb_config_node(r->document, p->key)))
            walk_merge(w, kb_config_node(r->document, p->value), merges);
}

static void set_default(struct kb_config_reader *r, const struct kb_config_key *key, void *base)
{
    kb_auto_free char *text = kb_strdup(key->fallback);
    yaml_node_t node = {.type = YAML_SCALAR_NODE};
    node.data.scalar.value = (yaml_char_t *)text;
    node.data.scalar.length = strlen(text);
    key->read(r, key, &node, base);
}

void kb_config_read_mapping(struct kb_config_reader *r, yaml_node_t *node,
                            const struct kb_config_key *keys, size_t count, void *base)
{
    struct walk w = {.r = r, .keys = keys, .count = count, .base = base, .prefix = ""};
    if (count > KB_CONFIG_KEYS_MAX)
        abort();
    for (size_t i = 0; i < count; i++)
        if (keys[i].fallback)
            set_default(r, &keys[i], base);
    if (node)
        walk_mapping(&w, node, 0);
    for (size_t i = 0; i < count; i++) {
        /* Only keys of the top may be required: a section that is absent has no line to point at.
         */
        if (!keys[i].required || w.seen[i])
            continue;
        size_t before = kb_config_enter(r, keys[i].path);
        kb_config_error(r, node, "is required");
        kb_config_leave(r, before);
    }
}

static yaml_node_t *peek(struct kb_config_reader *r, yaml_node_t *node, const char *key,
                         unsigned merges)
{
    yaml_node_t *found = NULL;
    if (node->type != YAML_MAPPING_NODE || merges > MERGE_DEPTH_MAX)
        return NULL;
    yaml_node_pair_t *first = node->data.mapping.pairs.start, *end = node->data.mapping.pairs.top;
    for (yaml_node_pair_t *p = first; p < end; p++) {
        const yaml_node_t *k = kb_config_node(r->document, p->key);
        if (k->type == YAML_SCALAR_NODE && strcmp((const char *)k->data.scalar.value, key) == 0)
            return kb_config_node(r->document, p->value);
    }
    for (yaml_node_pair_t *p = first; p < end && !found; p++) {
        if (!is_merge(kb_config_node(r->document, p->key)) || !kb_config_spend(r, node))
            continue;
        yaml_node_t *value = kb_config_node(r->document, p->value);
        if (value->type == YAML_MAPPING_NODE)
            found = peek(r, value, key, merges + 1);
        if (value->type != YAML_SEQUENCE_NODE)
            continue;
        for (yaml_node_item_t *i = value->data.sequence.items.start;
             i < value->data.sequence.items.top && !found && kb_config_spend(r, value); i++)
            found = peek(r, kb_config_node(r->document, *i), key, merges + 1);
    }
    return found;
}

yaml_node_t *kb_config_peek(struct kb_config_reader *r, yaml_node_t *node, const char *key)
{
    return node ? peek(r, node, key, 0) : NULL;
}
