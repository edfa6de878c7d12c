/* What was moved through a channel or plugged in, as audit events. The loop's thread. */
#include "base/auto.h"
#include "base/mem.h"
#include "policy/usb_device.h"
#include "proxy/channel.h"
#include "proxy/session_state.h"

#include <inttypes.h>
#include <sodium.h>

/* Names come from strangers: the detail is a JSON string of what may be anything. */
static void describe_file(const struct kb_fact *f, struct kb_buf *out)
{
    char hash[2 * sizeof f->sha256 + 1];
    sodium_bin2hex(hash, sizeof hash, f->sha256, sizeof f->sha256);
    kb_buf_add_json(out, f->name ? f->name : "");
    kb_buf_printf(out, ", %" PRIu64 " of %" PRIu64 " bytes%s, sha256 %s", f->bytes, f->size,
                  f->complete ? "" : ", not complete", hash);
}

void kb_channel_fact(struct kb_channel *ch, const struct kb_fact *f)
{
    static const char *const events[] = {
        [KB_FACT_CLIPBOARD] = "clipboard.moved",   [KB_FACT_FILE] = "file.moved",
        [KB_FACT_USB_PLUGGED] = "usb.plugged",     [KB_FACT_USB_REFUSED] = "usb.refused",
        [KB_FACT_USB_UNPLUGGED] = "usb.unplugged",
    };
    kb_auto(kb_buf_finish) struct kb_buf detail = {0};
    if (f->kind == KB_FACT_FILE)
        describe_file(f, &detail);
    else if (f->usb)
        kb_usb_device_describe(f->usb, &detail);
    else
        kb_buf_printf(&detail, "%" PRIu64 " bytes, %s", f->bytes, kb_direction_name(f->direction));
    kb_buf_add(&detail, "", 1);
    struct kb_audit_event e = {0};
    kb_copy_str(e.event, sizeof e.event, events[f->kind]);
    kb_channel_describe(ch, &e);
    kb_copy_str(e.detail, sizeof e.detail, (const char *)detail.data);
    kb_store_audit(ch->shard->proxy->store, &e);
}
