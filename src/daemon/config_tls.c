/* Checks the files that tls names: they can be read, parse, and belong together. They are read
 * again when they are used. Main thread. */
#include "daemon/config_tls.h"

#include "base/auto.h"
#include "base/mem.h"
#include "daemon/config_pem.h"

#include <stdlib.h>

#define PEM_FILE_MAX (1u << 20)

struct checked {
    struct kb_config_reader *r;
    yaml_node_t *section;
};

static yaml_node_t *value_of(struct checked *t, const char *key)
{
    yaml_node_t *value = kb_config_peek(t->r, t->section, key);
    return value ? value : t->section;
}

static void complain(struct checked *t, const char *key, const char *path, const char *why)
{
    size_t before = kb_config_enter(t->r, "tls");
    kb_config_enter(t->r, key);
    kb_config_error(t->r, value_of(t, key), "%s%s%s", path ? path : "", path ? ": " : "", why);
    kb_config_leave(t->r, before);
}

static bool read_pem(struct checked *t, const char *key, const char *path, struct kb_buf *pem)
{
    const char *why = kb_config_read_file(path, PEM_FILE_MAX, false, pem);
    if (why)
        complain(t, key, path, why);
    return !why;
}

static bool check_certificates(struct checked *t, const char *key, const char *path,
                               struct kb_buf *pem)
{
    bool expired = false;
    if (!read_pem(t, key, path, pem))
        return false;
    kb_auto_free char *bad = kb_pem_check_certificates(kb_buf_span(pem), &expired);
    if (bad)
        complain(t, key, path, bad);
    size_t before = kb_config_enter(t->r, "tls");
    kb_config_enter(t->r, key);
    if (expired)
        kb_config_warn(t->r, value_of(t, key), "%s: a certificate has expired", path);
    kb_config_leave(t->r, before);
    return !bad;
}

void kb_config_check_tls(struct kb_config_reader *r, yaml_node_t *node, const struct kb_config *c)
{
    struct checked t = {.r = r, .section = kb_config_peek(r, node, "tls")};
    kb_auto(kb_buf_finish) struct kb_buf certificate = {0};
    kb_auto(kb_buf_finish) struct kb_buf ca = {0};
    kb_auto(kb_config_wipe) struct kb_buf key = {0};
    bool good = false;
    if (c->tls.certificate && !c->tls.key)
        complain(&t, "key", NULL, "is required, because tls.certificate is set");
    if (!c->tls.certificate && c->tls.key)
        complain(&t, "certificate", NULL, "is required, because tls.key is set");
    if (!c->tls.certificate && !c->tls.key && c->tls.ca)
        complain(&t, "ca", NULL, "has no use without tls.certificate and tls.key");
    if (c->tls.certificate)
        good = check_certificates(&t, "certificate", c->tls.certificate, &certificate);
    if (c->tls.ca)
        check_certificates(&t, "ca", c->tls.ca, &ca);
    if (c->tls.key && read_pem(&t, "key", c->tls.key, &key)) {
        kb_auto_free char *bad = kb_pem_check_key(
            kb_buf_span(&key), good ? kb_buf_span(&certificate) : kb_span(NULL, 0));
        if (bad)
            complain(&t, "key", c->tls.key, bad);
    }
}
