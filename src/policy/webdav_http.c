/* Heads are collected and read, bodies counted. Pure; the thread of the channel's loop. */
#include "policy/webdav_http.h"

#include <strings.h>

#define LINE_MAX_SIZE 256 /* of a chunk's size with extensions, of a trailer */

void kb_http_init(struct kb_http *h, bool response)
{
    *h = (struct kb_http){.response = response};
}

void kb_http_finish(struct kb_http *h)
{
    kb_buf_finish(&h->head);
}

/* RFC 9110, 5.6.2: tchar. */
static bool is_token(uint8_t b)
{
    return (b >= '0' && b <= '9') || (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') ||
           (b && strchr("!#$%&'*+-.^_`|~", b));
}

static bool same(struct kb_span s, const char *text)
{
    return s.len == strlen(text) && strncasecmp((const char *)s.data, text, s.len) == 0;
}

static bool read_length(struct kb_span s, uint64_t *n)
{
    *n = 0;
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < '0' || s.data[i] > '9' || __builtin_mul_overflow(*n, UINT64_C(10), n) ||
            __builtin_add_overflow(*n, (uint64_t)(s.data[i] - '0'), n))
            return false;
    return s.len > 0 && *n < UINT64_MAX / 2;
}

/* A line without its CR LF. False: there is none, or it has a control in it. */
static bool take_line(struct kb_span *head, struct kb_span *line)
{
    for (size_t i = 0; i + 1 < head->len; i++) {
        uint8_t b = head->data[i];
        if (b == '\r' && head->data[i + 1] == '\n') {
            *line = kb_span_take_most(head, i);
            kb_span_take_most(head, 2);
            return true;
        }
        if ((b < ' ' && b != '\t') || b == 0x7f)
            return false;
    }
    return false;
}

static bool is_version(struct kb_span s)
{
    return s.len == 8 && (!memcmp(s.data, "HTTP/1.1", 8) || !memcmp(s.data, "HTTP/1.0", 8));
}

static bool read_request_line(struct kb_http *h, struct kb_span line)
{
    size_t n = 0;
    while (n < line.len && is_token(line.data[n]))
        n++;
    struct kb_span method = kb_span_take_most(&line, n);
    const uint8_t *space = line.len ? memchr(line.data + 1, ' ', line.len - 1) : NULL;
    if (!method.len || !space || line.data[0] != ' ' || space == line.data + 1)
        return false;
    size_t fits = method.len < sizeof h->method - 1 ? method.len : sizeof h->method - 1;
    memcpy(h->method, method.data, fits);
    h->method[fits] = '\0';
    space++;
    return is_version(kb_span(space, (size_t)(line.data + line.len - space)));
}

static bool read_status_line(struct kb_http *h, struct kb_span line)
{
    struct kb_span version = kb_span_take_most(&line, 8);
    if (!is_version(version) || line.len < 4 || line.data[0] != ' ')
        return false;
    h->status = 0;
    for (int i = 1; i < 4; i++) {
        if (line.data[i] < '0' || line.data[i] > '9')
            return false;
        h->status = h->status * 10 + (unsigned)(line.data[i] - '0');
    }
    return h->status >= 100 && (line.len == 4 || line.data[4] == ' ');
}

struct framing {
    unsigned lengths, codings;
    uint64_t length;
};

static bool read_field(struct kb_http *h, struct kb_span line, struct framing *f)
{
    size_t n = 0;
    while (n < line.len && is_token(line.data[n]))
        n++;
    struct kb_span name = kb_span_take_most(&line, n);
    if (!name.len || !line.len || line.data[0] != ':')
        return false; /* a continued line too: obsolete, and read in more than one way */
    struct kb_span value = kb_span(line.data + 1, line.len - 1);
    while (value.len && (value.data[0] == ' ' || value.data[0] == '\t'))
        kb_span_take_most(&value, 1);
    while (value.len && (value.data[value.len - 1] == ' ' || value.data[value.len - 1] == '\t'))
        value.len--;
    if (same(name, "content-length")) {
        f->lengths++;
        return read_length(value, &f->length);
    }
    if (same(name, "transfer-encoding")) {
        f->codings++;
        return same(value, "chunked");
    }
    if (same(name, "expect"))
        h->expects = true;
    /* To another protocol: nothing behind it could be read. */
    return !same(name, "upgrade") || h->response;
}

