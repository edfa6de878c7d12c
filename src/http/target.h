/* A request's target ("/vv/abc.vv?title=x") in parts, and how a pattern with {names} meets it.
 * Pure. The target is split before it is decoded, so that %2F in a console's name is no slash. */
#ifndef KB_HTTP_TARGET_H
#define KB_HTTP_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#define KB_TARGET_SEGMENTS 12
#define KB_TARGET_QUERIES 32
#define KB_TARGET_PARAMS 3

struct kb_target_query {
    char *name, *value; /* decoded; value "" when there is no = */
};

struct kb_http_target {
    char *memory; /* everything below points in here */
    size_t memory_size;
    char *segments[KB_TARGET_SEGMENTS];
    size_t segment_count; /* "/" has none */
    struct kb_target_query queries[KB_TARGET_QUERIES];
    size_t query_count;
};

/* False for what does not begin with a slash, is not well percent-encoded, holds a NUL or another
 * control character, is not UTF-8 once decoded, or has too many parts. Finish it in either case. */
bool kb_http_target_parse(const char *text, struct kb_http_target *t);
void kb_http_target_finish(struct kb_http_target *t); /* wipes: a path may hold an exchange token */
/* The first of that name, or NULL. */
const char *kb_http_target_query(const struct kb_http_target *t, const char *name);

/* Pattern segments are literal, "{name}" or "{name}.suffix". On true params holds what stood for
 * the names, in order: pointers into t, a suffix is cut off (so match a target at most once with a
 * pattern that has one). */
bool kb_http_target_match(struct kb_http_target *t, const char *pattern,
                          const char *params[KB_TARGET_PARAMS]);

#endif
