/* Matches names against patterns. Pure; any thread. */
#include "base/glob.h"

static size_t character(const char *name)
{
    size_t n = 1;
    while (((unsigned char)name[n] & 0xc0) == 0x80)
        n++;
    return n;
}

static uint8_t fold(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

/* On a mismatch the last star takes one character more: no recursion, and never slower than pattern
 * times name. */
static bool match(struct kb_span p, const char *name, bool folded)
{
    size_t at = 0, star = p.len;
    const char *resume = name;
    while (*name) {
        size_t literal = at + (at + 1 < p.len && p.data[at] == '\\');
        uint8_t c = (uint8_t)*name;
        if (at < p.len && p.data[at] == '*') {
            star = at++;
            resume = name;
        } else if (at < p.len && p.data[at] == '?') {
            at++;
            name += character(name);
        } else if (at < p.len &&
                   (p.data[literal] == c || (folded && fold(p.data[literal]) == fold(c)))) {
            at = literal + 1;
            name++;
        } else if (star < p.len) {
            at = star + 1;
            name = ++resume;
        } else {
            return false;
        }
    }
    while (at < p.len && p.data[at] == '*')
        at++;
    return at == p.len;
}

bool kb_glob(struct kb_span pattern, const char *name)
{
    return match(pattern, name, false);
}

bool kb_glob_fold(struct kb_span pattern, const char *name)
{
    return match(pattern, name, true);
}
