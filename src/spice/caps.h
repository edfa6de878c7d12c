/* Capabilities: the words of bits that both ends of a link announce. */
#ifndef KB_SPICE_CAPS_H
#define KB_SPICE_CAPS_H

#include "spice/wire.h"

struct kb_caps {
    uint32_t common[KB_LINK_CAPS_MAX];
    uint32_t channel[KB_LINK_CAPS_MAX];
    uint8_t common_words, channel_words;
};

bool kb_caps_has_common(const struct kb_caps *c, unsigned bit);
bool kb_caps_has_channel(const struct kb_caps *c, unsigned bit);

/* What we announce to a client. Static, because our reply carries the key that the ticket needs, so
 * it is sent before we know the hypervisor; bits the hypervisor lacks must be harmless. */
void kb_caps_for_client(unsigned channel_type, struct kb_caps *out);

/* What we announce to the hypervisor for this client: the client's own, with AUTH_SELECTION,
 * AUTH_SPICE and MINI_HEADER set, AUTH_SASL cleared, display's GL_SCANOUT cleared (file descriptors
 * cannot cross), and main's migration bits 0 and 3 set: it is we who migrate, not the client. */
void kb_caps_for_server(unsigned channel_type, const struct kb_caps *client, struct kb_caps *out);

#endif
