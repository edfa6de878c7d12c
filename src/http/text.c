/* UTF-8, HTML, times and addresses: what turns foreign text into harmless text. Does not know where
 * the text goes beyond that. Pure; any thread. */
#include "http/text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <time.h>

uint32_t kb_utf8_next(const char **at)
{
    const uint8_t *p = (const uint8_t *)*at;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    size_t more = p[0] < 0x80       ? 0
                  : p[0] >> 5 == 6  ? 1
                  : p[0] >> 4 == 14 ? 2
                  : p[0] >> 3 == 30 ? 3
                                    : 9;
    if (more == 9) {
        *at += 1;
        return 0xfffd;
    }
    uint32_t point = more == 0 ? p[0] : p[0] & (0x3fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80) { /* stops at the NUL too */
            *at += 1;
            return 0xfffd;
        }
        point = point << 6 | (p[i] & 0x3fu);
    }
    if (point < least[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) {
        *at += 1;
        return 0xfffd;
    }
    *at += more + 1;
    return point;
}

void kb_utf8_add(struct kb_buf *out, uint32_t c)
{
    char b[4];
    size_t n;
    if (c < 0x80) {
        b[0] = (char)c;
        n = 1;
    } else if (c < 0x800) {
        b[0] = (char)(0xc0 | c >> 6);
        b[1] = (char)(0x80 | (c & 0x3f));
        n = 2;
    } else if (c < 0x10000) {
        b[0] = (char)(0xe0 | c >> 12);
        b[1] = (char)(0x80 | (c >> 6 & 0x3f));
        b[2] = (char)(0x80 | (c & 0x3f));
        n = 3;
    } else {
        b[0] = (char)(0xf0 | c >> 18);
        b[1] = (char)(0x80 | (c >> 12 & 0x3f));
        b[2] = (char)(0x80 | (c >> 6 & 0x3f));
        b[3] = (char)(0x80 | (c & 0x3f));
        n = 4;
    }
    kb_buf_add(out, b, n);
}

bool kb_text_is_hidden(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } hidden[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x61c, 0x61c},
        {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
        {0xfdd0, 0xfdef}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
    };
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (c >= hidden[i].first && c <= hidden[i].last)
            return true;
    return (c & 0xfffe) == 0xfffe;
}

bool kb_text_is_name(const char *s, size_t max)
{
    size_t len = strlen(s);
    if (len == 0 || len > max || s[0] == ' ' || s[len - 1] == ' ' || !kb_utf8_valid(s))
        return false;
    while (*s)
        if (kb_text_is_hidden(kb_utf8_next(&s)))
            return false;
    return true;
}

void kb_text_add_html(struct kb_buf *out, const char *s)
{
    while (*s) {
        uint32_t c = kb_utf8_next(&s);
        if (kb_text_is_hidden(c))
            continue;
        if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
            kb_buf_printf(out, "&#%u;", (unsigned)c);
        else
            kb_utf8_add(out, c);
    }
}

/* Takes count digits off *at. */
static bool take_number(const char **at, int count, int *out)
{
    *out = 0;
    for (; count > 0; count--, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        *out = *out * 10 + (**at - '0');
    }
    return true;
}

static bool take_char(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

/* "Z" or an offset such as "+01:00", then the end; in minutes. */
static bool take_offset(const char **at, int *minutes)
{
    *minutes = 0;
    if (take_char(at, 'Z') || take_char(at, 'z'))
        return **at == '\0';
    int sign = **at == '-' ? -1 : 1, h, m;
    if (!take_char(at, '-') && !take_char(at, '+'))
        return false;
    if (!take_number(at, 2, &h) || !take_char(at, ':') || !take_number(at, 2, &m))
        return false;
    *minutes = sign * (h * 60 + m);
    return h <= 23 && m <= 59 && **at == '\0';
}

bool kb_time_parse(const char *text, int64_t *wall_ms)
{
    struct tm tm = {0};
    const char *at = text;
    int ms = 0, offset;
    if (!take_number(&at, 4, &tm.tm_year) || !take_char(&at, '-') ||
        !take_number(&at, 2, &tm.tm_mon) || !take_char(&at, '-') ||
        !take_number(&at, 2, &tm.tm_mday))
        return false;
    if (!take_char(&at, 'T') && !take_char(&at, 't') && !take_char(&at, ' '))
        return false;
    if (!take_number(&at, 2, &tm.tm_hour) || !take_char(&at, ':') ||
        !take_number(&at, 2, &tm.tm_min) || !take_char(&at, ':') ||
        !take_number(&at, 2, &tm.tm_sec))
        return false;
    if (take_char(&at, '.')) {
        int weight = 100, digits = 0;
        for (; *at >= '0' && *at <= '9'; at++, digits++, weight /= 10)
            ms += (*at - '0') * weight;
        if (digits == 0)
            return false;
    }
    if (!take_offset(&at, &offset) || tm.tm_year < 1970 || tm.tm_hour > 23 || tm.tm_min > 59 ||
        tm.tm_sec > 60)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    struct tm wanted = tm;
    int64_t seconds = timegm(&tm);
    /* timegm turns February 30 into March; a date that moved was none. */
    if (tm.tm_mon != wanted.tm_mon || (tm.tm_mday != wanted.tm_mday && wanted.tm_sec != 60))
        return false;
    *wall_ms = (seconds - offset * 60) * 1000 + ms;
    return true;
}

bool kb_address_normalize(const char *text, char out[64])
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, text, &v4) == 1)
        return inet_ntop(AF_INET, &v4, out, 64);
    if (inet_pton(AF_INET6, text, &v6) != 1)
        return false;
    if (IN6_IS_ADDR_V4MAPPED(&v6))
        return inet_ntop(AF_INET, &v6.s6_addr[12], out, 64);
    return inet_ntop(AF_INET6, &v6, out, 64);
}
