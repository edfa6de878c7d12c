/* What an HTTP proxy answers to CONNECT: the same however it comes, and a reason that a terminal
 * may be shown. */
#include "fuzz.h"

#include "net/tunnel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t n = 0; n <= size; n++) {
        size_t len = 0;
        char why[128] = "";
        enum kb_tunnel t = kb_tunnel_answer(kb_span(data, n), &len, why);
        if (t == KB_TUNNEL_MORE)
            continue;
        if (t == KB_TUNNEL_OPEN)
            MUST(len == n && data[n - 1] == '\n'); /* at the first byte that could be its end */
        else
            MUST(*why && strlen(why) < sizeof why);
        for (const char *c = why; *c; c++)
            MUST(*c >= 0x20 && *c < 0x7f);
        break;
    }
    return 0;
}
