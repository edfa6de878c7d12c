/* Writes NOTIFY. When it may be sent is the relay's to know. Pure; any thread. Source: spice-server
 * 0.15.1, main_channel_marshall_notify; spice-protocol 0.14.3, enums.h. */
#include "spice/notify.h"

#include "spice/wire.h"

#include <spice/enums.h>
#include <string.h>

static void add_u32(struct kb_buf *out, uint32_t v)
{
    uint8_t bytes[4];
    kb_put_u32(bytes, v);
    kb_buf_add(out, bytes, sizeof bytes);
}

/* Up to the last character that fits whole. */
static size_t cut(const char *text)
{
    size_t len = strnlen(text, KB_NOTIFY_TEXT_MAX + 1);
    if (len <= KB_NOTIFY_TEXT_MAX)
        return len;
    len = KB_NOTIFY_TEXT_MAX;
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--;
    return len;
}

void kb_notify_write(struct kb_buf *out, uint64_t time_ns, enum kb_severity severity,
                     const char *text)
{
    static const uint32_t severities[] = {
        [KB_SEVERITY_INFO] = SPICE_NOTIFY_SEVERITY_INFO,
        [KB_SEVERITY_WARN] = SPICE_NOTIFY_SEVERITY_WARN,
        [KB_SEVERITY_ERROR] = SPICE_NOTIFY_SEVERITY_ERROR,
    };
    uint32_t len = (uint32_t)cut(text);
    uint8_t type[2];
    kb_put_u16(type, SPICE_MSG_NOTIFY);
    kb_buf_add(out, type, sizeof type);
    add_u32(out, 8 + 4 * 4 + len + 1);
    add_u32(out, (uint32_t)time_ns);
    add_u32(out, (uint32_t)(time_ns >> 32));
    add_u32(out, severities[severity]);
    add_u32(out, SPICE_NOTIFY_VISIBILITY_HIGH);
    add_u32(out, SPICE_WARN_GENERAL); /* no more is known of what it is about */
    add_u32(out, len);
    kb_buf_add(out, text, len);
    kb_buf_add(out, "", 1);
}
