/* Cursors: where the next page of a list begins, as text that is opaque to whoever carries it.
 * Pure. A cursor names the last row that was shown, not a count of rows, so that rows that come or
 * go between two pages neither repeat nor hide others. */
#include "store/backend.h"

#include "base/mem.h"

#include <sodium.h>
#include <string.h>

#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING
/* No cursor of ours is longer: three names, and base64's third on top. */
#define LONGEST 8192

char *kb_cursor_write(const char *const *parts, size_t count)
{
    kb_auto(kb_buf_finish) struct kb_buf raw = {0};
    for (size_t i = 0; i < count; i++)
        kb_buf_add(&raw, parts[i], strlen(parts[i]) + 1);
    size_t size = sodium_base64_ENCODED_LEN(raw.len, VARIANT);
    char *text = kb_zalloc(size);
    return sodium_bin2base64(text, size, raw.data, raw.len, VARIANT);
}

bool kb_cursor_read(const char *text, size_t count, struct kb_cursor *c)
{
    *c = (struct kb_cursor){0};
    if (!text)
        return true;
    size_t len = strlen(text), n;
    if (len > LONGEST)
        return false;
    kb_auto_free char *raw = kb_zalloc(len + 1);
    if (sodium_base642bin((unsigned char *)raw, len, text, len, NULL, &n, NULL, VARIANT) != 0)
        return false;
    size_t found = 0;
    for (size_t at = 0; at < n; found++) {
        const char *end = memchr(raw + at, 0, n - at);
        if (!end || found == count) {
            kb_cursor_finish(c);
            return false;
        }
        c->parts[found] = kb_strdup(raw + at);
        at = (size_t)(end - raw) + 1;
    }
    if (found != count) {
        kb_cursor_finish(c);
        return false;
    }
    return true;
}

void kb_cursor_finish(struct kb_cursor *c)
{
    for (size_t i = 0; i < KB_CURSOR_PARTS; i++)
        free(c->parts[i]);
    *c = (struct kb_cursor){0};
}
