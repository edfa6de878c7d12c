/* Looks for a keyboard's keys in a HID report descriptor. Pure; the channel's loop. */
#include "policy/hid_report.h"

#define PAGE_KEYBOARD 0x07
/* An item's first byte: tag in bits 4-7, type in 2-3, size in 0-1. */
enum { TYPE_GLOBAL = 1, TYPE_LOCAL = 2 };
enum { GLOBAL_USAGE_PAGE = 0 };
enum { LOCAL_USAGE = 0, LOCAL_USAGE_MINIMUM = 1, LOCAL_USAGE_MAXIMUM = 2 };
#define TAG_LONG 15

static uint32_t value_of(struct kb_span data)
{
    uint32_t value = 0;
    for (size_t i = 0; i < data.len; i++)
        value |= (uint32_t)data.data[i] << (8 * i);
    return value;
}

/* Where the item names a usage page, that page: alone, or above a usage of four bytes. What is
 * above 16 bits of a page is nothing (Linux's hid-core.c shifts it out). */
static bool names_keyboard(unsigned type, unsigned tag, struct kb_span data)
{
    uint32_t value = value_of(data);
    if (type == TYPE_GLOBAL && tag == GLOBAL_USAGE_PAGE)
        return (value & 0xffff) == PAGE_KEYBOARD;
    return type == TYPE_LOCAL && tag <= LOCAL_USAGE_MAXIMUM && value >> 16 == PAGE_KEYBOARD;
}

bool kb_hid_report_has_keys(struct kb_span rest)
{
    static const uint8_t sizes[] = {0, 1, 2, 4};
    while (rest.len) {
        uint8_t head = rest.data[0];
        unsigned tag = head >> 4, type = head >> 2 & 3, size = sizes[head & 3];
        if (tag == TAG_LONG)
            return true;
        if (rest.len - 1 < size)
            return false; /* cut off: whoever reads it has no more of it either */
        if (names_keyboard(type, tag, kb_span(rest.data + 1, size)))
            return true;
        kb_span_take_most(&rest, 1 + size);
    }
    return false;
}
