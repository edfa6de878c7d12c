/* Reads `policies` and what attaches them to sources and consoles. A policy that cannot be read as
 * it is meant refuses the whole configuration, also inside a source: a session must never carry
 * more because somebody mistyped. Reads the files of time zones. Main thread. */
#include "daemon/config_schema.h"

#include "base/auto.h"
#include "base/duration.h"
#include "base/mem.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>

#define ZONES "/usr/share/zoneinfo"
#define ZONE_MAX (1u << 20)
#define NAMES_MAX 64
#define NAME_MAX_BYTES 255

/* --- values ----------------------------------------------------------------------------------- */

/* A text, or a list of them, each with what; at most max. NULL after a problem. Freed by the
 * caller, not so the texts. */
static const char **texts(struct kb_config_reader *r, yaml_node_t *node, size_t max, size_t *count)
{
    yaml_node_item_t *items = NULL;
    *count = 1;
    if (node->type == YAML_SEQUENCE_NODE && !kb_config_items(r, node, &items, count))
        return NULL;
    if (*count > max) {
        kb_config_error(r, node, "must have at most %zu entries", max);
        return NULL;
    }
    const char **list = kb_calloc(*count + 1, sizeof *list);
    for (size_t i = 0; i < *count; i++) {
        list[i] = kb_config_scalar(r, items ? kb_config_node(r->document, items[i]) : node,
                                   "a text or a list of texts");
        if (list[i])
            continue;
        free(list);
        return NULL;
    }
    return list;
}

static void read_names(struct kb_config_reader *r, yaml_node_t *node, struct kb_names *n)
{
    size_t count;
    kb_auto_free const char **list = texts(r, node, NAMES_MAX, &count);
    if (!list)
        return;
    const char **entries = kb_calloc(count + 1, sizeof *entries);
    n->entries = entries;
    for (size_t i = 0; i < count; i++) {
        if (!*list[i] || strcmp(list[i], "!") == 0 || strlen(list[i]) > NAME_MAX_BYTES)
            kb_config_error(r, node, "a pattern has 1 to %d bytes", NAME_MAX_BYTES);
        entries[n->count++] = kb_strdup(list[i]);
    }
}

static void read_filter(struct kb_config_reader *r, yaml_node_t *node, struct kb_usb_filter *f)
{
    size_t count;
    kb_auto_free const char **list = texts(r, node, KB_USB_FILTER_MAX, &count);
    kb_auto(kb_buf_finish) struct kb_buf text = {0};
    for (size_t i = 0; list && i < count; i++)
        kb_buf_printf(&text, "%s%s", i ? "|" : "", list[i]);
    kb_auto_free char *all = kb_buf_steal(&text);
    const char *why = list ? kb_usb_filter_parse(all ? all : "", f) : NULL;
    if (why)
        kb_config_error(r, node, "is not a filter of USB devices: %s", why);
}

static void read_size(struct kb_config_reader *r, const yaml_node_t *node, bool rate, uint64_t *n)
{
    const char *text = kb_config_scalar(r, node, "an amount of bytes");
    if (text && !kb_size_parse(text, rate, n))
        kb_config_error(r, node, "must be %s, not %.60s",
                        rate ? "bytes a second such as 500kB, 2MiB or 10Mbit"
                             : "an amount of bytes such as 4096, 64KiB or 10MB",
                        text);
}

static void read_level(struct kb_config_reader *r, const struct kb_config_key *key,
                       yaml_node_t *node, uint8_t *level)
{
    struct kb_config_key whole = *key;
    unsigned value = *level;
    whole.offset = 0;
    kb_config_read_choice(r, &whole, node, &value);
    *level = (uint8_t)value;
}

