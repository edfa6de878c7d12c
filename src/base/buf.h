/* A buffer of bytes that grows. Zeroed is empty and valid. */
#ifndef KB_BASE_BUF_H
#define KB_BASE_BUF_H

#include "base/span.h"

struct kb_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
};

void kb_buf_finish(struct kb_buf *b);
void kb_buf_reserve(struct kb_buf *b, size_t more);
void kb_buf_add(struct kb_buf *b, const void *data, size_t len);
void kb_buf_add_str(struct kb_buf *b, const char *s);
void kb_buf_add_u16(struct kb_buf *b, uint16_t v);
void kb_buf_add_u32(struct kb_buf *b, uint32_t v);
void kb_buf_printf(struct kb_buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3), nonnull));
/* A text; bytes that are not UTF-8 become U+FFFD, each of them one. */
void kb_buf_add_utf8(struct kb_buf *b, const char *s);
bool kb_utf8_valid(const char *s);
/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD, characters that a terminal
 * obeys (controls, direction of writing) are written as \u. */
void kb_buf_add_json(struct kb_buf *b, const char *s);
/* Hands the bytes over, ended by a NUL that len does not count; the caller frees. */
char *kb_buf_steal(struct kb_buf *b);

static inline struct kb_span kb_buf_span(const struct kb_buf *b)
{
    return kb_span(b->data, b->len);
}

#endif
