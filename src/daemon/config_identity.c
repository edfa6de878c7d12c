/* Reads who may do what: lists of names, the rules of identity.roles, and what only the section as
 * a whole can tell. Main thread. */
#include "daemon/config_identity.h"

#include "base/auto.h"
#include "base/mem.h"
#include "daemon/config_schema.h"

#include <stdlib.h>
#include <string.h>

#define LIST_MAX 1000

static void set_text(const struct kb_config_key *key, void *base, char *text)
{
    char **at = (char **)(void *)((char *)base + key->offset);
    free(*at);
    *at = text;
}

static const char *entry(struct kb_config_reader *r, const struct kb_config_key *key,
                         const yaml_node_t *node)
{
    const char *text = kb_config_scalar(r, node, "a text");
    if (!text)
        return NULL;
    bool good = *text && strlen(text) <= (size_t)key->max;
    for (const char *c = text; *c; c++)
        good = good && (unsigned char)*c >= 0x20 && *c != 0x7f;
    if (!good)
        kb_config_error(r, node, "must be a line of 1 to %lld bytes", (long long)key->max);
    return good ? text : NULL;
}

/* A text or a list of them, into a text with one a line. */
void kb_config_read_texts(struct kb_config_reader *r, const struct kb_config_key *key,
                          yaml_node_t *node, void *base)
{
    kb_auto(kb_buf_finish) struct kb_buf lines = {0};
    yaml_node_item_t *items = NULL;
    size_t count = 1;
    if (node->type == YAML_SEQUENCE_NODE && !kb_config_items(r, node, &items, &count))
        return;
    if (count == 0 || count > LIST_MAX) {
        kb_config_error(r, node, "must have 1 to %d entries; leave the key out for none", LIST_MAX);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = entry(r, key, items ? kb_config_node(r->document, items[i]) : node);
        if (text)
            kb_buf_printf(&lines, "%s%s", lines.len ? "\n" : "", text);
    }
    set_text(key, base, kb_buf_steal(&lines));
}

void kb_config_read_roles(struct kb_config_reader *r, const struct kb_config_key *key,
                          yaml_node_t *node, void *base)
{
    (void)key;
    struct kb_identity_config *c = &((struct kb_config *)base)->identity;
    yaml_node_item_t *items;
    size_t count;
    if (!kb_config_items(r, node, &items, &count))
        return;
    c->rules = kb_calloc(count + 1, sizeof *c->rules);
    for (size_t i = 0; i < count && r->budget; i++) {
        yaml_node_t *item = kb_config_node(r->document, items[i]);
        struct kb_role_rule *rule = &c->rules[c->rule_count++];
        size_t before = kb_config_enter_index(r, i);
        kb_config_read_mapping(r, item, kb_config_role.keys, kb_config_role.count, rule);
        if (item->type == YAML_MAPPING_NODE && !rule->users && !rule->groups && !rule->keys)
            kb_config_error(r, item, "names nobody: it needs users, groups or keys");
        kb_config_leave(r, before);
    }
}

void kb_config_read_group_policies(struct kb_config_reader *r, const struct kb_config_key *key,
                                   yaml_node_t *node, void *base)
{
    (void)key;
    struct kb_identity_config *c = &((struct kb_config *)base)->identity;
    yaml_node_item_t *items;
    size_t count;
    if (!kb_config_items(r, node, &items, &count))
        return;
    c->group_policies = kb_calloc(count + 1, sizeof *c->group_policies);
    for (size_t i = 0; i < count && r->budget; i++) {
        size_t before = kb_config_enter_index(r, i);
        kb_config_read_mapping(r, kb_config_node(r->document, items[i]),
                               kb_config_group_policy.keys, kb_config_group_policy.count,
                               &c->group_policies[c->group_policy_count++]);
        kb_config_leave(r, before);
    }
}

