/* Writes the .vv file: a GKeyFile with the one group [virt-viewer], as remote-viewer(1) describes
 * it. Pure; any thread. */
#include "http/vv_file.h"

#include "http/text.h"

#include <inttypes.h>

/* Long enough for a name and a user, short enough for a title bar. */
#define TITLE_MAX 160
#define FILENAME_MAX_BYTES 120

/* Every channel that the client may open; each of them goes over TLS. */
#define SECURE_CHANNELS "main;display;inputs;cursor;playback;record;smartcard;usbredir;port;webdav;"

/* Appends s without what has no place on a line. Stops before limit bytes are passed. */
static void add_clean(struct kb_buf *out, const char *s, size_t limit)
{
    size_t end = out->len + limit;
    while (*s) {
        size_t before = out->len;
        uint32_t c = kb_utf8_next(&s);
        if (kb_text_is_hidden(c))
            continue;
        kb_utf8_add(out, c);
        if (out->len > end) {
            out->len = before;
            return;
        }
    }
}

/* key=value with the escapes of a key file. A space at either end would be eaten, so it is written
 * as an escape too. */
static void add_line(struct kb_buf *out, const char *key, const char *value)
{
    if (!value)
        return;
    kb_buf_add_str(out, key);
    kb_buf_add_str(out, "=");
    for (const char *at = value; *at;) {
        bool edge = at == value || !at[1];
        uint32_t c = kb_utf8_next(&at);
        if (c == '\\')
            kb_buf_add_str(out, "\\\\");
        else if (c == '\n')
            kb_buf_add_str(out, "\\n");
        else if (c == ' ' && edge)
            kb_buf_add_str(out, "\\s");
        else if (!kb_text_is_hidden(c))
            kb_utf8_add(out, c);
    }
    kb_buf_add_str(out, "\n");
}

static void add_number(struct kb_buf *out, const char *key, int64_t n)
{
    kb_buf_printf(out, "%s=%" PRId64 "\n", key, n);
}

/* remote-viewer puts the display's number where a title says %d, and other things where it says
 * other letters: there is no escape, so a percent sign goes. */
static void add_title(struct kb_buf *out, const char *title)
{
    struct kb_buf clean = {0};
    add_clean(&clean, title, TITLE_MAX);
    size_t n = 0;
    for (size_t i = 0; i < clean.len; i++)
        if (clean.data[i] != '%')
            clean.data[n++] = clean.data[i];
    clean.len = n;
    kb_buf_add(&clean, "", 1);
    add_line(out, "title", (const char *)clean.data);
    kb_buf_finish(&clean);
}

void kb_vv_file_write(const struct kb_vv_file *v, struct kb_buf *out)
{
    kb_buf_reserve(out, 4096 + 2 * (v->ca_pem ? strlen(v->ca_pem) : 0));
    kb_buf_add_str(out, "[virt-viewer]\ntype=spice\n");
    add_line(out, "host", v->host);
    if (v->plain_port)
        add_number(out, "port", v->plain_port);
    if (v->tls_port)
        add_number(out, "tls-port", v->tls_port);
    add_line(out, "password", v->password);
    add_title(out, v->title);
    add_line(out, "ca", v->ca_pem);
    add_line(out, "host-subject", v->host_subject);
    if (v->tls_port)
        kb_buf_add_str(out, "secure-channels=" SECURE_CHANNELS "\n");
    kb_buf_add_str(out, "delete-this-file=1\n");
    if (v->valid_until)
        add_number(out, "ticket-valid-until", v->valid_until / 1000);
    kb_buf_add_str(out, "toggle-fullscreen=shift+f11\nrelease-cursor=shift+f12\n"
                        "secure-attention=ctrl+alt+end\n");
    add_number(out, "enable-usbredir", v->usbredir);
    add_number(out, "enable-usb-autoshare", v->usb_autoshare);
    add_line(out, "usb-filter", v->usb_filter);
    add_number(out, "enable-smartcard", v->smartcard);
    add_line(out, "disable-channels", v->disable_channels);
}

/* What file systems and shells of all clients take as a part of a name. */
static bool is_safe(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == ' ';
}

static bool is_for_paths(uint32_t c)
{
    return c < 0x80 && strchr("/\\:*?\"<>|%", (int)c);
}

void kb_vv_disposition(const char *console_name, struct kb_buf *out)
{
    struct kb_buf clean = {0}, ascii = {0}, encoded = {0};
    add_clean(&clean, console_name, FILENAME_MAX_BYTES);
    kb_buf_add(&clean, "", 1);
    const char *at = (const char *)clean.data;
    at += strspn(at, ". "); /* no hidden file, no "..", no "con .vv" */
    bool plain = true;
    while (*at) {
        const char *start = at;
        uint32_t c = kb_utf8_next(&at);
        if (is_for_paths(c))
            c = '_';
        kb_utf8_add(&ascii, is_safe(c) ? c : '_');
        if (is_safe(c) && c != ' ') {
            kb_utf8_add(&encoded, c);
            continue;
        }
        plain = plain && is_safe(c);
        for (; start < at; start++)
            kb_buf_printf(&encoded, "%%%02X", (unsigned)(uint8_t)*start);
    }
    if (ascii.len == 0)
        kb_buf_add_str(&ascii, "console");
    kb_buf_printf(out, "attachment; filename=\"%.*s.vv\"", (int)ascii.len,
                  (const char *)ascii.data);
    if (!plain)
        kb_buf_printf(out, "; filename*=UTF-8''%.*s.vv", (int)encoded.len,
                      (const char *)encoded.data);
    kb_buf_finish(&clean);
    kb_buf_finish(&ascii);
    kb_buf_finish(&encoded);
}
