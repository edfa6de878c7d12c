/* Takes a request's target apart and matches it with a pattern. Pure; any thread. */
#include "http/target.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/secret.h"

#include <stdlib.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decodes in place. A plus is a space in a query alone. */
static bool decode(char *s, bool query)
{
    char *to = s;
    for (const char *from = s; *from; from++) {
        char c = *from;
        if (c == '%') {
            int high = hex_digit(from[1]), low = high < 0 ? -1 : hex_digit(from[2]);
            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            from += 2;
        } else if (c == '+' && query) {
            c = ' ';
        }
        if ((unsigned char)c < 0x20 || c == 0x7f)
            return false;
        *to++ = c;
    }
    *to = '\0';
    return true;
}

/* "/a/" is not "/a": it has a second segment, which is empty. */
static bool split_path(struct kb_http_target *t, char *path)
{
    if (path[0] != '/')
        return false;
    for (char *at = path[1] ? path : NULL; at;) {
        char *segment = at + 1;
        at = strchr(segment, '/');
        if (at)
            *at = '\0';
        if (t->segment_count == KB_TARGET_SEGMENTS || !decode(segment, false) ||
            !kb_utf8_valid(segment))
            return false;
        t->segments[t->segment_count++] = segment;
    }
    return true;
}

static bool split_query(struct kb_http_target *t, char *query)
{
    while (query) {
        char *name = query;
        query = strchr(name, '&');
        if (query)
            *query++ = '\0';
        if (!*name)
            continue;
        char *value = strchr(name, '=');
        if (value)
            *value++ = '\0';
        else
            value = name + strlen(name);
        if (t->query_count == KB_TARGET_QUERIES || !decode(name, true) || !decode(value, true) ||
            !kb_utf8_valid(name) || !kb_utf8_valid(value))
            return false;
        t->queries[t->query_count++] = (struct kb_target_query){name, value};
    }
    return true;
}

bool kb_http_target_parse(const char *text, struct kb_http_target *t)
{
    *t = (struct kb_http_target){.memory = kb_strdup(text), .memory_size = strlen(text)};
    char *query = strchr(t->memory, '?');
    if (query)
        *query++ = '\0';
    return split_path(t, t->memory) && split_query(t, query);
}

void kb_http_target_finish(struct kb_http_target *t)
{
    if (t->memory)
        kb_wipe(t->memory, t->memory_size);
    free(t->memory);
    *t = (struct kb_http_target){0};
}

const char *kb_http_target_query(const struct kb_http_target *t, const char *name)
{
    for (size_t i = 0; i < t->query_count; i++)
        if (strcmp(t->queries[i].name, name) == 0)
            return t->queries[i].value;
    return NULL;
}

struct piece {
    const char *text, *suffix;
    size_t len, suffix_len; /* suffix: what follows a {name}; NULL for a literal */
};

/* The next segment of a pattern, or false at its end. */
static bool next_piece(const char **pattern, struct piece *p)
{
    if (**pattern != '/' || !(*pattern)[1])
        return false;
    *p = (struct piece){.text = *pattern + 1};
    p->len = strcspn(p->text, "/");
    *pattern = p->text + p->len;
    if (p->text[0] == '{') {
        p->suffix = strchr(p->text, '}') + 1;
        p->suffix_len = (size_t)(p->text + p->len - p->suffix);
    }
    return true;
}

bool kb_http_target_match(struct kb_http_target *t, const char *pattern,
                          const char *params[KB_TARGET_PARAMS])
{
    char *cut = NULL;
    size_t at = 0, named = 0;
    struct piece p;
    for (; next_piece(&pattern, &p); at++) {
        if (at == t->segment_count)
            return false;
        char *s = t->segments[at];
        size_t len = strlen(s);
        if (!p.suffix) {
            if (len != p.len || memcmp(s, p.text, len) != 0)
                return false;
            continue;
        }
        if (len <= p.suffix_len || memcmp(s + len - p.suffix_len, p.suffix, p.suffix_len) != 0 ||
            named == KB_TARGET_PARAMS)
            return false;
        if (p.suffix_len)
            cut = s + len - p.suffix_len;
        params[named++] = s;
    }
    if (at != t->segment_count)
        return false;
    if (cut)
        *cut = '\0';
    return true;
}
