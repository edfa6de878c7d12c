/* The host-subject: a certificate's subject as text, "C=AU, O=Lab, CN=host", the pin of .vv files
 * and sources. Rules as spice-common's ssl_verify.c has them: all entries in order, the keys C ST L
 * O OU CN DC emailAddress (case matters), `\` escapes `\` and `,` only, spaces before a key are
 * skipped, an empty value is an error, values are compared without case (of ASCII) and with white
 * space folded, and X.509's limits hold (a C of two letters, a CN of at most 64). A comma at the
 * end is tolerated. Stricter than there: only these keys, and a pin without any entry is an error.
 *
 * All three leave OpenSSL's error queue as it was, so that they may run inside a TLS callback. */
#ifndef KB_SPICE_HOST_SUBJECT_H
#define KB_SPICE_HOST_SUBJECT_H

#include "base/buf.h"

#include <openssl/x509.h>

/* NULL if the pin can be read, else a static text that says what is wrong with it. A NULL pin is an
 * empty one. */
const char *kb_host_subject_check(const char *pin);
/* Fails closed: a pin that cannot be read matches nothing; nor does a subject with characters that
 * cannot be decoded, an embedded NUL, or two entries in one set. subject may be NULL. */
bool kb_host_subject_matches(const char *pin, X509_NAME *subject);
/* Appends the subject as a pin that matches it, in one line of UTF-8. False, with nothing appended,
 * if it has no entry or one that a pin cannot say; a control character is such a thing. */
bool kb_host_subject_format(struct kb_buf *out, X509_NAME *subject);

#endif
