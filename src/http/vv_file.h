/* The .vv file that a stock client opens: the one place that knows its keys. Pure. Names in it come
 * from clouds and users; none of them can break out of its line. */
#ifndef KB_HTTP_VV_FILE_H
#define KB_HTTP_VV_FILE_H

#include "base/buf.h"

struct kb_vv_file {
    const char *host;
    uint16_t tls_port, plain_port; /* 0: left out; without tls_port nothing is secure */
    const char *password;
    const char *title;
    const char *ca_pem, *host_subject; /* NULL: left out */
    int64_t valid_until;               /* wall clock ms; 0: left out */
    bool usbredir, usb_autoshare, smartcard;
    const char *usb_filter, *disable_channels; /* NULL: left out */
};

#define KB_VV_CONTENT_TYPE "application/x-virt-viewer;charset=UTF-8"

/* Reserves what it needs before it writes: no copy of the password stays behind. */
void kb_vv_file_write(const struct kb_vv_file *v, struct kb_buf *out);
/* "attachment; filename=\"NAME.vv\"", with filename* when the name is more than safe ASCII. */
void kb_vv_disposition(const char *console_name, struct kb_buf *out);

#endif
