/* Whether filters allow a device. Source: usbredirfilter.c of usbredir 0.13. Pure; any thread. */
#include "policy/usb_device.h"

#define CLASS_PER_INTERFACE 0x00
#define CLASS_HID 0x03
#define HID_KEYBOARD 0x01
#define CLASS_MISCELLANEOUS 0xef

static bool matches(int32_t rule, uint16_t value)
{
    return rule == KB_USB_ANY || rule == value;
}

static bool allows_class(const struct kb_usb_filter *f, const struct kb_usb_device *d,
                         uint8_t device_class)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct kb_usb_rule *r = &f->rules[i];
        if (matches(r->device_class, device_class) && matches(r->vendor, d->vendor) &&
            matches(r->product, d->product) && matches(r->version, d->version))
            return r->allow;
    }
    return false;
}

bool kb_usb_filter_allows(const struct kb_usb_filter *f, const struct kb_usb_device *d)
{
    if (d->device_class != CLASS_PER_INTERFACE && d->device_class != CLASS_MISCELLANEOUS &&
        !allows_class(f, d, d->device_class))
        return false;
    for (unsigned i = 0; i < d->interface_count; i++) {
        const struct kb_usb_interface *n = &d->interfaces[i];
        bool plain = n->device_class == CLASS_HID && !n->subclass && !n->protocol;
        if (plain && d->interface_count > 1 && !d->has_keys)
            continue;
        if (!allows_class(f, d, n->device_class))
            return false;
    }
    return true;
}

bool kb_usb_device_is_keyboard(const struct kb_usb_device *d)
{
    if (d->has_keys)
        return true;
    for (unsigned i = 0; i < d->interface_count; i++)
        if (d->interfaces[i].device_class == CLASS_HID && d->interfaces[i].protocol == HID_KEYBOARD)
            return true;
    return false;
}

enum kb_rule kb_limits_forbid_usb(const struct kb_limits *l, const struct kb_usb_device *d)
{
    if (!l->usb)
        return KB_RULE_USB;
    if (!l->usb_keyboards && kb_usb_device_is_keyboard(d))
        return KB_RULE_USB_KEYBOARDS;
    for (size_t i = 0; i < l->usb_filters.count; i++)
        if (!kb_usb_filter_allows(l->usb_filters.filters[i], d))
            return KB_RULE_USB_FILTER;
    return KB_RULE_COUNT;
}

void kb_usb_device_describe(const struct kb_usb_device *d, struct kb_buf *out)
{
    kb_buf_printf(out, "%04x:%04x version %x.%02x class %02x", d->vendor, d->product,
                  d->version >> 8, d->version & 0xff, d->device_class);
    for (unsigned i = 0; i < d->interface_count; i++)
        kb_buf_printf(out, "%s%02x/%02x/%02x", i ? " " : ", interfaces ",
                      d->interfaces[i].device_class, d->interfaces[i].subclass,
                      d->interfaces[i].protocol);
    if (d->has_keys)
        kb_buf_printf(out, ", keys in its reports");
}
