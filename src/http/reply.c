/* Answers: builds status, headers and body in the request; the server sends them. HTTP threads. */
#include "http/stream.h"

#include "base/priority.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Answers with a token are smaller than this, so that a growing buffer leaves no copy of one
 * behind. */
#define ROOM 8192
#define OFFER_EVERY 4096

static int add_json(const char *data, size_t len, void *out)
{
    struct kb_buf *buf = out;
    /* A page of a list is some hundred KiB, in parts of a few bytes. */
    if (buf->len % OFFER_EVERY + len >= OFFER_EVERY)
        kb_thread_offer();
    kb_buf_add(buf, data, len);
    return 0;
}

void kb_reply_json(struct kb_request *r, unsigned status, json_t *body)
{
    r->status = status;
    r->content_type = "application/json; charset=utf-8";
    r->out.len = 0;
    kb_buf_reserve(&r->out, ROOM);
    json_dump_callback(body, add_json, &r->out, JSON_COMPACT);
    kb_buf_add_str(&r->out, "\n");
    json_decref(body);
}

void kb_reply_empty(struct kb_request *r, unsigned status)
{
    r->status = status;
    r->content_type = NULL;
    r->out.len = 0;
}

void kb_reply_text(struct kb_request *r, unsigned status, const char *content_type,
                   const char *text)
{
    r->status = status;
    r->content_type = content_type;
    r->out.len = 0;
    kb_buf_add_str(&r->out, text);
}

void kb_reply_stream(struct kb_request *r, kb_stream_next *next, void (*finish)(void *state),
                     void *state)
{
    r->stream = kb_zalloc(sizeof *r->stream);
    *r->stream = (struct kb_stream){.next = next, .finish = finish, .state = state};
}

void kb_reply_error(struct kb_request *r, unsigned status, const char *code, const char *format,
                    ...)
{
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    kb_reply_json(r, status,
                  json_pack("{s:{s:s, s:o, s:s}}", "error", "code", code, "message",
                            kb_json_text(message), "request_id", r->id));
}

void kb_reply_store_failed(struct kb_request *r)
{
    kb_reply_header(r, "Retry-After", "5");
    kb_reply_error(r, 503, "store_failed", "the store cannot be read or written right now");
}

void kb_reply_no_page(struct kb_request *r, enum kb_store_status status)
{
    if (status == KB_STORE_NOT_FOUND)
        kb_reply_error(r, 422, "invalid_parameter", "cursor is not one of this list");
    else
        kb_reply_store_failed(r);
}

void kb_reply_header(struct kb_request *r, const char *name, const char *format, ...)
{
    if (r->header_count == KB_REPLY_HEADERS)
        return;
    struct kb_buf b = {0};
    va_list args;
    va_start(args, format);
    char value[2048];
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    value[strcspn(value, "\r\n")] = '\0';
    kb_buf_add_str(&b, value);
    kb_wipe(value, sizeof value); /* it may be a cookie */
    r->headers[r->header_count].name = name;
    r->headers[r->header_count++].value = kb_buf_steal(&b);
}

void kb_reply_list(struct kb_request *r, json_t *items, const char *next)
{
    kb_reply_json(r, 200, json_pack("{s:o, s:o}", "items", items, "next", kb_json_text(next)));
}
