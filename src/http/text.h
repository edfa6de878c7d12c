/* Texts from outside that go to places where some characters have a meaning. Pure. */
#ifndef KB_HTTP_TEXT_H
#define KB_HTTP_TEXT_H

#include "base/buf.h"

/* Takes one code point off the front; U+FFFD for a byte that is not UTF-8 (overlong forms,
 * surrogates and what is beyond U+10FFFF are not). *at must not stand on the end. */
uint32_t kb_utf8_next(const char **at);
void kb_utf8_add(struct kb_buf *out, uint32_t point);

/* True for what has no place on a line that a person reads: control characters, line and paragraph
 * separators, marks that turn the direction of text or have no width, tags, noncharacters. */
bool kb_text_is_hidden(uint32_t point);
/* True for UTF-8 of 1..max bytes without hidden characters and without spaces at its ends. */
bool kb_text_is_name(const char *s, size_t max);

void kb_text_add_html(struct kb_buf *out, const char *s);
/* RFC 3339, any offset, up to milliseconds ("2026-11-20T18:52:29.123Z"). */
bool kb_time_parse(const char *text, int64_t *wall_ms);
/* An IPv4 or IPv6 address in its one usual form (IPv4 in IPv6 becomes IPv4); false for anything
 * else. */
bool kb_address_normalize(const char *text, char out[64]);

#endif
