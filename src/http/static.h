/* The files of the administration page, which are part of the program: built from web/. */
#ifndef KB_HTTP_STATIC_H
#define KB_HTTP_STATIC_H

#include <stdbool.h>
#include <stddef.h>

struct kb_static_file {
    const char *name; /* "app.js" */
    const char *content_type;
    const char *etag; /* of the bytes, with its quotes */
    const unsigned char *data;
    size_t size;
};

/* In the order of their names. */
extern const struct kb_static_file kb_static_files[];
extern const size_t kb_static_file_count;

/* NULL if there is none of that name. */
const struct kb_static_file *kb_static_find(const char *name);
/* Pure: whether an If-None-Match header (NULL: not sent) names the tag, as RFC 9110 compares it:
 * weak marks do not matter, "*" is any. */
bool kb_static_is_fresh(const char *if_none_match, const char *etag);

#endif
