/* Reads the paths that tls names, and checks the files: they can be read, parse, and belong
 * together. They are read again when they are used. Main thread. */
#include "daemon/config_tls.h"

#include "base/auto.h"
#include "base/mem.h"
#include "daemon/config_pem.h"
#include "daemon/config_schema.h"

#include <stdlib.h>

#define PEM_FILE_MAX (1u << 20)

void kb_config_read_pair(struct kb_config_reader *r, const struct kb_config_key *key,
                         yaml_node_t *node, void *base)
{
    yaml_node_item_t *items;
    size_t count;
    if (node->type != YAML_SEQUENCE_NODE) {
        kb_config_read_path(r, key, node, base);
        return;
    }
    if (!kb_config_items(r, node, &items, &count))
        return;
    if (count == 0 || count > KB_CONFIG_CERTIFICATES) {
        kb_config_error(r, node, "must be one path or a list of two");
        return;
    }
    struct kb_config_key one = *key;
    for (size_t i = 0; i < count; i++, one.offset += sizeof(char *)) {
        size_t before = kb_config_enter_index(r, i);
        kb_config_read_path(r, &one, kb_config_node(r->document, items[i]), base);
        kb_config_leave(r, before);
    }
}

struct checked {
    struct kb_config_reader *r;
    yaml_node_t *section;
    struct kb_buf certificates[KB_CONFIG_CERTIFICATES]; /* what was read, if it is good */
};

/* Reports at a key of the section, or at one entry of it where it is a list. */
static void report(struct checked *t, const char *key, size_t i, bool warning, const char *path,
                   const char *why)
{
    struct kb_config_reader *r = t->r;
    yaml_node_t *at = kb_config_peek(r, t->section, key);
    size_t before = kb_config_enter(r, "tls"), entries = 0;
    kb_config_enter(r, key);
    yaml_node_item_t *items;
    if (at && at->type == YAML_SEQUENCE_NODE && kb_config_items(r, at, &items, &entries) &&
        i < entries) {
        kb_config_enter_index(r, i);
        at = kb_config_node(r->document, items[i]);
    }
    (warning ? kb_config_warn : kb_config_error)(r, at ? at : t->section, "%s%s%s",
                                                 path ? path : "", path ? ": " : "", why);
    kb_config_leave(r, before);
}

static bool read_pem(struct checked *t, const char *key, size_t i, const char *path,
                     struct kb_buf *pem)
{
    const char *why = kb_config_read_file(path, PEM_FILE_MAX, false, pem);
    if (why)
        report(t, key, i, false, path, why);
    return !why;
}

static bool check_certificates(struct checked *t, const char *key, size_t i, const char *path,
                               struct kb_buf *pem)
{
    bool expired = false;
    if (!read_pem(t, key, i, path, pem))
        return false;
    kb_auto_free char *bad = kb_pem_check_certificates(kb_buf_span(pem), &expired);
    if (bad)
        report(t, key, i, false, path, bad);
    if (expired)
        report(t, key, i, true, path, "a certificate has expired");
    return !bad;
}

static void check_key(struct checked *t, size_t i, const char *path)
{
    kb_auto(kb_config_wipe) struct kb_buf key = {0};
    if (!read_pem(t, "key", i, path, &key))
        return;
    const struct kb_buf *x = &t->certificates[i];
    kb_auto_free char *bad =
        kb_pem_check_key(kb_buf_span(&key), x->len ? kb_buf_span(x) : kb_span(NULL, 0));
    if (bad)
        report(t, "key", i, false, path, bad);
}

/* A certificate and its key. */
static void check_number(struct checked *t, const struct kb_config *c, size_t i)
{
    const char *certificate = c->tls.certificate[i], *key = c->tls.key[i];
    struct kb_buf *text = &t->certificates[i];
    if (certificate && !key)
        report(t, "key", i, false, NULL,
               i ? "needs as many entries as tls.certificate has"
                 : "is required, because tls.certificate is set");
    if (!certificate && key)
        report(t, "certificate", i, false, NULL,
               i ? "needs as many entries as tls.key has" : "is required, because tls.key is set");
    if (certificate && !check_certificates(t, "certificate", i, certificate, text))
        kb_buf_finish(text);
    if (key)
        check_key(t, i, key);
}

void kb_config_check_tls(struct kb_config_reader *r, yaml_node_t *node, const struct kb_config *c)
{
    struct checked t = {.r = r, .section = kb_config_peek(r, node, "tls")};
    kb_auto(kb_buf_finish) struct kb_buf ca = {0};
    for (size_t i = 0; i < KB_CONFIG_CERTIFICATES; i++)
        check_number(&t, c, i);
    kb_auto_free char *bad =
        kb_pem_check_pair(kb_buf_span(&t.certificates[0]), kb_buf_span(&t.certificates[1]));
    if (bad)
        report(&t, "certificate", KB_CONFIG_CERTIFICATES, false, NULL, bad);
    if (c->tls.ca && !c->tls.certificate[0] && !c->tls.key[0])
        report(&t, "ca", 0, false, NULL, "has no use without tls.certificate and tls.key");
    if (c->tls.ca)
        check_certificates(&t, "ca", 0, c->tls.ca, &ca);
    for (size_t i = 0; i < KB_CONFIG_CERTIFICATES; i++)
        kb_buf_finish(&t.certificates[i]);
}
