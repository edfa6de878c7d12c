/* Loads the configuration: reads the top of it by the schema, adds the defaults that depend on
 * other keys, and gives either a whole configuration or none. Main thread. */
#include "daemon/config.h"

#include "base/auto.h"
#include "base/mem.h"
#include "daemon/config_identity.h"
#include "daemon/config_schema.h"
#include "daemon/config_tls.h"

#include <stdlib.h>
#include <string.h>

/* --- listen ----------------------------------------------------------------------------------- */

void kb_config_read_address(struct kb_config_reader *r, const struct kb_config_key *key,
                            yaml_node_t *node, void *base)
{
    struct kb_config_listen *l = base;
    kb_config_read_text(r, key, node, base);
    const char *why = l->address ? kb_config_parse_address(l->address, &l->host, &l->port) : NULL;
    if (why)
        kb_config_error(r, node, "%.100s %s", l->address, why);
    if (l->host && strcmp(l->host, "*") == 0)
        l->host[0] = '\0';
}

void kb_config_read_accept(struct kb_config_reader *r, const struct kb_config_key *key,
                           yaml_node_t *node, void *base)
{
    static const struct kb_config_choice words[] = {
        {"spice", KB_ACCEPT_SPICE},
        {"http", KB_ACCEPT_HTTP},
        {"redirect", KB_ACCEPT_REDIRECT},
        {"websocket", 0},
        {"connect", 0},
        {"vnc", 0},
        {NULL, 0},
    };
    unsigned *accept = (unsigned *)(void *)((char *)base + key->offset);
    yaml_node_item_t *items;
    size_t count;
    if (!kb_config_items(r, node, &items, &count))
        return;
    if (count == 0)
        kb_config_error(r, node, "must name something to accept");
    *accept = 0;
    for (size_t i = 0; i < count; i++) {
        yaml_node_t *item = kb_config_node(r->document, items[i]);
        const char *text = kb_config_scalar(r, item, "a word");
        const struct kb_config_choice *c = words;
        while (text && c->word && strcmp(c->word, text) != 0)
            c++;
        if (text && !c->word)
            kb_config_error(r, item, "must be of spice, http and redirect, not %.60s", text);
        else if (text && !c->value)
            kb_config_error(r, item, "%s is not supported by this version", text);
        else if (text)
            *accept |= c->value;
    }
}

static void listen_finish(struct kb_config_listen *l)
{
    free(l->address);
    free(l->host);
}

static bool same_listen(const struct kb_config_listen *a, const struct kb_config_listen *b)
{
    return a->port && a->port == b->port && a->host && b->host && strcmp(a->host, b->host) == 0;
}

void kb_config_read_listen(struct kb_config_reader *r, const struct kb_config_key *key,
                           yaml_node_t *node, void *base)
{
    (void)key;
    struct kb_config *c = base;
    yaml_node_item_t *items;
    size_t count;
    if (!kb_config_items(r, node, &items, &count))
        return;
    if (count == 0)
        kb_config_error(r, node, "must have one entry at least");
    c->listens = kb_calloc(count, sizeof *c->listens);
    for (size_t i = 0; i < count && r->budget; i++) {
        yaml_node_t *item = kb_config_node(r->document, items[i]);
        struct kb_config_listen *l = &c->listens[c->listen_count++];
        size_t before = kb_config_enter_index(r, i);
        l->accept = KB_ACCEPT_SPICE | KB_ACCEPT_HTTP;
        kb_config_read_mapping(r, item, kb_config_listen.keys, kb_config_listen.count, l);
        for (size_t k = 0; k < i; k++)
            if (same_listen(l, &c->listens[k]))
                kb_config_error(r, item, "%.100s is there twice", l->address);
        kb_config_leave(r, before);
    }
}

/* --- other keys of the top -------------------------------------------------------------------- */

void kb_config_read_metrics(struct kb_config_reader *r, const struct kb_config_key *key,
                            yaml_node_t *node, void *base)
{
    (void)key;
    struct kb_config *c = base;
    const char *text = kb_config_scalar(r, node, "an address or off");
    if (!text)
        return;
    if (strcmp(text, "off") == 0) {
        free(c->metrics_host);
        c->metrics_host = NULL;
        return;
    }
    const char *why = kb_config_parse_address(text, &c->metrics_host, &c->metrics_port);
    if (why)
        kb_config_error(r, node, "%.100s %s", text, why);
    else if (strcmp(c->metrics_host, "*") == 0)
        c->metrics_host[0] = '\0';
}

void kb_config_read_url(struct kb_config_reader *r, const struct kb_config_key *key,
                        yaml_node_t *node, void *base)
{
    char **url = (char **)(void *)((char *)base + key->offset);
    kb_config_read_text(r, key, node, base);
    if (!*url)
        return;
    size_t scheme = strncmp(*url, "https://", 8) == 0  ? 8
                    : strncmp(*url, "http://", 7) == 0 ? 7
                                                       : 0;
    if (!scheme || strchr("/:", (*url)[scheme]) || strpbrk(*url, " \"'<>?#\\"))
        kb_config_error(r, node, "must be a URL such as https://desktops.example.org:8443");
    size_t len = strlen(*url);
    while (len > scheme && (*url)[len - 1] == '/')
        (*url)[--len] = '\0';
}

