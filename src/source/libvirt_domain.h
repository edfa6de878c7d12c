/* What libvirt's texts say: the XML of a domain, and the URI of a connection. Pure: no libvirt, no
 * sockets. Facts: docs/formatdomain.rst and docs/uri.rst of libvirt. */
#ifndef KB_SOURCE_LIBVIRT_DOMAIN_H
#define KB_SOURCE_LIBVIRT_DOMAIN_H

#include "base/auto.h"
#include "base/secret.h"
#include "source/source.h"

#define KB_LIBVIRT_OURS "urn:kerbside:1" /* the namespace of our metadata */

struct kb_libvirt_domain {
    enum kb_protocol protocol;
    unsigned index;          /* its graphics element among all of the domain */
    bool local;              /* it is on no port: a socket file, or nothing at all */
    char *address;           /* where it listens; NULL: the XML does not say */
    uint16_t port, tls_port; /* 0: none */
    char *owner;             /* <console owner=""> of our namespace in the metadata, or NULL */
    char *graphics;          /* the element itself, without its password */
};
/* Of its graphics devices the first SPICE one counts, else the first VNC one. False: the text is no
 * domain, or one without either. finish takes what was read, and what was not. */
KB_MUST_CHECK bool kb_libvirt_domain_read(const char *xml, struct kb_libvirt_domain *d);
void kb_libvirt_domain_finish(struct kb_libvirt_domain *d);

/* The element with a password that is good until then (seconds since 1970) for those who are not
 * connected yet, for virDomainUpdateDeviceFlags. The password is one of ours: nothing in it needs
 * escaping. */
struct kb_secret kb_libvirt_graphics(const struct kb_libvirt_domain *d, const char *password,
                                     int64_t until);

/* The host of a connection's URI, to be freed; NULL: it names none, which is this machine. */
char *kb_libvirt_host_of(const char *uri);
/* What to dial for a SPICE server that listens on address (NULL: anywhere) of host (NULL: this
 * machine), to be freed; NULL: it can only be reached from that host itself. */
char *kb_libvirt_dial(const char *host, const char *address);

#endif
