/* What both legs' link machines share; only link_*.c include this. */
#ifndef KB_SPICE_LINK_READ_H
#define KB_SPICE_LINK_READ_H

#include "base/buf.h"
#include "spice/caps.h"

/* The major version must be ours; any minor will do, as capabilities tell the rest. */
#define KB_LINK_MAJOR 2
#define KB_LINK_MINOR 2

/* Where the parts of SpiceLinkHeader are. */
enum {
    KB_LINK_AT_MAGIC = 0,
    KB_LINK_AT_MAJOR = 4,
    KB_LINK_AT_MINOR = 8,
    KB_LINK_AT_SIZE = 12,
};

/* False once the first bytes cannot become "REDQ" any more. */
bool kb_link_magic_ok(struct kb_span head);
void kb_link_add_header(struct kb_buf *out, uint32_t body_size);
void kb_link_add_caps(struct kb_buf *out, const struct kb_caps *caps);
/* Reads num_common_caps, num_channel_caps and caps_offset, which are three u32 that stand at `at`
 * in the body of both messages, and the words they point to. fixed is the size of the body without
 * capabilities. False if the words are too many or not inside the body behind the fixed part. */
bool kb_link_read_caps(struct kb_span body, size_t at, size_t fixed, struct kb_caps *caps);

#endif
