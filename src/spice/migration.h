/* Live migration on the wire: where a hypervisor says that the desktop goes, and which messages
 * belong to it. Pure. Sources: spice.proto of spice-common (DstInfo, migrate_begin,
 * migrate_switch_host, migrate_begin_seamless); spice-gtk 0.42 channel-main.c and channel-base.c,
 * spice-server reds.c for what peers make of them. */
#ifndef KB_SPICE_MIGRATION_H
#define KB_SPICE_MIGRATION_H

#include "base/buf.h"
#include "spice/wire.h"

/* Ports: 0 is none. */
struct kb_migration_place {
    char host[256];
    uint16_t port, tls_port;
    uint32_t version; /* of MIGRATE_BEGIN_SEAMLESS: of the state that goes along */
};

/* Body of MIGRATE_BEGIN, MIGRATE_SWITCH_HOST or MIGRATE_BEGIN_SEAMLESS (type says which). False: it
 * does not add up, or names no host. The certificate's subject is not read: nobody is to be trusted
 * because a hypervisor vouches for him. */
bool kb_migration_read(uint16_t type, struct kb_span body, struct kb_migration_place *place);
/* The body of a SWITCH_HOST; subject NULL: none. */
void kb_migration_write(struct kb_buf *out, const char *host, uint16_t port, uint16_t tls_port,
                        const char *subject);
/* Whether the message is about a migration: on any channel MIGRATE, MIGRATE_FLUSH_MARK and
 * MIGRATE_DATA, on main what announces, confirms and ends one. Not what the migration's target
 * says. */
bool kb_migration_is(unsigned channel_type, enum kb_direction d, uint16_t type);

#endif
