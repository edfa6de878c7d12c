/* HID report descriptors: what a device's reports can say. Pure. Source: Device Class Definition
 * for HID 1.11, section 6.2.2; HID Usage Tables 1.3, section 3. */
#ifndef KB_POLICY_HID_REPORT_H
#define KB_POLICY_HID_REPORT_H

#include "base/span.h"

#include <stdbool.h>

/* Whether keys of a keyboard are among what it describes: usages of the page Keyboard/Keypad, which
 * are the only ones that systems take for typing, whatever collection or interface they stand in.
 * The descriptor may be cut off anywhere. One that two readers may understand differently (a long
 * item, which no device has) is taken for a keyboard's. */
bool kb_hid_report_has_keys(struct kb_span descriptor);

#endif
