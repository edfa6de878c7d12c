/* Networks in the form "192.0.2.0/24" or "2001:db8::/32"; an address alone is a network of one.
 * Pure. */
#ifndef KB_IDENTITY_CIDR_H
#define KB_IDENTITY_CIDR_H

#include <stdbool.h>

/* Whether text is one; bits behind the prefix must be 0, so that a slip of the pen is noticed. */
bool kb_cidr_valid(const char *text);
/* Whether the address lies in one of the networks of the list (one a line). False for what is no
 * address. An IPv4 address in IPv6 clothes is the IPv4 address. */
bool kb_cidr_match(const char *list, const char *address);

#endif
