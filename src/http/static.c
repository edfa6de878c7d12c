/* Serves the page: index.html at / and its parts below /web/. They are for anyone to see; what is
 * worth guarding comes through the API. A browser keeps them, and asks each time whether they are
 * still the same. HTTP threads. */
#include "http/static.h"

#include "http/route.h"

#include <stdlib.h>

static int compare(const void *name, const void *file)
{
    return strcmp(name, ((const struct kb_static_file *)file)->name);
}

const struct kb_static_file *kb_static_find(const char *name)
{
    return bsearch(name, kb_static_files, kb_static_file_count, sizeof *kb_static_files, compare);
}

bool kb_static_is_fresh(const char *if_none_match, const char *etag)
{
    const char *at = if_none_match ? if_none_match : "";
    size_t len = strlen(etag);
    while (*at) {
        at += strspn(at, " \t,");
        if (*at == '*')
            return true;
        if (strncmp(at, "W/", 2) == 0)
            at += 2;
        if (strncmp(at, etag, len) == 0)
            return true;
        if (*at == '"') { /* a comma inside the quotes parts nothing */
            at++;
            at += strcspn(at, "\"");
        }
        at += strcspn(at, ",");
    }
    return false;
}

static void reply_file(struct kb_request *r, const char *name)
{
    const struct kb_static_file *file = kb_static_find(name);
    if (!file) {
        kb_reply_error(r, 404, "not_found", "there is nothing at this path");
        return;
    }
    r->cache_control = "no-cache"; /* kept, and asked about */
    kb_reply_header(r, "ETag", "%s", file->etag);
    if (kb_static_is_fresh(kb_request_header(r, "If-None-Match"), file->etag)) {
        kb_reply_empty(r, 304);
        return;
    }
    r->status = 200;
    r->content_type = file->content_type;
    r->out.len = 0;
    kb_buf_add(&r->out, file->data, file->size);
}

void kb_page_root(struct kb_request *r)
{
    reply_file(r, "index.html");
}

void kb_page_file(struct kb_request *r)
{
    reply_file(r, r->params[0]);
}
