/* Reads the keys that a driver of a source declares (source/driver.h), and the map of addresses
 * that every source may have. Main thread. */
#include "daemon/config_schema.h"

#include "base/auto.h"
#include "base/mem.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#define SETTING(member) offsetof(struct kb_setting, member)

static char **text_at(const struct kb_config_key *key, void *base)
{
    return (char **)(void *)((char *)base + key->offset);
}

/* http:// or https://, a host, no user, query or fragment; ends without a slash. */
static void read_url(struct kb_config_reader *r, const struct kb_config_key *key, yaml_node_t *node,
                     void *base)
{
    kb_config_read_text(r, key, node, base);
    char *text = *text_at(key, base);
    if (!text)
        return;
    CURLU *u = curl_url();
    char *scheme = NULL, *user = NULL, *query = NULL, *fragment = NULL;
    bool good = curl_url_set(u, CURLUPART_URL, text, 0) == CURLUE_OK &&
                curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                (strcmp(scheme, "https") == 0 || strcmp(scheme, "http") == 0);
    curl_url_get(u, CURLUPART_USER, &user, 0);
    curl_url_get(u, CURLUPART_QUERY, &query, 0);
    curl_url_get(u, CURLUPART_FRAGMENT, &fragment, 0);
    if (!good)
        kb_config_error(r, node, "must be a URL that starts with https:// or http://");
    else if (user || fragment)
        kb_config_error(r, node, "must be a URL without a user and without a #");
    else if (query && !key->min) /* of drivers that allow one */
        kb_config_error(r, node, "must be a URL without a query");
    for (size_t len = strlen(text); len && text[len - 1] == '/';)
        text[--len] = '\0';
    curl_free(scheme);
    curl_free(user);
    curl_free(query);
    curl_free(fragment);
    curl_url_cleanup(u);
}

static bool is_word(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

/* Upstream Kerbside's `verify`: true, false, or a path to a CA. The flag's offset is the key's, the
 * CA goes into the text of the same setting. */
static void read_verify(struct kb_config_reader *r, const struct kb_config_key *key,
                        yaml_node_t *node, void *base)
{
    static const char *const words[] = {"true", "True", "TRUE",  "yes",   "Yes",   "YES", "on",
                                        "On",   "ON",   "false", "False", "FALSE", "no",  "No",
                                        "NO",   "off",  "Off",   "OFF",   NULL};
    const char *text = kb_config_scalar(r, node, "true, false or a path to a CA");
    if (!text)
        return;
    if (is_word(text, words)) {
        kb_config_read_bool(r, key, node, base);
        return;
    }
    struct kb_config_key ca = *key;
    ca.offset = key->offset - SETTING(flag) + SETTING(text);
    kb_config_read_ca(r, &ca, node, base);
    *(bool *)((char *)base + key->offset) = true;
}

struct kind {
    kb_config_read *read;
    size_t member;
};

static struct kind kind_of(enum kb_key_kind kind)
{
    switch (kind) {
    case KB_KEY_URL:
        return (struct kind){read_url, SETTING(text)};
    case KB_KEY_PATH:
        return (struct kind){kb_config_read_path, SETTING(text)};
    case KB_KEY_SECRET:
        return (struct kind){kb_config_read_secret, SETTING(secret)};
    case KB_KEY_BOOL:
        return (struct kind){kb_config_read_bool, SETTING(flag)};
    case KB_KEY_PORT:
        return (struct kind){kb_config_read_port, SETTING(port)};
    case KB_KEY_DURATION:
        return (struct kind){kb_config_read_duration, SETTING(number)};
    case KB_KEY_WORD:
        return (struct kind){kb_config_read_choice, SETTING(word)};
    case KB_KEY_VERIFY:
        return (struct kind){read_verify, SETTING(flag)};
    case KB_KEY_TEXT:
        break;
    }
    return (struct kind){kb_config_read_text, SETTING(text)};
}

size_t kb_config_driver_keys(const struct kb_source_driver *driver, struct kb_config_key *keys,
                             struct kb_config_choice choices[KB_CONFIG_CHOICES_MAX])
{
    size_t choice = 0;
    for (size_t i = 0; i < driver->key_count; i++) {
        const struct kb_source_key *from = &driver->keys[i];
        struct kind kind = kind_of(from->kind);
        keys[i] = (struct kb_config_key){
            .path = from->name,
            .read = kind.read,
            .offset = offsetof(struct kb_config_source_draft, settings) +
                      i * sizeof(struct kb_setting) + kind.member,
            .fallback = from->fallback,
            .min = from->min,
            .max = from->max,
            .required = from->required,
        };
        if (from->kind == KB_KEY_PORT && !from->max) {
            keys[i].min = 1;
            keys[i].max = 65535;
        }
        if (from->kind != KB_KEY_WORD)
            continue;
        keys[i].choices = &choices[choice];
        for (unsigned w = 0; from->words[w]; w++)
            choices[choice++] = (struct kb_config_choice){from->words[w], w};
        choices[choice++] = (struct kb_config_choice){NULL, 0};
    }
    return driver->key_count;
}

void kb_config_take_settings(struct kb_config_source_draft *draft)
{
    struct kb_source_config *c = &draft->config;
    c->setting_count = draft->driver ? draft->driver->key_count : 0;
    c->settings = kb_calloc(c->setting_count, sizeof *c->settings);
    memcpy(c->settings, draft->settings, c->setting_count * sizeof *c->settings);
    memset(draft->settings, 0, sizeof draft->settings);
    for (size_t i = 0; i < c->setting_count; i++) {
        if (draft->driver->keys[i].kind != KB_KEY_VERIFY || !c->settings[i].text || c->ca_cert)
            continue;
        c->ca_cert = c->settings[i].text;
        c->settings[i].text = NULL;
    }
}

/* --- address_map ------------------------------------------------------------------------------ */

static void read_rule(struct kb_config_reader *r, struct kb_source_config *c, yaml_node_t *from,
                      yaml_node_t *to)
{
    const char *left = kb_config_scalar(r, from, "a host");
    const char *right = left ? kb_config_scalar(r, to, "a host") : NULL;
    if (!left || !right)
        return;
    struct kb_address_rule *rule = &c->address_map[c->address_count];
    *rule = (struct kb_address_rule){kb_strdup(left), kb_strdup(right)};
    c->address_count++;
    const char *why = kb_address_rule_check(rule);
    if (!why && !strchr(right, '/'))
        why = kb_config_check_host(right);
    if (why)
        kb_config_error(r, to, "%.100s: %.100s %s", left, right, why);
}

void kb_config_read_address_map(struct kb_config_reader *r, const struct kb_config_key *key,
                                yaml_node_t *node, void *base)
{
    (void)key;
    struct kb_source_config *c = &((struct kb_config_source_draft *)base)->config;
    if (node->type != YAML_MAPPING_NODE) {
        kb_config_error(r, node, "must be a map of hosts to hosts");
        return;
    }
    yaml_node_pair_t *first = node->data.mapping.pairs.start, *last = node->data.mapping.pairs.top;
    c->address_map = kb_calloc((size_t)(last - first), sizeof *c->address_map);
    for (yaml_node_pair_t *p = first; p < last && kb_config_spend(r, node); p++)
        read_rule(r, c, kb_config_node(r->document, p->key), kb_config_node(r->document, p->value));
}
