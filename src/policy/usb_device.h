/* A USB device as it says of itself, and whether filters allow it. Pure. */
#ifndef KB_POLICY_USB_DEVICE_H
#define KB_POLICY_USB_DEVICE_H

#include "base/buf.h"
#include "policy/rules.h"
#include "policy/verdicts.h"

#define KB_USB_INTERFACES_MAX 32 /* usbredirproto.h: usb_redir_interface_info_header */

struct kb_usb_interface {
    uint8_t device_class, subclass, protocol;
};

struct kb_usb_device {
    uint16_t vendor, product, version; /* version: bcdDevice */
    uint8_t device_class, subclass, protocol;
    bool has_keys; /* a report descriptor that it has shown names keys (hid_report.h) */
    unsigned interface_count;
    struct kb_usb_interface interfaces[KB_USB_INTERFACES_MAX];
};

/* As usbredirfilter_check of usbredir 0.13 with no flags: the device's class counts unless it is 0
 * or 0xef (see interfaces); then every interface must be allowed, but one of a plain HID (3/0/0,
 * volume buttons) among others is not asked unless the device has shown keys; what no rule matches
 * is refused. */
bool kb_usb_filter_allows(const struct kb_usb_filter *f, const struct kb_usb_device *d);
/* An interface's protocol says so (USB HID 1.11, 4.3), or a report descriptor did: protocols are
 * for BIOSes, and a HID interface without one (3/0/0) may be a keyboard all the same. */
bool kb_usb_device_is_keyboard(const struct kb_usb_device *d);
/* KB_RULE_COUNT, or what forbids the device. */
enum kb_rule kb_limits_forbid_usb(const struct kb_limits *l, const struct kb_usb_device *d);
/* "0951:1666 version 1.10 class 00, interfaces 08/06/50". */
void kb_usb_device_describe(const struct kb_usb_device *d, struct kb_buf *out);

#endif
