/* Readers of single values: texts, numbers, durations, words, secrets, addresses, certificates.
 * Each either sets its field or reports what is wrong; a secret's value is never part of a report.
 * Reads the files that the configuration names. Main thread. */
#include "daemon/config_reader.h"

#include "base/auto.h"
#include "base/duration.h"
#include "base/mem.h"
#include "daemon/config_pem.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_FILE_MAX 4096
#define CA_FILE_MAX (1u << 20)

static void *field(const struct kb_config_key *key, void *base)
{
    return (char *)base + key->offset;
}

static void set_text(const struct kb_config_key *key, void *base, char *text)
{
    char **at = field(key, base);
    free(*at);
    *at = text;
}

/* One line of key->max bytes at most, or NULL. */
static const char *one_line(struct kb_config_reader *r, const struct kb_config_key *key,
                            const yaml_node_t *node)
{
    const char *text = kb_config_scalar(r, node, "a text");
    if (!text)
        return NULL;
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            kb_config_error(r, node, "must be one line without control characters");
            return NULL;
        }
    }
    if (key->max && strlen(text) > (size_t)key->max) {
        kb_config_error(r, node, "must be at most %lld bytes long", (long long)key->max);
        return NULL;
    }
    return text;
}

void kb_config_read_text(struct kb_config_reader *r, const struct kb_config_key *key,
                         yaml_node_t *node, void *base)
{
    const char *text = one_line(r, key, node);
    if (text)
        set_text(key, base, kb_strdup(text));
}

char *kb_config_resolve_path(struct kb_config_reader *r, const char *path)
{
    if (path[0] == '/' || strcmp(r->document->folder, ".") == 0)
        return kb_strdup(path);
    return kb_printf("%s/%s", strcmp(r->document->folder, "/") ? r->document->folder : "", path);
}

void kb_config_read_path(struct kb_config_reader *r, const struct kb_config_key *key,
                         yaml_node_t *node, void *base)
{
    const char *text = one_line(r, key, node);
    if (text)
        set_text(key, base, kb_config_resolve_path(r, text));
}

void kb_config_read_bool(struct kb_config_reader *r, const struct kb_config_key *key,
                         yaml_node_t *node, void *base)
{
    static const char *const words[2][9] = {
        {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"},
        {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"},
    };
    const char *text = kb_config_scalar(r, node, "true or false");
    if (!text)
        return;
    for (size_t v = 0; v < 2; v++) {
        for (size_t i = 0; i < 9; i++) {
            if (strcmp(text, words[v][i]) == 0) {
                *(bool *)field(key, base) = v == 1;
                return;
            }
        }
    }
    kb_config_error(r, node, "must be true or false, not %.60s", text);
}

bool kb_config_parse_number(const char *text, uint64_t max, uint64_t *value)
{
    uint64_t v = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v) || v > max)
            return false;
    }
    *value = v;
    return true;
}

static bool number(struct kb_config_reader *r, const struct kb_config_key *key,
                   const yaml_node_t *node, const char *what, uint64_t *value)
{
    const char *text = kb_config_scalar(r, node, what);
    if (!text)
        return false;
    if (kb_config_parse_number(text, (uint64_t)key->max, value) && *value >= (uint64_t)key->min)
        return true;
    kb_config_error(r, node, "must be %s from %lld to %lld, not %.60s", what, (long long)key->min,
                    (long long)key->max, text);
    return false;
}

void kb_config_read_unsigned(struct kb_config_reader *r, const struct kb_config_key *key,
                             yaml_node_t *node, void *base)
{
    uint64_t value;
    if (number(r, key, node, "a whole number", &value))
        *(unsigned *)field(key, base) = (unsigned)value;
}

void kb_config_read_port(struct kb_config_reader *r, const struct kb_config_key *key,
                         yaml_node_t *node, void *base)
{
    uint64_t value;
    if (number(r, key, node, "a port number", &value))
        *(uint16_t *)field(key, base) = (uint16_t)value;
}

