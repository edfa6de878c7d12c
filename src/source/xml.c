/* Reads XML with libxml2, for drivers whose cloud speaks it. Any thread. */
#include "source/xml.h"

#include "base/mem.h"
#include "base/secret.h"

#include <libxml/parser.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

/* --- memory ----------------------------------------------------------------------------------- */

/* Blocks of malloc's as they are, wiped before they go back: what another library of this process
 * gave libxml2 before, or takes from it, stays free()'s. */
static void wipe_and_free(void *p)
{
    if (p)
        kb_wipe(p, malloc_usable_size(p));
    free(p);
}

static void *wipe_and_move(void *p, size_t size)
{
    void *to = kb_zalloc(size);
    size_t had = p ? malloc_usable_size(p) : 0;
    if (p)
        memcpy(to, p, had < size ? had : size);
    wipe_and_free(p);
    return to;
}

static void start(void)
{
    xmlMemSetup(wipe_and_free, malloc, wipe_and_move, strdup);
    xmlInitParser();
}

void kb_xml_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
}

/* --- parsing ---------------------------------------------------------------------------------- */

/* A document type is where entities, files and other hosts come in. Nobody who sends us XML needs
 * one. */
static void refuse_type(void *arg, const xmlChar *name, const xmlChar *external,
                        const xmlChar *system)
{
    xmlParserCtxt *ctxt = arg;
    (void)name;
    (void)external;
    (void)system;
    ctxt->wellFormed = 0;
    xmlStopParser(ctxt);
}

xmlDoc *kb_xml_parse(const void *data, size_t len)
{
    kb_xml_start();
    xmlParserCtxt *ctxt = len <= INT32_MAX ? xmlNewParserCtxt() : NULL;
    if (!ctxt)
        return NULL;
    ctxt->sax->internalSubset = refuse_type;
    xmlDoc *doc = xmlCtxtReadMemory(ctxt, data, (int)len, NULL, NULL,
                                    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    xmlFreeParserCtxt(ctxt);
    return doc;
}

void kb_xml_finish(xmlDoc **doc)
{
    if (*doc)
        xmlFreeDoc(*doc);
    *doc = NULL;
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool is(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

const xmlNode *kb_xml_root(const xmlDoc *doc, const char *name)
{
    const xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
    return root && is(root, name) ? root : NULL;
}

static const xmlNode *find(const xmlNode *from, const char *name)
{
    while (from && !is(from, name))
        from = from->next;
    return from;
}

const xmlNode *kb_xml_child(const xmlNode *in, const char *name)
{
    return in ? find(in->children, name) : NULL;
}

const xmlNode *kb_xml_next(const xmlNode *after, const char *name)
{
    return after ? find(after->next, name) : NULL;
}

char *kb_xml_text(const xmlNode *element)
{
    if (!element)
        return NULL;
    xmlChar *content = xmlNodeGetContent(element);
    char *text = kb_strdup(content ? (const char *)content : "");
    xmlFree(content);
    return text;
}

char *kb_xml_text_of(const xmlNode *in, const char *name)
{
    return kb_xml_text(kb_xml_child(in, name));
}

int64_t kb_xml_number_of(const xmlNode *in, const char *name, int64_t min, int64_t max,
                         int64_t fallback)
{
    kb_auto_free char *text = kb_xml_text_of(in, name);
    size_t sign = text && *text == '-', digits = text ? strspn(text + sign, "0123456789") : 0;
    if (!digits || text[sign + digits] || digits > 18)
        return fallback;
    int64_t n = strtoll(text, NULL, 10);
    return n < min || n > max ? fallback : n;
}
