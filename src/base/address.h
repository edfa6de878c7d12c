/* Addresses of clients as texts. Pure. */
#ifndef KB_BASE_ADDRESS_H
#define KB_BASE_ADDRESS_H

/* Whom to count an address as: an IPv6 address is its /64, which is what one customer has whole
 * (RFC 6177), anything else is itself. An address may have a port behind it as in
 * "192.0.2.7:4711" or "[2001:db8::1]:4711", which is left out. */
void kb_address_group(const char *address, char group[64]);

#endif
