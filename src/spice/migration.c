/* Reads and writes what main says of a migration. What is done about it is proxy/migrate.c's. Pure;
 * any thread. */
#include "spice/migration.h"

#include <spice/enums.h>
#include <string.h>

/* SpiceMigrationDstInfo: u16 port, u16 sport, u32 size and u32 offset of the host, the same of the
 * certificate's subject; offsets count from the body's start, and both texts end in NUL. Behind it
 * u32 version in MIGRATE_BEGIN_SEAMLESS. */
enum { AT_PORT = 0, AT_TLS_PORT = 2, AT_HOST_SIZE = 4, AT_HOST = 8, AT_VERSION = 20 };
enum { INFO_SIZE = 20 };

/* A name or an address: nothing in it that a log or a resolver could take for something else. */
static bool is_host(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '/')
            return false;
    return len > 0;
}

bool kb_migration_read(uint16_t type, struct kb_span body, struct kb_migration_place *place)
{
    *place = (struct kb_migration_place){0};
    bool seamless = type == SPICE_MSG_MAIN_MIGRATE_BEGIN_SEAMLESS;
    if (body.len < INFO_SIZE + (seamless ? 4u : 0u))
        return false;
    size_t size = kb_get_u32(body.data + AT_HOST_SIZE), at = kb_get_u32(body.data + AT_HOST);
    if (size == 0 || size > sizeof place->host || at > body.len || size > body.len - at)
        return false;
    const char *host = (const char *)body.data + at;
    if (host[size - 1] != '\0' || !is_host(host, size - 1))
        return false;
    memcpy(place->host, host, size);
    place->port = kb_get_u16(body.data + AT_PORT);
    place->tls_port = kb_get_u16(body.data + AT_TLS_PORT);
    place->version = seamless ? kb_get_u32(body.data + AT_VERSION) : 0;
    return true;
}

void kb_migration_write(struct kb_buf *out, const char *host, uint16_t port, uint16_t tls_port,
                        const char *subject)
{
    uint32_t host_size = (uint32_t)strlen(host) + 1;
    uint32_t subject_size = subject ? (uint32_t)strlen(subject) + 1 : 0;
    kb_buf_add_u16(out, port);
    kb_buf_add_u16(out, tls_port);
    kb_buf_add_u32(out, host_size);
    kb_buf_add_u32(out, INFO_SIZE);
    kb_buf_add_u32(out, subject_size);
    kb_buf_add_u32(out, subject ? INFO_SIZE + host_size : 0);
    kb_buf_add(out, host, host_size);
    if (subject)
        kb_buf_add(out, subject, subject_size);
}

static bool is_from_server(bool main, uint16_t type)
{
    switch (type) {
    case SPICE_MSG_MIGRATE:
    case SPICE_MSG_MIGRATE_DATA:
        return true;
    case SPICE_MSG_MAIN_MIGRATE_BEGIN:
    case SPICE_MSG_MAIN_MIGRATE_CANCEL:
    case SPICE_MSG_MAIN_MIGRATE_SWITCH_HOST:
    case SPICE_MSG_MAIN_MIGRATE_END:
    case SPICE_MSG_MAIN_MIGRATE_BEGIN_SEAMLESS:
        return main;
    default:
        return false;
    }
}

static bool is_from_client(bool main, uint16_t type)
{
    switch (type) {
    case SPICE_MSGC_MIGRATE_FLUSH_MARK:
    case SPICE_MSGC_MIGRATE_DATA:
        return true;
    case SPICE_MSGC_MAIN_MIGRATE_CONNECTED:
    case SPICE_MSGC_MAIN_MIGRATE_CONNECT_ERROR:
    case SPICE_MSGC_MAIN_MIGRATE_END:
    case SPICE_MSGC_MAIN_MIGRATE_DST_DO_SEAMLESS:
    case SPICE_MSGC_MAIN_MIGRATE_CONNECTED_SEAMLESS:
        return main;
    default:
        return false;
    }
}

bool kb_migration_is(unsigned channel_type, enum kb_direction d, uint16_t type)
{
    bool main = channel_type == KB_CHANNEL_MAIN;
    return d == KB_FROM_SERVER ? is_from_server(main, type) : is_from_client(main, type);
}
