/* Fills a .vv file in from options, grant and token. HTTP threads. */
#include "http/vv_reply.h"

#include "http/vv_file.h"

void kb_reply_vv(struct kb_request *r, unsigned status, const char *console_name,
                 const struct kb_grant_row *grant, const char *token)
{
    const struct kb_http_options *o = r->options;
    const char *name = console_name && *console_name ? console_name : grant->uuid;
    kb_auto_free char *title = kb_printf("%s - %s", name, grant->user);
    struct kb_vv_file v = {
        .host = o->public_host,
        .tls_port = o->public_spice_port,
        .plain_port = o->public_plain_port,
        .password = token,
        .title = title,
        .ca_pem = o->ca_pem,
        .host_subject = o->host_subject,
        .valid_until = grant->expires_at,
        .usbredir = true,
        .usb_autoshare = true,
        .smartcard = true,
        /* The viewer redirects a USB device when its user picks one, never on plugging it in. */
        .usb_filter = "-1,-1,-1,-1,0",
    };
    kb_auto(kb_buf_finish) struct kb_buf disposition = {0};
    kb_vv_disposition(name, &disposition);
    r->status = status;
    r->content_type = KB_VV_CONTENT_TYPE;
    r->out.len = 0;
    kb_vv_file_write(&v, &r->out);
    kb_reply_header(r, "Content-Disposition", "%.*s", (int)disposition.len,
                    (const char *)disposition.data);
}