/* An address of a provider; what follows the host stays, but no slash at the end. */
static bool read_url(struct kb_config_reader *r, const struct kb_config_key *key, yaml_node_t *node,
                     void *base, bool plain_too)
{
    char **url = (char **)(void *)((char *)base + key->offset);
    kb_config_read_text(r, key, node, base);
    if (!*url)
        return false;
    size_t scheme = strncmp(*url, "https://", 8) == 0               ? 8
                    : plain_too && strncmp(*url, "http://", 7) == 0 ? 7
                                                                    : 0;
    if (!scheme || !(*url)[scheme] || strchr("/:", (*url)[scheme]) ||
        strpbrk(*url + scheme, "@ \"'<>?#\\")) {
        kb_config_error(r, node, "must be a URL such as https://login.example.org");
        return false;
    }
    return true;
}

void kb_config_read_keystone_url(struct kb_config_reader *r, const struct kb_config_key *key,
                                 yaml_node_t *node, void *base)
{
    char **url = (char **)(void *)((char *)base + key->offset);
    if (!read_url(r, key, node, base, true))
        return;
    if (strncmp(*url, "http://", 7) == 0)
        kb_config_warn(r, node, "passwords travel in clear: use https");
    size_t len = strlen(*url);
    while (len > 8 && (*url)[len - 1] == '/')
        (*url)[--len] = '\0';
}

/* It is compared letter by letter with what the provider says of itself, so it stays as written. */
void kb_config_read_issuer(struct kb_config_reader *r, const struct kb_config_key *key,
                           yaml_node_t *node, void *base)
{
    read_url(r, key, node, base, false);
}

/* --- all of it -------------------------------------------------------------------------------- */

static void complain(struct kb_config_reader *r, const yaml_node_t *at, const char *path,
                     const char *why)
{
    size_t before = kb_config_enter(r, path);
    kb_config_error(r, at, "%s", why);
    kb_config_leave(r, before);
}

static bool is_source(const struct kb_config *c, const char *name)
{
    for (size_t i = 0; i < c->source_count; i++)
        if (c->sources[i].name && strcmp(c->sources[i].name, name) == 0)
            return true;
    return false;
}

/* A misspelt source would give a role nowhere, silently. */
static void check_sources(struct kb_config_reader *r, const yaml_node_t *at,
                          const struct kb_config *c)
{
    for (size_t i = 0; i < c->identity.rule_count; i++) {
        kb_auto_free char *names = kb_strdup(c->identity.rules[i].scope.sources);
        char *rest = names;
        for (char *name; (name = strsep(&rest, "\n"));) {
            if (is_source(c, name))
                continue;
            size_t before = kb_config_enter(r, "identity.roles");
            kb_config_enter_index(r, i);
            kb_config_enter(r, "sources");
            kb_config_warn(r, at, "there is no source %.100s", name);
            kb_config_leave(r, before);
        }
    }
}

void kb_config_check_identity(struct kb_config_reader *r, yaml_node_t *node,
                              const struct kb_config *c)
{
    const struct kb_identity_config *i = &c->identity;
    yaml_node_t *section = kb_config_peek(r, node, "identity");
    yaml_node_t *keystone = section ? kb_config_peek(r, section, "keystone") : NULL;
    yaml_node_t *oidc = section ? kb_config_peek(r, section, "oidc") : NULL;
    if (!i->keystone.url && (i->keystone.access_group || i->keystone.admin_group || i->keystone.ca))
        complain(r, keystone, "identity.keystone.url", "is required in this section");
    if (i->keystone.url && !i->keystone.verify && i->keystone.ca)
        complain(r, keystone, "identity.keystone.ca", "has no use with verify: false");
    if (!i->oidc.issuer && (i->oidc.client_id || i->oidc.client_secret.text || i->oidc.ca))
        complain(r, oidc, "identity.oidc.issuer", "is required in this section");
    if (i->oidc.issuer && !i->oidc.client_id)
        complain(r, oidc, "identity.oidc.client_id", "is required in this section");
    if (section)
        check_sources(r, kb_config_peek(r, section, "roles"), c);
}
