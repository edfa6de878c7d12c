/* See address.h. Pure. */
#include "base/address.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

void kb_address_group(const char *address, char group[64])
{
    struct in6_addr v6;
    bool brackets = *address == '[';
    const char *colon = strchr(address, ':');
    kb_copy_str(group, 64, address + brackets);
    if (brackets)
        group[strcspn(group, "]")] = '\0';
    else if (colon && !strchr(colon + 1, ':'))
        group[strcspn(group, ":")] = '\0';
    if (inet_pton(AF_INET6, group, &v6) != 1)
        return;
    if (IN6_IS_ADDR_V4MAPPED(&v6)) {
        inet_ntop(AF_INET, &v6.s6_addr[12], group, 64);
        return;
    }
    memset(&v6.s6_addr[8], 0, 8);
    inet_ntop(AF_INET6, &v6, group, 64);
}
