/* The parts that are alike in both legs' link messages: the header and the capability words.
 * Pure: any thread, no state. */
#include "spice/link_read.h"

static const uint8_t magic[4] = {'R', 'E', 'D', 'Q'};

bool kb_link_magic_ok(struct kb_span head)
{
    return memcmp(head.data, magic, head.len < sizeof magic ? head.len : sizeof magic) == 0;
}

void kb_link_add_header(struct kb_buf *out, uint32_t body_size)
{
    kb_buf_add(out, magic, sizeof magic);
    kb_buf_add_u32(out, KB_LINK_MAJOR);
    kb_buf_add_u32(out, KB_LINK_MINOR);
    kb_buf_add_u32(out, body_size);
}

void kb_link_add_caps(struct kb_buf *out, const struct kb_caps *caps)
{
    for (unsigned i = 0; i < caps->common_words; i++)
        kb_buf_add_u32(out, caps->common[i]);
    for (unsigned i = 0; i < caps->channel_words; i++)
        kb_buf_add_u32(out, caps->channel[i]);
}

bool kb_link_read_caps(struct kb_span body, size_t at, size_t fixed, struct kb_caps *caps)
{
    uint32_t common = kb_get_u32(body.data + at);
    uint32_t channel = kb_get_u32(body.data + at + 4);
    uint32_t offset = kb_get_u32(body.data + at + 8);

    *caps = (struct kb_caps){0};
    if (common > KB_LINK_CAPS_MAX || channel > KB_LINK_CAPS_MAX)
        return false;
    /* spice-server too looks at the offset only if it points to something; its replies that carry
     * an error have 0 there. */
    if (common + channel == 0)
        return true;
    size_t words_size = (size_t)(common + channel) * 4;
    if (offset < fixed || offset > body.len || body.len - offset < words_size)
        return false;

    const uint8_t *word = body.data + offset;
    for (uint32_t i = 0; i < common; i++, word += 4)
        caps->common[i] = kb_get_u32(word);
    for (uint32_t i = 0; i < channel; i++, word += 4)
        caps->channel[i] = kb_get_u32(word);
    caps->common_words = (uint8_t)common;
    caps->channel_words = (uint8_t)channel;
    return true;
}
