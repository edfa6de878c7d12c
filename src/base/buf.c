/* A buffer of bytes that grows. Any thread; a buffer belongs to one at a time. */
#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void kb_buf_finish(struct kb_buf *b)
{
    free(b->data);
    *b = (struct kb_buf){0};
}

void kb_buf_reserve(struct kb_buf *b, size_t more)
{
    /* One more than asked, so that a text can always be ended. */
    size_t need;
    if (__builtin_add_overflow(b->len, more, &need) || __builtin_add_overflow(need, 1, &need))
        abort();
    if (need <= b->cap)
        return;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    b->data = kb_realloc(b->data, cap);
    b->cap = cap;
}

void kb_buf_add(struct kb_buf *b, const void *data, size_t len)
{
    kb_buf_reserve(b, len);
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
}

void kb_buf_add_str(struct kb_buf *b, const char *s)
{
    kb_buf_add(b, s, strlen(s));
}

void kb_buf_add_u16(struct kb_buf *b, uint16_t v)
{
    uint8_t raw[2];
    kb_put_u16(raw, v);
    kb_buf_add(b, raw, sizeof raw);
}

void kb_buf_add_u32(struct kb_buf *b, uint32_t v)
{
    uint8_t raw[4];
    kb_put_u32(raw, v);
    kb_buf_add(b, raw, sizeof raw);
}

void kb_buf_printf(struct kb_buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n > 0) {
        kb_buf_reserve(b, (size_t)n);
        vsnprintf((char *)b->data + b->len, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* How many bytes the UTF-8 character at s has, 0 if it is not one (RFC 3629: no overlong forms,
 * no surrogates, nothing above U+10FFFF). */
static size_t utf8_read(const uint8_t *s, uint32_t *out)
{
    *out = s[0];
    if (s[0] < 0x80)
        return 1;
    size_t n = (s[0] & 0xe0) == 0xc0   ? 2
               : (s[0] & 0xf0) == 0xe0 ? 3
               : (s[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    if (!n)
        return 0;
    uint32_t c = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    *out = c;
    return n;
}

bool kb_utf8_valid(const char *text)
{
    const uint8_t *s = (const uint8_t *)text;
    while (*s) {
        uint32_t c;
        size_t n = utf8_read(s, &c);
        if (n == 0)
            return false;
        s += n;
    }
    return true;
}

void kb_buf_add_utf8(struct kb_buf *b, const char *text)
{
    const uint8_t *s = (const uint8_t *)text;
    while (*s) {
        uint32_t c;
        size_t n = utf8_read(s, &c);
        if (n)
            kb_buf_add(b, s, n);
        else
            kb_buf_add_str(b, REPLACEMENT);
        s += n ? n : 1;
    }
}

/* Characters that steer instead of showing: C0 and C1 controls, line and paragraph separators, and
 * what turns the direction of writing. A terminal obeys them, and a name from a cloud is not to. */
static bool steers(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

void kb_buf_add_json(struct kb_buf *b, const char *text)
{
    const uint8_t *s = (const uint8_t *)text;
    kb_buf_add(b, "\"", 1);
    while (*s) {
        uint32_t c;
        size_t n = utf8_read(s, &c);
        if (n == 0) {
            kb_buf_add_str(b, REPLACEMENT);
            n = 1;
        } else if (c == '"' || c == '\\') {
            kb_buf_printf(b, "\\%c", (char)c);
        } else if (steers(c)) {
            kb_buf_printf(b, "\\u%04x", c);
        } else {
            kb_buf_add(b, s, n);
        }
        s += n;
    }
    kb_buf_add(b, "\"", 1);
}

char *kb_buf_steal(struct kb_buf *b)
{
    kb_buf_reserve(b, 0);
    b->data[b->len] = '\0';
    char *s = (char *)b->data;
    *b = (struct kb_buf){0};
    return s;
}
