/* Rewrites the hosts that a cloud names to those by which this machine reaches them. Pure; any
 * thread. */
#include "source/driver.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

struct network {
    int family;
    uint8_t raw[16];
    unsigned bits; /* of the prefix */
};

static bool parse_address(const char *text, struct network *n)
{
    n->family = strchr(text, ':') ? AF_INET6 : AF_INET;
    n->bits = n->family == AF_INET ? 32 : 128;
    return inet_pton(n->family, text, n->raw) == 1;
}

/* "10.0.0.0/8"; a bare address is none. */
static bool parse_network(const char *text, struct network *n)
{
    const char *slash = strchr(text, '/');
    if (!slash || strlen(slash + 1) > 3 || slash[1] == '\0' ||
        slash[1 + strspn(slash + 1, "0123456789")] != '\0')
        return false;
    char address[INET6_ADDRSTRLEN];
    size_t len = (size_t)(slash - text);
    if (len >= sizeof address)
        return false;
    memcpy(address, text, len);
    address[len] = '\0';
    if (!parse_address(address, n))
        return false;
    unsigned bits = (unsigned)strtoul(slash + 1, NULL, 10);
    bool fits = bits <= n->bits;
    n->bits = bits;
    return fits;
}

static bool bit(const uint8_t *raw, unsigned i)
{
    return raw[i / 8] >> (7 - i % 8) & 1;
}

static bool contains(const struct network *n, const struct network *address)
{
    if (n->family != address->family)
        return false;
    for (unsigned i = 0; i < n->bits; i++)
        if (bit(n->raw, i) != bit(address->raw, i))
            return false;
    return true;
}

/* The network's part from to, the rest from the address. */
static char *move(const struct network *to, const struct network *address)
{
    uint8_t raw[16];
    memcpy(raw, address->raw, sizeof raw);
    for (unsigned i = 0; i < to->bits; i++) {
        uint8_t mask = (uint8_t)(1u << (7 - i % 8));
        raw[i / 8] = (uint8_t)((raw[i / 8] & ~mask) | (to->raw[i / 8] & mask));
    }
    char text[INET6_ADDRSTRLEN];
    return kb_strdup(inet_ntop(to->family, raw, text, sizeof text));
}

const char *kb_address_rule_check(const struct kb_address_rule *rule)
{
    struct network from, to;
    if (!*rule->from || !*rule->to)
        return "needs a host on both sides";
    bool network = strchr(rule->from, '/') != NULL;
    if (network && !parse_network(rule->from, &from))
        return "is not a network such as 10.0.0.0/8 or fd00::/16";
    if (!strchr(rule->to, '/'))
        return NULL;
    if (!network || !parse_network(rule->to, &to))
        return "has a network on one side alone";
    return from.family == to.family && from.bits == to.bits
               ? NULL
               : "has networks of different sizes on its sides";
}

/* NULL: the rule is not for this host. */
static char *apply(const struct kb_address_rule *rule, const char *host)
{
    struct network from, to, address;
    if (!parse_network(rule->from, &from))
        return fnmatch(rule->from, host, FNM_CASEFOLD) == 0 ? kb_strdup(rule->to) : NULL;
    if (!parse_address(host, &address) || !contains(&from, &address))
        return NULL;
    return parse_network(rule->to, &to) ? move(&to, &address) : kb_strdup(rule->to);
}

char *kb_address_map(const struct kb_source_config *config, const char *host)
{
    for (size_t i = 0; host && i < config->address_count; i++) {
        char *mapped = apply(&config->address_map[i], host);
        if (mapped)
            return mapped;
    }
    return kb_strdup(host);
}
