/* Reads the sources: a list, or a path to a file with one (as upstream Kerbside's sources.yaml is).
 * What is wrong inside one source costs that source alone. Main thread. */
#include "daemon/config_schema.h"

#include "base/auto.h"
#include "base/mem.h"
#include "spice/host_subject.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* --- values ----------------------------------------------------------------------------------- */

static void set_text(const struct kb_config_key *key, void *base, const char *text)
{
    char **at = (char **)((char *)base + key->offset);
    free(*at);
    *at = kb_strdup(text);
}

static char *take_text(const struct kb_config_key *key, void *base)
{
    char **at = (char **)((char *)base + key->offset);
    char *text = *at;
    *at = NULL;
    return text;
}

void kb_config_read_identifier(struct kb_config_reader *r, const struct kb_config_key *key,
                               yaml_node_t *node, void *base)
{
    kb_config_read_text(r, key, node, base);
    kb_auto_free char *text = take_text(key, base);
    if (!text)
        return;
    /* It is a part of paths: /api/v1/consoles/{source}/{uuid}. */
    if (strchr(text, '/') || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        kb_config_error(r, node, "must not contain a slash nor be . or ..");
    else
        set_text(key, base, text);
}

void kb_config_read_host(struct kb_config_reader *r, const struct kb_config_key *key,
                         yaml_node_t *node, void *base)
{
    const char *text = kb_config_scalar(r, node, "a host name or an address");
    const char *why = text ? kb_config_check_host(text) : NULL;
    if (why)
        kb_config_error(r, node, "%.100s %s", text, why);
    else if (text)
        set_text(key, base, text);
}

void kb_config_read_pin(struct kb_config_reader *r, const struct kb_config_key *key,
                        yaml_node_t *node, void *base)
{
    kb_config_read_text(r, key, node, base);
    kb_auto_free char *text = take_text(key, base);
    const char *why = text ? kb_host_subject_check(text) : NULL;
    if (why)
        kb_config_error(r, node, "is not a certificate subject: %s", why);
    else if (text)
        set_text(key, base, text);
}

/* --- consoles --------------------------------------------------------------------------------- */

static void check_console(struct kb_config_reader *r, const yaml_node_t *node,
                          const struct kb_static_console *c)
{
    if (c->unix_socket)
        return;
    if (!c->hypervisor && !c->hypervisor_ip)
        kb_config_error(r, node, "needs hypervisor_ip, hypervisor or unix_socket");
    if (!c->insecure_port && !c->secure_port)
        kb_config_error(r, node, "needs insecure_port, secure_port or unix_socket");
}

/* Where a uuid stood first; uuid belongs to the console at index. */
struct seen {
    UT_hash_handle hh;
    char *uuid;
    size_t index, line;
};

static void seen_destroy(struct seen **map)
{
    struct seen *s, *next;
    HASH_ITER (hh, *map, s, next) {
        HASH_DEL(*map, s);
        free(s->uuid);
        free(s);
    }
}

/* Takes c over. */
static void add_console(struct kb_config_reader *r, struct kb_config_source_draft *draft,
                        struct seen **map, yaml_node_t *node, size_t index,
                        struct kb_static_console *c)
{
    struct seen *s;
    size_t at = draft->config.console_count;
    HASH_FIND_STR(*map, c->uuid, s);
    if (s) {
        kb_config_warn(r, node, "uuid %.64s is there twice, first on line %zu; the last one counts",
                       c->uuid, s->line);
        at = s->index;
        kb_static_console_finish(&draft->config.consoles[at]);
    } else {
        s = kb_zalloc(sizeof *s);
        s->uuid = kb_strdup(c->uuid);
        s->index = at;
        HASH_ADD_KEYPTR(hh, *map, s->uuid, strlen(s->uuid), s);
        draft->config.console_count++;
    }
    s->line = kb_config_line(node);
    draft->config.consoles[at] = *c;
    draft->places[at] = (struct kb_config_place){.node = node, .index = index};
}

static void read_console(struct kb_config_reader *r, yaml_node_t *node, size_t keys,
                         struct kb_static_console *c)
{
    size_t problems = r->problems->errors + r->source_problems;
    kb_config_read_mapping(r, node, kb_config_console.keys, keys, c);
    if (r->problems->errors + r->source_problems == problems)
        check_console(r, node, c);
}

void kb_config_read_consoles(struct kb_config_reader *r, const struct kb_config_key *key,
                             yaml_node_t *node, void *base)
{
    (void)key;
    struct kb_config_source_draft *draft = base;
    yaml_node_item_t *items;
    size_t count;
    if (!kb_config_items(r, node, &items, &count))
        return;
    kb_auto(seen_destroy) struct seen *map = NULL;
    draft->config.consoles = kb_calloc(count, sizeof *draft->config.consoles);
    draft->places = kb_calloc(count, sizeof *draft->places);
    for (size_t i = 0; i < count && r->budget; i++) {
        yaml_node_t *item = kb_config_node(r->document, items[i]);
        struct kb_static_console c = {0};
        size_t before = kb_config_enter_index(r, i);
        read_console(r, item, kb_config_console.count, &c);
        if (c.uuid)
            add_console(r, draft, &map, item, i, &c);
        else
            kb_static_console_finish(&c);
        kb_config_leave(r, before);
    }
}

/* --- files of consoles ------------------------------------------------------------------------ */

struct file_list {
    struct kb_static_console *list;
    size_t count;
};

/* One console, or a list of them. What else holds for all of a source's is the source's to look at.
 */
static void read_file_root(struct kb_config_reader *r, yaml_node_t *root, struct file_list *f)
{
    const size_t keys = kb_config_console.count - 1; /* policies are the configuration's */
    yaml_node_item_t *items;
    if (root->type == YAML_MAPPING_NODE) {
        f->list = kb_calloc(1, sizeof *f->list);
        read_console(r, root, keys, &f->list[f->count++]);
        return;
    }
    size_t count;
    if (!kb_config_items(r, root, &items, &count))
        return;
    f->list = kb_calloc(count, sizeof *f->list);
    for (size_t i = 0; i < count && r->budget; i++) {
        size_t before = kb_config_enter_index(r, i);
        read_console(r, kb_config_node(r->document, items[i]), keys, &f->list[f->count++]);
        kb_config_leave(r, before);
    }
}

/* The first problem; there is room for one in the source's state. */
static char *first_problem(struct kb_config_problems *problems)
{
    kb_auto(kb_buf_finish) struct kb_buf text = {0};
    kb_config_problems_print(problems, &text);
    kb_buf_add(&text, "", 1);
    const char *line = (const char *)text.data;
    return kb_printf("%.*s%s", (int)strcspn(line, "\n"), line,
                     problems->errors > 1 ? " (and more)" : "");
}

bool kb_config_read_console_file(const char *path, struct kb_static_console **list, size_t *count,
                                 char **why)
{
    kb_auto(kb_config_wipe) struct kb_buf text = {0};
    const char *unread = kb_config_read_file(path, KB_CONFIG_FILE_MAX, false, &text);
    if (unread) {
        *why = kb_printf("%s: %s", path, unread);
        return false;
    }
    struct kb_config_problems problems = {0};
    struct kb_config_document document;
    struct file_list found = {0};
    if (kb_config_document_parse(&document, path, 0, kb_buf_span(&text), &problems)) {
        struct kb_config_reader r = {
            .problems = &problems, .document = &document, .budget = KB_CONFIG_BUDGET};
        yaml_node_t *root = kb_config_document_root(&document);
        if (root)
            read_file_root(&r, root, &found);
        else
            kb_config_error(&r, NULL, "the file is empty; [] is a list without a console");
    }
    kb_config_document_finish(&document);
    bool ok = problems.errors == 0;
    if (ok) {
        *list = found.list;
        *count = found.count;
    } else {
        *why = first_problem(&problems);
        kb_static_consoles_finish(found.list, found.count);
    }
    kb_config_problems_finish(&problems);
    return ok;
}

/* Consoles stand here or in files, never both: which one of two with one uuid would count? */
static void check_where(struct kb_config_reader *r, yaml_node_t *node,
                        const struct kb_config_source_draft *draft)
{
    const yaml_node_t *list = kb_config_peek(r, node, "consoles");
    bool here = !kb_config_is_empty(list);
    const char *path = kb_setting_text(&draft->config, "path");
    size_t before = kb_config_enter(r, "consoles");
    if (!here && !path)
        kb_config_error(r, node, "is required where there is no path");
    else if (here && path)
        kb_config_error(r, list, "is there, and so is path");
    kb_config_leave(r, before);
}

/* What only the whole source can tell: whether its tls setting leaves a way to each console. */
static void check_ways(struct kb_config_reader *r, const struct kb_config_source_draft *draft)
{
    for (size_t i = 0; i < draft->config.console_count; i++) {
        const struct kb_static_console *c = &draft->config.consoles[i];
        size_t before = kb_config_enter(r, "consoles");
        kb_config_enter_index(r, draft->places[i].index);
        if (c->unix_socket)
            ;
        else if (draft->config.tls == KB_TLS_REQUIRE && !c->secure_port)
            kb_config_warn(r, draft->places[i].node,
                           "cannot be opened: it has no secure_port, and the "
                           "source's tls is require");
        else if (draft->config.tls == KB_TLS_PLAIN && !c->insecure_port)
            kb_config_warn(r, draft->places[i].node,
                           "cannot be opened: it has no insecure_port, and the "
                           "source's tls is plain");
        kb_config_leave(r, before);
    }
}

/* --- sources ---------------------------------------------------------------------------------- */

static const char *peek_text(struct kb_config_reader *r, yaml_node_t *node, const char *key)
{
    const yaml_node_t *value = kb_config_peek(r, node, key);
    if (!value || value->type != YAML_SCALAR_NODE || kb_config_is_empty(value))
        return NULL;
    return (const char *)value->data.scalar.value;
}

static struct kb_source_config *find_source(struct kb_config *c, const char *name)
{
    for (size_t i = 0; i < c->source_count; i++)
        if (strcmp(c->sources[i].name, name) == 0)
            return &c->sources[i];
    return NULL;
}

static void check_type(struct kb_config_reader *r, yaml_node_t *node, const char *type)
{
    if (!type || kb_source_type_known(type)) /* an absent one is reported as required */
        return;
    size_t before = kb_config_enter(r, "type");
    kb_config_error(r, kb_config_peek(r, node, "type"), "no source has the type %.60s", type);
    kb_config_leave(r, before);
}

/* Puts the draft into the configuration: whole, or with its name and what is wrong alone. */
static void keep_source(struct kb_config_reader *r, struct kb_config *c, yaml_node_t *node,
                        struct kb_config_source_draft *draft)
{
    struct kb_source_config *s = &draft->config;
    bool twice = s->name && find_source(c, s->name);
    if (twice)
        kb_config_error(r, node, "another source above has this name");
    if (r->source_problems)
        c->bad_sources++;
    else
        check_ways(r, draft);
    if (!s->name || twice) {
        kb_source_config_finish(s);
        return;
    }
    struct kb_source_config *to = &c->sources[c->source_count++];
    if (r->source_problems) {
        *to = (struct kb_source_config){.name = kb_strdup(s->name), .type = kb_strdup(s->type)};
        to->error = kb_printf("its configuration has %u problem%s; kerbside check shows %s",
                              r->source_problems, r->source_problems == 1 ? "" : "s",
                              r->source_problems == 1 ? "it" : "them");
        kb_source_config_finish(s);
    } else {
        *to = *s;
    }
}

/* What every source has, `consoles` where the type takes them, and the driver's own. */
static void read_keys(struct kb_config_reader *r, yaml_node_t *node, const char *type,
                      struct kb_config_source_draft *draft)
{
    struct kb_config_choice choices[KB_CONFIG_CHOICES_MAX];
    struct kb_config_key keys[KB_CONFIG_KEYS_MAX];
    draft->driver = type ? kb_source_driver_find(type) : NULL;
    size_t count = kb_config_source.count;
    memcpy(keys, kb_config_source.keys, count * sizeof *keys);
    if (draft->driver) {
        if (!draft->driver->takes_consoles)
            count--;
        count += kb_config_driver_keys(draft->driver, keys + count, choices);
    }
    kb_config_read_mapping(r, node, keys, count, draft);
    kb_config_take_settings(draft);
    if (!draft->driver || !draft->driver->takes_consoles)
        return;
    draft->config.read_file = kb_config_read_console_file;
    if (draft->config.type)
        check_where(r, node, draft);
}

static void read_source(struct kb_config_reader *r, struct kb_config *c, yaml_node_t *node)
{
    r->in_source = true;
    r->source_problems = 0;
    r->source = peek_text(r, node, "source");
    const char *type = peek_text(r, node, "type");
    struct kb_config_source_draft draft = {0};
    check_type(r, node, type);
    read_keys(r, node, type, &draft);
    kb_config_attach_policies(r, &draft);
    keep_source(r, c, node, &draft);
    free(draft.places);
    r->in_source = false;
    r->source = NULL;
}

static void read_list(struct kb_config_reader *r, struct kb_config *c, yaml_node_t *node)
{
    yaml_node_item_t *items;
    size_t count;
    if (!kb_config_items(r, node, &items, &count))
        return;
    if (count == 0)
        kb_config_warn(r, node, "no source is configured, so there is no console to open");
    c->sources = kb_calloc(count, sizeof *c->sources);
    for (size_t i = 0; i < count && r->budget; i++) {
        size_t before = kb_config_enter_index(r, i);
        read_source(r, c, kb_config_node(r->document, items[i]));
        kb_config_leave(r, before);
    }
}

static void read_list_file(struct kb_config_reader *r, struct kb_config *c, yaml_node_t *node)
{
    const char *name = kb_config_scalar(r, node, "a list or a path");
    if (!name)
        return;
    kb_auto_free char *path = kb_config_resolve_path(r, name);
    kb_auto(kb_config_wipe) struct kb_buf text = {0};
    const char *why = kb_config_read_file(path, KB_CONFIG_FILE_MAX, false, &text);
    if (why) {
        kb_config_error(r, node, "cannot read %s: %s", path, why);
        return;
    }
    struct kb_config_document *outer = r->document, inner;
    if (kb_config_document_parse(&inner, path, r->documents++, kb_buf_span(&text), r->problems)) {
        yaml_node_t *root = kb_config_document_root(&inner);
        r->document = &inner;
        if (root)
            read_list(r, c, root);
        else
            kb_config_error(r, NULL, "the file is empty; it must hold a list, [] for no source");
        r->document = outer;
    }
    kb_config_document_finish(&inner);
}

void kb_config_read_sources(struct kb_config_reader *r, const struct kb_config_key *key,
                            yaml_node_t *node, void *base)
{
    (void)key;
    if (node->type == YAML_SEQUENCE_NODE)
        read_list(r, base, node);
    else
        read_list_file(r, base, node);
}
