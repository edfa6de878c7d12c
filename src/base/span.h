/* A span is a pointer and a length that somebody else owns: how bytes travel between functions.
 * Reads are bounded, SPICE is little-endian and unaligned. */
#ifndef KB_BASE_SPAN_H
#define KB_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct kb_span {
    const uint8_t *data;
    size_t len;
};

static inline struct kb_span kb_span(const void *data, size_t len)
{
    return (struct kb_span){.data = data, .len = len};
}

static inline struct kb_span kb_span_str(const char *s)
{
    return kb_span(s, strlen(s));
}

/* Takes the first n bytes off *s into *out. False, with nothing changed, if there are fewer. */
static inline bool kb_span_take(struct kb_span *s, size_t n, struct kb_span *out)
{
    if (s->len < n)
        return false;
    *out = kb_span(s->data, n);
    s->data += n;
    s->len -= n;
    return true;
}

/* Takes the first n bytes off *s, or all if there are fewer. */
static inline struct kb_span kb_span_take_most(struct kb_span *s, size_t n)
{
    struct kb_span part = kb_span(s->data, s->len < n ? s->len : n);
    s->data += part.len;
    s->len -= part.len;
    return part;
}

static inline uint16_t kb_get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t kb_get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void kb_put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void kb_put_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

#endif