void kb_config_read_policy_field(struct kb_config_reader *r, const struct kb_config_key *key,
                                 yaml_node_t *node, void *base)
{
    struct kb_policy *p = ((struct kb_config_policy_draft *)base)->policy;
    enum kb_field_id f = kb_policy_field_find(key->path);
    if (f == KB_FIELD_COUNT)
        abort(); /* the tables differ */
    struct kb_config_key in_limits = *key;
    in_limits.offset = kb_policy_fields[f].offset;
    void *at = (char *)&p->limits + kb_policy_fields[f].offset;
    switch (kb_policy_fields[f].kind) {
    case KB_FIELD_ALLOW:
    case KB_FIELD_FORBID:
        kb_config_read_bool(r, &in_limits, node, &p->limits);
        break;
    case KB_FIELD_LEVEL:
        read_level(r, key, node, at);
        break;
    case KB_FIELD_NUMBER:
        kb_config_read_unsigned(r, &in_limits, node, &p->limits);
        break;
    case KB_FIELD_SIZE:
    case KB_FIELD_RATE:
        read_size(r, node, kb_policy_fields[f].kind == KB_FIELD_RATE, at);
        break;
    case KB_FIELD_DURATION:
        kb_config_read_duration(r, &in_limits, node, &p->limits);
        break;
    case KB_FIELD_NAMES:
        read_names(r, node, f == KB_HAS_PORTS ? &p->ports : &p->files_names);
        break;
    case KB_FIELD_FILTER:
        read_filter(r, node, &p->usb_filter);
        break;
    case KB_FIELD_HOURS:
        abort(); /* has readers of its own */
    }
    kb_policy_say(p, f);
}

void kb_config_read_hours(struct kb_config_reader *r, const struct kb_config_key *key,
                          yaml_node_t *node, void *base)
{
    (void)key;
    struct kb_policy *p = ((struct kb_config_policy_draft *)base)->policy;
    size_t count;
    kb_auto_free const char **list = texts(r, node, KB_HOURS_WINDOWS, &count);
    for (size_t i = 0; list && i < count; i++) {
        const char *why = kb_hours_add(&p->hours, list[i]);
        if (why)
            kb_config_error(r, node, "\"%.60s\" %s", list[i], why);
    }
    if (list && count == 0)
        kb_config_error(r, node, "must have one entry at least");
    kb_policy_say(p, KB_HAS_HOURS);
}

void kb_config_read_zone(struct kb_config_reader *r, const struct kb_config_key *key,
                         yaml_node_t *node, void *base)
{
    (void)key;
    struct kb_hours *h = &((struct kb_config_policy_draft *)base)->policy->hours;
    const char *name = kb_config_scalar(r, node, "a time zone");
    if (!name)
        return;
    size_t good =
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/");
    kb_auto_free char *path = kb_printf(ZONES "/%.100s", name);
    kb_auto(kb_buf_finish) struct kb_buf file = {0};
    const char *why = "there is none of that name";
    if (!name[good] && name[0] != '/' && good <= 100)
        why = kb_config_read_file(path, ZONE_MAX, false, &file);
    struct kb_zone *zone = why ? NULL : kb_zone_parse(kb_buf_span(&file));
    if (!zone)
        kb_config_error(r, node, "is no time zone such as Europe/Berlin in " ZONES ": %.60s%s%s",
                        name, why ? ": " : "", why ? why : "");
    kb_zone_destroy(h->zone);
    free(h->zone_name);
    h->zone = zone;
    h->zone_name = kb_strdup(name);
}

/* --- policies --------------------------------------------------------------------------------- */

static bool is_name(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return len > 0 && !name[len] && len < KB_POLICY_NAME_SIZE;
}

static void read_policy(struct kb_config_reader *r, const char *name, yaml_node_t *node)
{
    struct kb_config_policy_draft draft = {.policy = kb_policy_create(name)};
    kb_config_read_mapping(r, kb_config_is_empty(node) ? NULL : node, kb_config_policy.keys,
                           kb_config_policy.count, &draft);
    if (draft.policy->hours.zone_name && !draft.policy->hours.count)
        kb_config_error(r, node, "hours.zone says nothing without hours.open");
    draft.policy->observe = draft.mode == 1;
    kb_policy_book_add(r->policies, draft.policy);
}

