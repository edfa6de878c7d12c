/* WebSocket frames. Any thread. */
#include "base/websocket.h"

#include "base/auto.h"
#include "base/mem.h"
#include "base/secret.h"

#include <openssl/sha.h>
#include <sodium.h>

#define KEY_SIZE 16
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, 1.3 */

void kb_ws_write(struct kb_buf *out, enum kb_ws_opcode opcode, struct kb_span payload)
{
    uint8_t head[14] = {(uint8_t)(0x80 | opcode)}, *mask;
    size_t size = 2;
    if (payload.len <= KB_WS_CONTROL_MAX) {
        head[1] = (uint8_t)(0x80 | payload.len);
    } else if (payload.len <= UINT16_MAX) {
        head[1] = 0x80 | 126;
        head[2] = (uint8_t)(payload.len >> 8);
        head[3] = (uint8_t)payload.len;
        size = 4;
    } else {
        head[1] = 0x80 | 127;
        for (int i = 0; i < 8; i++)
            head[2 + i] = (uint8_t)((uint64_t)payload.len >> (56 - 8 * i));
        size = 10;
    }
    mask = head + size;
    kb_random(mask, 4);
    kb_buf_add(out, head, size + 4);
    kb_buf_reserve(out, payload.len);
    for (size_t i = 0; i < payload.len; i++)
        out->data[out->len + i] = payload.data[i] ^ mask[i & 3];
    out->len += payload.len;
}

/* How many bytes head has, as far as it is known; at least 2. */
static size_t head_size(const struct kb_ws_reader *r)
{
    if (r->have < 2)
        return 2;
    unsigned size = r->head[1] & 0x7f;
    return size == 127 ? 10 : size == 126 ? 4 : 2;
}

static uint64_t payload_size(const struct kb_ws_reader *r)
{
    unsigned size = r->head[1] & 0x7f;
    uint64_t n = size < 126 ? size : 0;
    for (size_t i = 2; i < head_size(r); i++)
        n = n << 8 | r->head[i];
    return n;
}

/* The head is whole. False: against the protocol (RFC 6455, 5.1, 5.2, 5.4, 5.5). */
static bool begin_frame(struct kb_ws_reader *r)
{
    bool last = r->head[0] & 0x80;
    unsigned opcode = r->head[0] & 0x0f;
    r->left = payload_size(r);
    r->now = (enum kb_ws_opcode)opcode;
    if ((r->head[0] & 0x70) || (r->head[1] & 0x80) || r->left > INT64_MAX)
        return false;
    if (opcode >= KB_WS_CLOSE) {
        r->control_len = 0;
        return opcode <= KB_WS_PONG && last && r->left <= KB_WS_CONTROL_MAX;
    }
    if (opcode > KB_WS_BINARY ||
        (opcode == KB_WS_CONTINUATION) == (r->message == KB_WS_CONTINUATION))
        return false;
    if (opcode != KB_WS_CONTINUATION)
        r->message = r->now;
    return true;
}

static void end_frame(struct kb_ws_reader *r)
{
    r->inside = false;
    r->have = 0;
    if (r->now < KB_WS_CLOSE && (r->head[0] & 0x80))
        r->message = KB_WS_CONTINUATION;
}

static bool take_head(struct kb_ws_reader *r, struct kb_span *in)
{
    while (r->have < head_size(r)) {
        struct kb_span byte;
        if (!kb_span_take(in, 1, &byte))
            return false;
        r->head[r->have++] = byte.data[0];
    }
    return true;
}

enum kb_ws_event kb_ws_read(struct kb_ws_reader *r, struct kb_span *in, struct kb_span *payload)
{
    for (;;) {
        bool begins = !r->inside;
        if (begins && !take_head(r, in))
            return KB_WS_MORE;
        if (begins && !begin_frame(r)) {
            r->have = 0;
            return KB_WS_BROKEN;
        }
        r->inside = true;
        if (begins && r->message == KB_WS_TEXT && r->now < KB_WS_CLOSE)
            return KB_WS_GOT_TEXT;
        size_t n = in->len < r->left ? in->len : (size_t)r->left;
        if (!n && r->left)
            return KB_WS_MORE;
        kb_span_take(in, n, payload);
        r->left -= n;
        bool text = r->message == KB_WS_TEXT, control = r->now >= KB_WS_CLOSE;
        if (control) {
            memcpy(r->control + r->control_len, payload->data ? payload->data : r->head, n);
            r->control_len += n;
        }
        bool whole = r->left == 0;
        if (whole)
            end_frame(r);
        if (control && whole) {
            *payload = kb_span(r->control, r->control_len);
            return KB_WS_GOT_CONTROL;
        }
        if (!control && !text && n)
            return KB_WS_GOT_DATA;
    }
}

char *kb_ws_key(void)
{
    uint8_t raw[KEY_SIZE];
    char *key = kb_zalloc(sodium_base64_ENCODED_LEN(KEY_SIZE, sodium_base64_VARIANT_ORIGINAL));
    kb_random(raw, sizeof raw);
    sodium_bin2base64(key, sodium_base64_ENCODED_LEN(KEY_SIZE, sodium_base64_VARIANT_ORIGINAL), raw,
                      sizeof raw, sodium_base64_VARIANT_ORIGINAL);
    return key;
}

char *kb_ws_accept(const char *key)
{
    uint8_t digest[SHA_DIGEST_LENGTH];
    kb_auto_free char *text = kb_printf("%s%s", key, GUID);
    size_t size = sodium_base64_ENCODED_LEN(sizeof digest, sodium_base64_VARIANT_ORIGINAL);
    char *answer = kb_zalloc(size);
    SHA1((const unsigned char *)text, strlen(text), digest);
    sodium_bin2base64(answer, size, digest, sizeof digest, sodium_base64_VARIANT_ORIGINAL);
    return answer;
}
