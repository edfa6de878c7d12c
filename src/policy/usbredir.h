/* The usbredir protocol inside a usbredir channel: which devices the guest may see. Source:
 * usbredirproto.h 0.7 and usbredirparser.c of usbredir 0.13; spice-gtk 0.42 usb-backend.c; QEMU
 * 7.2 hw/usb/redirect.c.
 *
 * The client says what its device is (interface_info, ep_info, device_connect); all three are held
 * until the device has been judged, so that of a refused one nothing reaches the guest. The client
 * is told as QEMU would tell it (filter_reject), what it still says of the device is swallowed up
 * to its device_disconnect, which is acknowledged in the guest's place; then another may come. A
 * device is judged again when its interfaces change, when the rules do, and by the descriptors that
 * it shows the guest itself: these are what the guest's drivers go by, and a client that lies in
 * device_connect does not get past them.
 *
 * The channel's data must not be compressed: kb_caps_for_server and kb_caps_for_client leave the
 * capability out. A message that is compressed all the same ends the channel. */
#ifndef KB_POLICY_USBREDIR_H
#define KB_POLICY_USBREDIR_H

#include "policy/content.h"
#include "policy/usb_device.h"

struct kb_usbredir;

struct kb_usbredir *kb_usbredir_create(void);
/* A device that the guest sees becomes a fact: unplugged. */
void kb_usbredir_finish(struct kb_usbredir *u, struct kb_content *c);
void kb_usbredir_destroy(struct kb_usbredir *u); /* takes NULL */

/* DATA and COMPRESSED_DATA, both ways. */
bool kb_usbredir_wants(uint16_t type);
/* A message's body or the next piece of it, in order; what is to be sent is in c->to, as messages
 * of their own, each as long as what of the piece goes on. False: the channel ends; why has been
 * reported. */
bool kb_usbredir_feed(struct kb_usbredir *u, struct kb_content *c, const struct kb_rules *rules,
                      enum kb_direction d, uint16_t type, struct kb_span bytes);

#endif
