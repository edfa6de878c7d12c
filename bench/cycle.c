/* See cycle.h. */
#include "cycle.h"

#include <spice/enums.h>

#define CYCLE_BYTES (4u << 20)

const char *const mix_names[MIX_COUNT] = {"64k", "16k", "small"};

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

void cycle_make(struct cycle *c, enum mix mix)
{
    static const uint8_t stream_id[4];
    uint32_t random = 2463534242u;
    *c = (struct cycle){0};
    kb_buf_reserve(&c->bytes, CYCLE_BYTES + 65536);
    while (c->bytes.len < CYCLE_BYTES) {
        uint32_t size = mix == MIX_64K   ? 65536
                        : mix == MIX_16K ? 16384
                                         : 200 + next_random(&random) % (4096 - 200 + 1);
        uint32_t data = size - MSG_HEADER - 12;
        kb_buf_add_u16(&c->bytes, SPICE_MSG_DISPLAY_STREAM_DATA);
        kb_buf_add_u32(&c->bytes, size - MSG_HEADER);
        kb_buf_add(&c->bytes, stream_id, sizeof stream_id);
        kb_buf_add_u32(&c->bytes, 0); /* the time; in the first message the cycle's number */
        kb_buf_add_u32(&c->bytes, data);
        for (uint32_t i = 0; i < data; i += 4) {
            uint8_t word[4];
            kb_put_u32(word, next_random(&random));
            kb_buf_add(&c->bytes, word, data - i < 4 ? data - i : 4);
        }
        c->messages++;
    }
}