void kb_config_read_duration(struct kb_config_reader *r, const struct kb_config_key *key,
                             yaml_node_t *node, void *base)
{
    const char *text = kb_config_scalar(r, node, "a duration");
    int64_t ms;
    if (!text)
        return;
    if (!kb_duration_parse(text, &ms)) {
        kb_config_error(r, node, "must be a duration such as 500ms, 60s, 5m or 2h, not %.60s",
                        text);
        return;
    }
    if (ms < key->min || ms > key->max) {
        char least[KB_DURATION_TEXT_SIZE], most[KB_DURATION_TEXT_SIZE];
        kb_duration_format(key->min, least);
        kb_duration_format(key->max, most);
        kb_config_error(r, node, "must be from %s to %s, not %.60s", least, most, text);
        return;
    }
    *(int64_t *)field(key, base) = ms;
}

void kb_config_read_choice(struct kb_config_reader *r, const struct kb_config_key *key,
                           yaml_node_t *node, void *base)
{
    const char *text = kb_config_scalar(r, node, "a word");
    if (!text)
        return;
    kb_auto(kb_buf_finish) struct kb_buf words = {0};
    for (const struct kb_config_choice *c = key->choices; c->word; c++) {
        if (strcmp(c->word, text) == 0) {
            memcpy(field(key, base), &c->value, sizeof c->value); /* an enum is an unsigned here */
            return;
        }
        kb_buf_printf(&words, "%s%s", words.len == 0 ? "" : c[1].word ? ", " : " or ", c->word);
    }
    kb_config_error(r, node, "must be %.*s, not %.60s", (int)words.len, (const char *)words.data,
                    text);
}

/* --- secrets ---------------------------------------------------------------------------------- */

static void secret_from_file(struct kb_config_reader *r, const yaml_node_t *node, const char *name,
                             struct kb_secret *secret)
{
    kb_auto(kb_config_wipe) struct kb_buf text = {0};
    kb_auto_free char *path = kb_config_resolve_path(r, name);
    const char *why = kb_config_read_file(path, SECRET_FILE_MAX, false, &text);
    if (!why && text.len && memchr(text.data, 0, text.len))
        why = "it contains a NUL character";
    if (!why) {
        if (text.len && text.data[text.len - 1] == '\n')
            text.len--;
        if (text.len && text.data[text.len - 1] == '\r')
            text.len--;
        if (!text.len)
            why = "it is empty";
    }
    if (why) {
        kb_config_error(r, node, "cannot use file %s: %s", path, why);
        return;
    }
    text.data[text.len] = '\0'; /* the buffer always has room for it */
    kb_secret_set(secret, (const char *)text.data);
}

/* {file: PATH} or {env: NAME} */
static void secret_from_mapping(struct kb_config_reader *r, const yaml_node_t *node,
                                struct kb_secret *secret)
{
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    const yaml_node_t *key = NULL, *value = NULL;
    if (node->data.mapping.pairs.top - pair == 1) {
        key = kb_config_node(r->document, pair->key);
        value = kb_config_node(r->document, pair->value);
    }
    const char *how =
        key && key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : "";
    bool file = strcmp(how, "file") == 0;
    if ((!file && strcmp(how, "env") != 0) || kb_config_is_empty(value)) {
        kb_config_error(r, node, "must be a text, {file: PATH} or {env: NAME}");
        return;
    }
    const char *name = kb_config_scalar(r, value, file ? "a path" : "a variable's name");
    if (!name)
        return;
    const char *text = file ? NULL : getenv(name);
    if (file)
        secret_from_file(r, node, name, secret);
    else if (!text || !*text)
        kb_config_error(r, node, "the environment variable %.100s is not set", name);
    else
        kb_secret_set(secret, text);
}

