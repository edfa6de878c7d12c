/* Fills a .vv file in from options, grant and token. HTTP threads. */
#include "http/vv_reply.h"

#include "http/policies.h"
#include "http/vv_file.h"
#include "spice/wire.h"

/* A hint: the client does not ask for what it would not get. The proxy refuses it all the same. */
static void add_disabled(const struct kb_limits *l, struct kb_buf *out)
{
    for (unsigned t = KB_CHANNEL_MAIN; t < KB_CHANNEL_END; t++)
        if (!kb_limits_allow_channel(l, t))
            kb_buf_printf(out, "%s;", kb_channel_type_name(t));
    if (out->len)
        kb_buf_add(out, "", 1);
}

void kb_reply_vv(struct kb_request *r, unsigned status, const char *console_name,
                 const struct kb_grant_row *grant, const char *token)
{
    const struct kb_http_options *o = r->options;
    const char *name = console_name && *console_name ? console_name : grant->uuid;
    struct kb_rules *rules = kb_request_rules(r, grant, console_name);
    const struct kb_limits *limits = &rules->enforced;
    kb_auto(kb_buf_finish) struct kb_buf off = {0};
    add_disabled(limits, &off);
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
        .usbredir = limits->usb,
        .usb_autoshare = limits->usb,
        .smartcard = limits->smartcard,
        .disable_channels = off.len ? (const char *)off.data : NULL,
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
    kb_rules_unref(rules);
}
