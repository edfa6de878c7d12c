/* Asks an HTTP proxy for a tunnel and reads its answer. Pure; any thread. */
#include "net/tunnel.h"

#include "base/mem.h"

#include <string.h>

bool kb_tunnel_request(struct kb_buf *out, const char *host, uint16_t port)
{
    for (const char *c = host; *c; c++)
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
            return false;
    /* Brackets around an IPv6 address; a pseudo-host of Proxmox has colons of its own and none. */
    bool v6 = strchr(host, ':') && !host[strspn(host, "0123456789abcdefABCDEF:.")];
    const char *open = v6 ? "[" : "", *close = v6 ? "]" : "";
    kb_buf_printf(out, "CONNECT %s%s%s:%u HTTP/1.0\r\nHost: %s%s%s:%u\r\n\r\n", open, host, close,
                  port, open, host, close, port);
    return *host != '\0';
}

/* Past the empty line that ends the head, or 0. Proxies end lines with CR LF, old ones with LF. */
static size_t head_length(struct kb_span said)
{
    for (size_t i = 0; i < said.len; i++) {
        if (said.data[i] != '\n')
            continue;
        if (i + 1 < said.len && said.data[i + 1] == '\n')
            return i + 2;
        if (i + 2 < said.len && said.data[i + 1] == '\r' && said.data[i + 2] == '\n')
            return i + 3;
    }
    return 0;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.x NNN words"; 0: it is none. */
static unsigned status_of(struct kb_span said)
{
    if (said.len < 12 || memcmp(said.data, "HTTP/1.", 7) != 0 || !is_digit(said.data[7]) ||
        said.data[8] != ' ' || !is_digit(said.data[9]) || !is_digit(said.data[10]) ||
        !is_digit(said.data[11]))
        return 0;
    return (unsigned)(said.data[9] - '0') * 100 + (unsigned)(said.data[10] - '0') * 10 +
           (unsigned)(said.data[11] - '0');
}

enum kb_tunnel kb_tunnel_answer(struct kb_span said, size_t *len, char why[KB_TUNNEL_WHY])
{
    static const char protocol[] = "HTTP/1.";
    size_t known = said.len < 7 ? said.len : 7;
    if (memcmp(said.data, protocol, known) != 0) {
        kb_copy_str(why, KB_TUNNEL_WHY, "it is no HTTP proxy");
        return KB_TUNNEL_REFUSED;
    }
    *len = head_length(said);
    if (!*len && said.len < KB_TUNNEL_ANSWER_MAX)
        return KB_TUNNEL_MORE;
    unsigned status = *len ? status_of(said) : 0;
    if (status >= 200 && status < 300)
        return KB_TUNNEL_OPEN;
    if (!status) {
        kb_copy_str(why, KB_TUNNEL_WHY, *len ? "its answer is no HTTP" : "its answer has no end");
        return KB_TUNNEL_REFUSED;
    }
    size_t at;
    kb_copy_str(why, KB_TUNNEL_WHY, "status ");
    for (at = 7; at < KB_TUNNEL_WHY - 1 && at + 2 < said.len; at++) {
        uint8_t c = said.data[at + 2]; /* from the first digit on */
        if (c < 0x20 || c >= 0x7f)
            break;
        why[at] = (char)c;
    }
    why[at] = '\0';
    return KB_TUNNEL_REFUSED;
}
