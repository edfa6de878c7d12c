/* XML from other people's servers, over libxml2 with everything switched off that reaches beyond
 * the bytes: no document type and so no entities but XML's own five, no network, no files, no more
 * depth or length than libxml2's own limits. What is read may hold passwords, so the memory of all
 * of it is wiped when it is freed. Any thread. */
#ifndef KB_SOURCE_XML_H
#define KB_SOURCE_XML_H

#include "base/auto.h"

#include <libxml/tree.h>
#include <stddef.h>
#include <stdint.h>

/* To be called before the first use of libxml2 by any thread; more calls do nothing. */
void kb_xml_start(void);

/* NULL: it is not well-formed, has a document type, or is longer (an element's text: 10 MB) or
 * deeper than it may be. */
xmlDoc *kb_xml_parse(const void *data, size_t len);
void kb_xml_finish(xmlDoc **doc); /* for kb_auto; takes a NULL document */

/* The document's element if it has this name, else NULL. */
const xmlNode *kb_xml_root(const xmlDoc *doc, const char *name);
/* The first element of this name in another, and the next one beside it; NULL: there is none, also
 * in NULL. */
const xmlNode *kb_xml_child(const xmlNode *in, const char *name);
const xmlNode *kb_xml_next(const xmlNode *after, const char *name);
/* The text of an element, CDATA included, "" where it is empty; NULL for NULL. To be wiped where it
 * is a secret, and freed with free. */
char *kb_xml_text(const xmlNode *element);
/* The same of the first element of this name in another. */
char *kb_xml_text_of(const xmlNode *in, const char *name);
/* A number, or fallback for none, for what is none, and out of min..max. */
int64_t kb_xml_number_of(const xmlNode *in, const char *name, int64_t min, int64_t max,
                         int64_t fallback);

#endif
