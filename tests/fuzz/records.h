/* An input as a conversation: a byte of rules, a byte of cuts, then records of a byte with the
 * direction (and what the target makes of the other bits), u16 length, that many bytes. */
#ifndef KB_FUZZ_RECORDS_H
#define KB_FUZZ_RECORDS_H

#include "fuzz.h"

#include "policy/rules.h"

struct record {
    uint8_t kind;
    struct kb_span bytes;
};

static inline bool next_record(struct kb_span *in, struct record *r)
{
    if (in->len < 3)
        return false;
    r->kind = in->data[0];
    size_t len = kb_get_u16(in->data + 1);
    kb_span_take_most(in, 3);
    r->bytes = kb_span_take_most(in, len);
    return true;
}

/* Rules by the bits of a byte; bit 7: they are observed only. */
static inline struct kb_rules *rules_of(uint8_t bits)
{
    struct kb_rules *rules = kb_rules_create();
    struct kb_limits *l = &rules->all;
    l->clipboard_in = !(bits & 1);
    l->clipboard_out = !(bits & 2);
    l->clipboard_primary = !(bits & 4);
    l->clipboard_text_only = bits & 8;
    l->clipboard_max = bits & 16 ? 100 : 0;
    l->files_in = !(bits & 32);
    l->files_max = bits & 16 ? 1000 : 0;
    l->resize = !(bits & 64);
    l->screens = bits & 4 ? 1 : 0;
    l->view_only = bits & 64;
    l->usb = !(bits & 1);
    l->usb_keyboards = !(bits & 2);
    l->folders = (uint8_t)(bits % 3);
    if (bits & 128)
        rules->observing = true;
    else
        rules->enforced = rules->all;
    return rules;
}

#endif
