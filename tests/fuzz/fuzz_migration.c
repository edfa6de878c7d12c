/* Where a hypervisor says that its desktop goes. Input: u8 that chooses the message, its body. */
#include "fuzz.h"

#include "spice/migration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t types[] = {101, 111, 116};
    if (size < 1)
        return 0;
    struct kb_migration_place place, again;
    if (!kb_migration_read(types[data[0] % 3], kb_span(data + 1, size - 1), &place))
        return 0;
    MUST(*place.host && strlen(place.host) < sizeof place.host);
    for (const char *c = place.host; *c; c++)
        MUST(*c > ' ' && *c <= '~' && *c != '/');
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    kb_migration_write(&out, place.host, place.port, place.tls_port, NULL);
    MUST(kb_migration_read(111, kb_buf_span(&out), &again));
    MUST(strcmp(again.host, place.host) == 0 && again.port == place.port &&
         again.tls_port == place.tls_port);
    return 0;
}