static enum kb_http_event read_head(struct kb_http *h)
{
    struct kb_span rest = kb_buf_span(&h->head), line;
    struct framing f = {0};
    h->expects = false;
    if (!take_line(&rest, &line) ||
        !(h->response ? read_status_line(h, line) : read_request_line(h, line)))
        return KB_HTTP_BAD;
    for (;;) {
        if (!take_line(&rest, &line))
            return KB_HTTP_BAD;
        if (!line.len)
            break;
        if (!read_field(h, line, &f))
            return KB_HTTP_BAD;
    }
    if (f.lengths + f.codings > 1)
        return KB_HTTP_BAD;
    /* RFC 9112, 6.3 */
    bool none =
        h->response && (h->bodiless || h->status < 200 || h->status == 204 || h->status == 304);
    h->left = none ? 0 : f.length;
    if (h->response && h->status == 101)
        return KB_HTTP_BAD;
    if (none || (!f.codings && !h->left && (f.lengths || !h->response)))
        h->state = KB_HTTP_LENGTH;
    else if (f.codings)
        h->state = KB_HTTP_CHUNK_SIZE;
    else
        h->state = f.lengths ? KB_HTTP_LENGTH : KB_HTTP_TO_THE_END;
    h->has_body = h->state != KB_HTTP_LENGTH || h->left;
    h->line = 0;
    h->digits = h->carriage = false;
    return KB_HTTP_READ;
}

/* One byte at a time up to the empty line. */
static enum kb_http_event take_head(struct kb_http *h, struct kb_span *bytes)
{
    while (bytes->len) {
        struct kb_span one = kb_span_take_most(bytes, 1);
        kb_buf_add(&h->head, one.data, 1);
        const uint8_t *head = h->head.data;
        size_t n = h->head.len;
        if (n == 2 && head[0] == '\r' && head[1] == '\n')
            return KB_HTTP_BAD; /* no empty lines between messages: nobody of today sends them */
        if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0)
            return read_head(h);
        if (n >= KB_HTTP_HEAD_MAX)
            return KB_HTTP_BAD;
    }
    return KB_HTTP_MORE;
}

static int hex(uint8_t b)
{
    return b >= '0' && b <= '9'   ? b - '0'
           : b >= 'a' && b <= 'f' ? b - 'a' + 10
           : b >= 'A' && b <= 'F' ? b - 'A' + 10
                                  : -1;
}

/* A chunk's first line: hex digits, and no extensions, which nobody uses and few read alike. */
static bool chunk_size(struct kb_http *h, uint8_t b)
{
    if (h->carriage) {
        if (b != '\n' || !h->digits)
            return false;
        h->carriage = h->digits = false;
        h->line = 0;
        h->state = h->left ? KB_HTTP_CHUNK_DATA : KB_HTTP_TRAILER;
        return true;
    }
    if (b == '\r') {
        h->carriage = true;
        return true;
    }
    int digit = hex(b);
    if (digit < 0 || ++h->line > 15)
        return false;
    h->left = (h->digits ? h->left << 4 : 0) | (uint64_t)digit;
    h->digits = true;
    return true;
}

static bool chunk_end(struct kb_http *h, uint8_t b)
{
    if (b != (h->carriage ? '\n' : '\r'))
        return false;
    h->carriage = !h->carriage;
    if (!h->carriage)
        h->state = KB_HTTP_CHUNK_SIZE;
    return true;
}

/* Lines up to the empty one; *done then. */
static bool trailer(struct kb_http *h, uint8_t b, bool *done)
{
    if (h->carriage) {
        h->carriage = false;
        *done = h->line == 0;
        h->line = 0;
        return b == '\n';
    }
    if (b == '\r') {
        h->carriage = true;
        return true;
    }
    return b >= ' ' && b != 0x7f && ++h->line <= LINE_MAX_SIZE;
}

static enum kb_http_event done(struct kb_http *h)
{
    h->state = KB_HTTP_HEAD;
    h->head.len = 0;
    return KB_HTTP_DONE;
}

static enum kb_http_event take(struct kb_http *h, struct kb_span *bytes)
{
    if (h->state == KB_HTTP_HEAD)
        return take_head(h, bytes);
    if (h->state == KB_HTTP_LENGTH && !h->left)
        return done(h);
    while (bytes->len) {
        bool good = true, ended = false;
        switch (h->state) {
        case KB_HTTP_LENGTH:
        case KB_HTTP_CHUNK_DATA:
            h->left -= kb_span_take_most(bytes, h->left).len;
            if (!h->left && h->state == KB_HTTP_LENGTH)
                return done(h);
            if (!h->left)
                h->state = KB_HTTP_CHUNK_END;
            break;
        case KB_HTTP_CHUNK_SIZE:
            good = chunk_size(h, *kb_span_take_most(bytes, 1).data);
            break;
        case KB_HTTP_CHUNK_END:
            good = chunk_end(h, *kb_span_take_most(bytes, 1).data);
            break;
        case KB_HTTP_TRAILER:
            good = trailer(h, *kb_span_take_most(bytes, 1).data, &ended);
            break;
        case KB_HTTP_TO_THE_END:
        case KB_HTTP_HEAD:
            kb_span_take_most(bytes, bytes->len);
            break;
        }
        if (!good)
            return KB_HTTP_BAD;
        if (ended)
            return done(h);
    }
    return KB_HTTP_MORE;
}

enum kb_http_event kb_http_next(struct kb_http *h, struct kb_span *bytes, struct kb_span *taken)
{
    const uint8_t *from = bytes->data;
    enum kb_http_event e = take(h, bytes);
    *taken = kb_span(from, (size_t)(bytes->data - from));
    return e;
}