void kb_config_read_all_policies(struct kb_config_reader *r, yaml_node_t *root)
{
    yaml_node_t *node = kb_config_peek(r, root, "policies");
    if (!node || kb_config_is_empty(node))
        return;
    size_t before = kb_config_enter(r, "policies");
    if (node->type != YAML_MAPPING_NODE) {
        kb_config_error(r, node, "must be a mapping of names to policies");
        kb_config_leave(r, before);
        return;
    }
    bool seen_default = false;
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
         p++) {
        yaml_node_t *key = kb_config_node(r->document, p->key);
        if (!kb_config_spend(r, node))
            break;
        const char *name = kb_config_scalar(r, key, "the name of a policy");
        if (!name)
            continue;
        bool is_default = strcmp(name, "default") == 0;
        size_t inside = kb_config_enter(r, name);
        if (!is_name(name))
            kb_config_error(r, key, "a policy's name has 1 to %d letters, digits, ., _ or -",
                            KB_POLICY_NAME_SIZE - 1);
        else if (is_default ? seen_default : kb_policy_book_find(r->policies, name) != NULL)
            kb_config_error(r, key, "the policy is there twice");
        else
            read_policy(r, name, kb_config_node(r->document, p->value));
        seen_default = seen_default || is_default;
        kb_config_leave(r, inside);
    }
    kb_config_leave(r, before);
}

void kb_config_read_policies(struct kb_config_reader *r, const struct kb_config_key *key,
                             yaml_node_t *node, void *base)
{
    /* Read before the rest by kb_config_read_all_policies. */
    (void)r;
    (void)key;
    (void)node;
    (void)base;
}

/* --- attachments ------------------------------------------------------------------------------ */

/* Errors in here are the configuration's, not its source's. */
static bool leave_source(struct kb_config_reader *r)
{
    bool in_source = r->in_source;
    r->in_source = false;
    return in_source;
}

void kb_config_read_policy_name(struct kb_config_reader *r, const struct kb_config_key *key,
                                yaml_node_t *node, void *base)
{
    bool in_source = leave_source(r);
    char **at = (char **)(void *)((char *)base + key->offset);
    const char *name = kb_config_scalar(r, node, "the name of a policy");
    if (name && !kb_policy_book_find(r->policies, name)) {
        kb_config_error(r, node, "policies has no %.100s", name);
    } else if (name) {
        free(*at);
        *at = kb_strdup(name);
    }
    r->in_source = in_source;
}

void kb_config_read_source_policies(struct kb_config_reader *r, const struct kb_config_key *key,
                                    yaml_node_t *node, void *base)
{
    (void)key;
    struct kb_config_source_draft *draft = base;
    bool in_source = leave_source(r);
    yaml_node_item_t *items;
    size_t count = 0;
    if (kb_config_items(r, node, &items, &count))
        draft->attached = kb_calloc(count + 1, sizeof *draft->attached);
    for (size_t i = 0; draft->attached && i < count && r->budget; i++) {
        size_t before = kb_config_enter_index(r, i);
        kb_config_read_mapping(r, kb_config_node(r->document, items[i]),
                               kb_config_source_policy.keys, kb_config_source_policy.count,
                               &draft->attached[draft->attached_count++]);
        kb_config_leave(r, before);
    }
    r->in_source = in_source;
}

void kb_config_attach_policies(struct kb_config_reader *r, struct kb_config_source_draft *draft)
{
    const char *source = draft->config.name ? draft->config.name : r->source;
    if (draft->policy && source)
        kb_policy_book_attach(r->policies, draft->policy, source, NULL, NULL);
    for (size_t i = 0; i < draft->attached_count; i++) {
        struct kb_attachment *a = &draft->attached[i];
        if (source && a->policy && a->consoles)
            kb_policy_book_attach(r->policies, a->policy, source, NULL, a->consoles);
        free(a->policy);
        free(a->consoles);
    }
    for (size_t i = 0; i < draft->config.console_count; i++) {
        const struct kb_static_console *c = &draft->config.consoles[i];
        if (source && c->policy)
            kb_policy_book_attach(r->policies, c->policy, source, c->uuid, NULL);
    }
    free(draft->policy);
    free(draft->attached);
    draft->policy = NULL;
    draft->attached = NULL;
    draft->attached_count = 0;
}