void kb_config_read_secret(struct kb_config_reader *r, const struct kb_config_key *key,
                           yaml_node_t *node, void *base)
{
    struct kb_secret *secret = field(key, base);
    if (node->type == YAML_MAPPING_NODE) {
        secret_from_mapping(r, node, secret);
    } else {
        const char *text = kb_config_scalar(r, node, "a text, {file: PATH} or {env: NAME}");
        if (text)
            kb_secret_set(secret, text);
    }
    const char *text = kb_secret_text(secret);
    bool lines = strpbrk(text, "\r\n") != NULL;
    if (lines)
        kb_config_error(r, node, "must be one line");
    else if (key->max && strlen(text) > (size_t)key->max)
        kb_config_error(r, node, "must be at most %lld bytes long", (long long)key->max);
    else
        return;
    kb_secret_finish(secret);
}

/* --- certificates ----------------------------------------------------------------------------- */

void kb_config_read_ca(struct kb_config_reader *r, const struct kb_config_key *key,
                       yaml_node_t *node, void *base)
{
    const char *text = kb_config_scalar(r, node, "PEM text or a path");
    if (!text)
        return;
    kb_auto(kb_buf_finish) struct kb_buf pem = {0};
    kb_auto_free char *path = NULL, *from = NULL;
    const char *why = NULL;
    if (strstr(text, "-----BEGIN")) {
        kb_buf_add_str(&pem, text);
    } else {
        path = kb_config_resolve_path(r, text);
        from = kb_printf("%s: ", path);
        why = strpbrk(path, "\r\n") ? "it is neither PEM nor a path"
                                    : kb_config_read_file(path, CA_FILE_MAX, false, &pem);
    }
    bool expired = false;
    kb_auto_free char *bad =
        why ? kb_strdup(why) : kb_pem_check_certificates(kb_buf_span(&pem), &expired);
    if (bad) {
        kb_config_error(r, node, "%s%s", from ? from : "", bad);
        return;
    }
    if (expired)
        kb_config_warn(r, node, "%sa certificate has expired", from ? from : "");
    set_text(key, base, kb_buf_steal(&pem));
}

/* --- addresses -------------------------------------------------------------------------------- */

const char *kb_config_check_host(const char *host)
{
    struct in6_addr v6;
    struct in_addr v4;
    if (!*host)
        return "is empty";
    if (strlen(host) > 253)
        return "is too long for a host name";
    if (strchr(host, ':')) {
        kb_auto_free char *address = kb_printf("%.*s", (int)strcspn(host, "%"), host);
        return inet_pton(AF_INET6, address, &v6) == 1 ? NULL : "is not an IPv6 address";
    }
    if (host[strspn(host, "0123456789.")] == '\0')
        return inet_pton(AF_INET, host, &v4) == 1 ? NULL : "is not an IPv4 address";
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    return host[strspn(host, letters)] ? "is neither a host name nor an IP address" : NULL;
}

const char *kb_config_parse_address(const char *text, char **host, uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    kb_auto_free char *name = NULL;
    uint64_t number_of_port;
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (!end || end[1] != ':')
            return "must be [IPV6]:PORT";
        name = kb_printf("%.*s", (int)(end - text - 1), text + 1);
        if (!strchr(name, ':'))
            return "has something else than an IPv6 address in brackets";
        colon = end + 1;
    } else if (!colon) {
        return "needs a port, as in 0.0.0.0:8443";
    } else {
        name = kb_printf("%.*s", (int)(colon - text), text);
        if (strchr(name, ':'))
            return "needs brackets around its IPv6 address, as in [::]:8443";
    }
    const char *why = *name && strcmp(name, "*") ? kb_config_check_host(name) : NULL;
    if (why)
        return why;
    if (!kb_config_parse_number(colon + 1, UINT16_MAX, &number_of_port))
        return "needs a port number from 0 to 65535 after the colon";
    free(*host);
    *host = name;
    name = NULL;
    *port = (uint16_t)number_of_port;
    return NULL;
}
