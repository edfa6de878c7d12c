/* libvirt's XML of a domain. What is read as one can be given a password, and is then read as the
 * same one. */
#include "fuzz.h"

#include "source/libvirt_domain.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *xml = calloc(size + 1, 1);
    struct kb_libvirt_domain d;
    MUST(xml);
    if (size)
        memcpy(xml, data, size);
    if (kb_libvirt_domain_read(xml, &d)) {
        struct kb_secret with = kb_libvirt_graphics(&d, "secret", 1800000000);
        MUST(strncmp(with.text, "<graphics passwd='secret' ", 26) == 0);
        MUST(d.local || d.port || d.tls_port);
        kb_secret_finish(&with);
    }
    kb_libvirt_domain_finish(&d);
    free(xml);
    return 0;
}
