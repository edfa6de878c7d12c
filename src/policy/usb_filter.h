/* A filter of USB devices in the syntax of libvirt, virt-viewer and usbredir: rules
 * `class,vendor,product,version,allow` divided by "|"; -1 is any; numbers are decimal or 0x-hex;
 * allow is 0 or 1. The first rule that matches decides; a device that none matches is refused
 * (usbredirfilter.c of usbredir, without its flag default_allow). Pure. */
#ifndef KB_POLICY_USB_FILTER_H
#define KB_POLICY_USB_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KB_USB_ANY (-1)
#define KB_USB_FILTER_MAX 256 /* rules */

struct kb_usb_rule {
    int32_t device_class, vendor, product; /* KB_USB_ANY or 0..255, 0..65535 */
    int32_t version;                       /* bcdDevice: KB_USB_ANY or 0..65535 */
    bool allow;
};

struct kb_usb_filter {
    size_t count;
    struct kb_usb_rule *rules;
};

/* NULL: well read, *f is to be finished. Else what is wrong, for a person; *f is empty. */
const char *kb_usb_filter_parse(const char *text, struct kb_usb_filter *f);
void kb_usb_filter_finish(struct kb_usb_filter *f);
/* As text, to be freed. */
char *kb_usb_filter_format(const struct kb_usb_filter *f);

#endif