void kb_config_read_store(struct kb_config_reader *r, const struct kb_config_key *key,
                          yaml_node_t *node, void *base)
{
    struct kb_config *c = base;
    kb_config_read_text(r, key, node, base);
    if (!c->store_url || (strncmp(c->store_url, "sqlite:", 7) == 0 && c->store_url[7]))
        return;
    /* The URL itself stays unsaid: it may hold a password. */
    if (strncmp(c->store_url, "postgres", 8) == 0)
        kb_config_error(r, node, "PostgreSQL is not supported by this version");
    else
        kb_config_error(r, node, "must be sqlite:PATH");
}

/* --- defaults that depend on something -------------------------------------------------------- */

static char *machine_name(void)
{
    char name[256] = "";
    if (gethostname(name, sizeof name - 1) != 0 || !*name)
        return kb_strdup("localhost");
    return kb_strdup(name);
}

static const struct kb_config_listen *first_that(const struct kb_config *c, unsigned accept)
{
    for (size_t i = 0; i < c->listen_count; i++)
        if (c->listens[i].accept & accept)
            return &c->listens[i];
    return NULL;
}

static void default_listen(struct kb_config *c)
{
    if (c->listens)
        return;
    c->listens = kb_calloc(1, sizeof *c->listens);
    c->listens[0] = (struct kb_config_listen){
        .address = kb_strdup(":8443"),
        .host = kb_strdup(""),
        .port = 8443,
        .accept = KB_ACCEPT_SPICE | KB_ACCEPT_HTTP,
    };
    c->listen_count = 1;
}

static void default_public(struct kb_config_reader *r, struct kb_config *c, yaml_node_t *root)
{
    const struct kb_config_listen *spice = first_that(c, KB_ACCEPT_SPICE);
    const struct kb_config_listen *http = first_that(c, KB_ACCEPT_HTTP);
    if (!c->public.host)
        c->public.host = machine_name();
    if (!c->public.spice_port && spice) {
        c->public.spice_port = spice->port;
    } else if (!c->public.spice_port && first_that(c, ~0u)) { /* else listen itself is wrong */
        size_t before = kb_config_enter(r, "public.spice_port");
        kb_config_error(r, root, "is required, because no listener accepts spice");
        kb_config_leave(r, before);
    }
    if (c->public.url || (http && !http->port))
        return;
    unsigned port = http ? http->port : 443;
    bool v6 = strchr(c->public.host, ':') != NULL;
    c->public.url = kb_printf("https://%s%s%s", v6 ? "[" : "", c->public.host, v6 ? "]" : "");
    if (port != 443) {
        char *longer = kb_printf("%s:%u", c->public.url, port);
        free(c->public.url);
        c->public.url = longer;
    }
}

static void default_node(struct kb_config *c)
{
    if (c->node_name)
        return;
    c->node_name = machine_name();
    if (strlen(c->node_name) > 63) /* as bounded as one that is given */
        c->node_name[63] = '\0';
}

/* --- all of it -------------------------------------------------------------------------------- */

static void read_root(struct kb_config_reader *r, struct kb_config *c, yaml_node_t *root)
{
    /* An empty file is an empty mapping: all defaults, and sources missing. */
    kb_config_read_all_policies(r, root);
    kb_config_read_mapping(r, root, kb_config_top.keys, kb_config_top.count, c);
    default_listen(c);
    default_public(r, c, root);
    default_node(c);
    kb_config_check_tls(r, root, c);
    kb_config_check_identity(r, root, c);
}

struct kb_config *kb_config_parse(const char *file, struct kb_span text, struct kb_buf *problems)
{
    struct kb_config_problems found = {0};
    struct kb_config_document document;
    struct kb_config *c = kb_zalloc(sizeof *c);
    c->file = kb_strdup(file);
    c->policies = kb_policy_book_create();
    if (kb_config_document_parse(&document, file, 0, text, &found)) {
        struct kb_config_reader r = {
            .problems = &found,
            .document = &document,
            .documents = 1,
            .budget = KB_CONFIG_BUDGET,
            .policies = c->policies,
        };
        read_root(&r, c, kb_config_document_root(&document));
    }
    kb_config_document_finish(&document);
    c->warnings = (unsigned)found.warnings;
    if (found.errors) {
        kb_config_destroy(c);
        c = NULL;
    }
    kb_config_problems_print(&found, problems);
    kb_config_problems_finish(&found);
    return c;
}

struct kb_config *kb_config_load(const char *file, struct kb_buf *problems)
{
    kb_auto(kb_config_wipe) struct kb_buf text = {0};
    const char *why = kb_config_read_file(file, KB_CONFIG_FILE_MAX, true, &text);
    if (!why)
        return kb_config_parse(file, kb_buf_span(&text), problems);
    struct kb_config_problems found = {0};
    kb_config_problem_add(&found, KB_CONFIG_ERROR, file, 0, 0, "", NULL, why);
    kb_config_problems_print(&found, problems);
    kb_config_problems_finish(&found);
    return NULL;
}

void kb_config_destroy(struct kb_config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->listen_count; i++)
        listen_finish(&c->listens[i]);
    for (size_t i = 0; i < c->source_count; i++)
        kb_source_config_finish(&c->sources[i]);
    kb_identity_config_finish(&c->identity);
    kb_policy_book_unref(c->policies);
    free(c->listens);
    free(c->sources);
    free(c->file);
    free(c->metrics_host);
    free(c->public.host);
    free(c->public.url);
    for (size_t i = 0; i < KB_CONFIG_CERTIFICATES; i++) {
        free(c->tls.certificate[i]);
        free(c->tls.key[i]);
    }
    free(c->tls.ca);
    free(c->state_dir);
    free(c->runtime_dir);
    free(c->store_url);
    free(c->node_name);
    free(c);
}
