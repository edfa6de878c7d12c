/* Networks and the addresses in them. Pure; any thread. */
#include "identity/cidr.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* All as IPv6, IPv4 below ::ffff:0:0/96. */
struct network {
    uint8_t bytes[16];
    unsigned bits;
    bool v4;
};

static bool read_address(const char *text, struct network *n)
{
    struct in_addr v4;
    memset(n, 0, sizeof *n);
    n->bits = 128;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        n->v4 = true;
        n->bytes[10] = n->bytes[11] = 0xff;
        memcpy(n->bytes + 12, &v4, 4);
        return true;
    }
    return inet_pton(AF_INET6, text, n->bytes) == 1;
}

static bool read_network(const char *text, struct network *n)
{
    char address[64];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof address)
        return false;
    memcpy(address, text, len);
    address[len] = '\0';
    if (!read_address(address, n))
        return false;
    if (!slash)
        return true;
    size_t digits = strspn(slash + 1, "0123456789");
    unsigned long most = n->v4 ? 32 : 128, bits = strtoul(slash + 1, NULL, 10);
    if (digits < 1 || digits > 3 || slash[1 + digits] || bits > most)
        return false;
    n->bits = (unsigned)bits + (n->v4 ? 96 : 0);
    return true;
}

static bool bit(const uint8_t bytes[16], unsigned i)
{
    return bytes[i / 8] >> (7 - i % 8) & 1;
}

bool kb_cidr_valid(const char *text)
{
    struct network n;
    if (!read_network(text, &n))
        return false;
    for (unsigned i = n.bits; i < 128; i++)
        if (bit(n.bytes, i))
            return false;
    return true;
}

static bool contains(const struct network *n, const struct network *address)
{
    for (unsigned i = 0; i < n->bits; i++)
        if (bit(n->bytes, i) != bit(address->bytes, i))
            return false;
    return true;
}

bool kb_cidr_match(const char *list, const char *address)
{
    struct network a, n;
    if (!read_address(address, &a))
        return false;
    while (list && *list) {
        char entry[64];
        size_t len = strcspn(list, "\n");
        if (len > 0 && len < sizeof entry) {
            memcpy(entry, list, len);
            entry[len] = '\0';
            if (read_network(entry, &n) && contains(&n, &a))
                return true;
        }
        list += len + (list[len] == '\n');
    }
    return false;
}
