/* Reads what libvirt says of a domain, and writes the one thing that is changed in it: the password
 * of its graphics. Any thread. */
#include "source/libvirt_domain.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ELEMENT "<graphics"

/* --- XML -------------------------------------------------------------------------------------- */

/* Of libvirt itself, which is in no namespace. */
static bool is(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && !node->ns &&
           strcmp((const char *)node->name, name) == 0;
}

static xmlNode *child(const xmlNode *node, const char *name)
{
    for (xmlNode *n = node ? node->children : NULL; n; n = n->next)
        if (is(n, name))
            return n;
    return NULL;
}

/* An attribute that is there and not empty, to be freed; else NULL. */
static char *attribute(const xmlNode *node, const char *name)
{
    xmlChar *value = node ? xmlGetNoNsProp(node, (const xmlChar *)name) : NULL;
    char *copy = value && *value ? kb_strdup((const char *)value) : NULL;
    xmlFree(value);
    return copy;
}

static bool has(const xmlNode *node, const char *name, const char *wanted)
{
    kb_auto_free char *value = attribute(node, name);
    return value && strcmp(value, wanted) == 0;
}

/* -1 and 0 stand for a port that there is not. */
static uint16_t port(const xmlNode *node, const char *name)
{
    kb_auto_free char *value = attribute(node, name);
    size_t digits = value ? strspn(value, "0123456789") : 0;
    if (!digits || digits > 5 || value[digits] != '\0')
        return 0;
    unsigned long n = strtoul(value, NULL, 10);
    return n <= UINT16_MAX ? (uint16_t)n : 0;
}

/* --- graphics --------------------------------------------------------------------------------- */

static xmlNode *find_graphics(const xmlNode *devices, const char *type, unsigned *index)
{
    *index = 0;
    for (xmlNode *n = devices ? devices->children : NULL; n; n = n->next) {
        if (!is(n, "graphics"))
            continue;
        if (has(n, "type", type))
            return n;
        ++*index;
    }
    return NULL;
}

/* libvirt has the address both as an attribute and as an element; the latter says more. */
static void read_listen(const xmlNode *graphics, struct kb_libvirt_domain *d)
{
    const xmlNode *listen = child(graphics, "listen");
    d->address = attribute(listen, "address");
    if (!d->address)
        d->address = attribute(graphics, "listen");
    d->port = port(graphics, "port");
    d->tls_port = port(graphics, "tlsPort");
    d->local =
        has(listen, "type", "none") || has(listen, "type", "socket") || (!d->port && !d->tls_port);
}

static char *element_of(xmlDoc *doc, xmlNode *graphics)
{
    static const char *const ours[] = {"passwd", "passwdValidTo", "connected"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        xmlUnsetProp(graphics, (const xmlChar *)ours[i]);
    xmlBuffer *buffer = xmlBufferCreate();
    char *text = buffer && xmlNodeDump(buffer, doc, graphics, 0, 0) > 0
                     ? kb_strdup((const char *)xmlBufferContent(buffer))
                     : NULL;
    xmlBufferFree(buffer);
    return text;
}

static char *owner_of(const xmlNode *domain)
{
    const xmlNode *metadata = child(domain, "metadata");
    for (xmlNode *n = metadata ? metadata->children : NULL; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && strcmp((const char *)n->name, "console") == 0 && n->ns &&
            strcmp((const char *)n->ns->href, KB_LIBVIRT_OURS) == 0)
            return attribute(n, "owner");
    return NULL;
}

bool kb_libvirt_domain_read(const char *xml, struct kb_libvirt_domain *d)
{
    *d = (struct kb_libvirt_domain){0};
    size_t len = strlen(xml);
    /* No network, no entities, libxml2's own limits of depth and size, and not a word on stderr. */
    xmlDoc *doc = len <= INT32_MAX ? xmlReadMemory(xml, (int)len, NULL, NULL,
                                                   XML_PARSE_NONET | XML_PARSE_NOERROR |
                                                       XML_PARSE_NOWARNING | XML_PARSE_NOBLANKS)
                                   : NULL;
    /* libvirt writes no DTD, so there is nothing to expand. */
    xmlNode *domain = doc && !doc->intSubset ? xmlDocGetRootElement(doc) : NULL;
    if (domain && is(domain, "domain")) {
        const xmlNode *devices = child(domain, "devices");
        xmlNode *graphics = find_graphics(devices, "spice", &d->index);
        if (!graphics) {
            d->protocol = KB_PROTOCOL_VNC;
            graphics = find_graphics(devices, "vnc", &d->index);
        }
        if (graphics) {
            read_listen(graphics, d);
            d->owner = owner_of(domain);
            d->graphics = element_of(doc, graphics);
        }
    }
    xmlFreeDoc(doc);
    return d->graphics != NULL;
}

void kb_libvirt_domain_finish(struct kb_libvirt_domain *d)
{
    free(d->address);
    free(d->owner);
    free(d->graphics);
    *d = (struct kb_libvirt_domain){0};
}

struct kb_secret kb_libvirt_graphics(const struct kb_libvirt_domain *d, const char *password,
                                     int64_t until)
{
    struct tm tm;
    char text[sizeof "2026-11-21T16:32:00Z" + 32];
    time_t seconds = (time_t)until;
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm); /* UTC, and no Z: libvirt takes none */
    return (struct kb_secret){kb_printf(ELEMENT
                                        " passwd='%s' passwdValidTo='%s' connected='keep'%s",
                                        password, text, d->graphics + strlen(ELEMENT))};
}

/* --- addresses -------------------------------------------------------------------------------- */

char *kb_libvirt_host_of(const char *uri)
{
    const char *from = strstr(uri, "://");
    if (!from)
        return NULL;
    from += 3;
    size_t len = strcspn(from, "/?#");
    const char *at = memchr(from, '@', len);
    if (at) {
        len -= (size_t)(at + 1 - from);
        from = at + 1;
    }
    const char *bracket = len && *from == '[' ? memchr(from, ']', len) : NULL;
    if (bracket)
        return kb_printf("%.*s", (int)(bracket - from - 1), from + 1);
    const char *colon = memchr(from, ':', len);
    if (colon)
        len = (size_t)(colon - from);
    return len ? kb_printf("%.*s", (int)len, from) : NULL;
}

static bool is_loopback(const char *host)
{
    struct in_addr raw;
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (inet_pton(AF_INET, host, &raw) == 1 && ntohl(raw.s_addr) >> 24 == 127);
}

static bool is_any(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

char *kb_libvirt_dial(const char *host, const char *address)
{
    bool here = !host || is_loopback(host);
    if (!address || is_any(address))
        return kb_strdup(here ? "127.0.0.1" : host);
    /* Dialled from here it would be some desktop of this machine. */
    return is_loopback(address) && !here ? NULL : kb_strdup(address);
}
