/* The entry: what the first bytes of a connection are. What is said of a prefix is never taken
 * back, and four bytes always decide. */
#include "fuzz.h"

#include "proxy/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum kb_sniffed before = KB_SNIFF_MORE;
    for (size_t n = 0; n <= size && n <= 2 * KB_SNIFF_SIZE; n++) {
        enum kb_sniffed now = kb_sniff(kb_span(data, n));
        MUST(before == KB_SNIFF_MORE || now == before);
        MUST(n < KB_SNIFF_SIZE || now != KB_SNIFF_MORE);
        if (now == KB_SNIFF_SPICE)
            MUST(memcmp(data, "REDQ", 4) == 0);
        if (now == KB_SNIFF_TLS)
            MUST(data[0] == 0x16);
        before = now;
    }
    return 0;
}
