/* WebSocket frames from a cloud: read whole and byte by byte, which must come to the same. */
#include "fuzz.h"

#include "base/websocket.h"

static void read_all(struct kb_span bytes, size_t step, struct kb_buf *seen)
{
    struct kb_ws_reader r = {0};
    enum kb_ws_event event = KB_WS_MORE;
    for (size_t at = 0; at < bytes.len && event != KB_WS_BROKEN; at += step) {
        struct kb_span in = kb_span(bytes.data + at, bytes.len - at < step ? bytes.len - at : step);
        do {
            struct kb_span payload = {0};
            event = kb_ws_read(&r, &in, &payload);
            MUST(payload.len <= bytes.len);
            if (event == KB_WS_GOT_DATA || event == KB_WS_GOT_CONTROL)
                kb_buf_add(seen, payload.data, payload.len);
            else if (event == KB_WS_GOT_TEXT)
                kb_buf_add(seen, "T", 1);
        } while (event != KB_WS_MORE && event != KB_WS_BROKEN);
        MUST(event == KB_WS_BROKEN || in.len == 0);
    }
    kb_buf_add(seen, event == KB_WS_BROKEN ? "X" : ".", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kb_buf whole = {0}, bytes = {0};
    read_all(kb_span(data, size), size ? size : 1, &whole);
    read_all(kb_span(data, size), 1, &bytes);
    MUST(whole.len == bytes.len && memcmp(whole.data, bytes.data, whole.len) == 0);
    kb_buf_finish(&whole);
    kb_buf_finish(&bytes);
    return 0;
}
