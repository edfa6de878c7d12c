/* What a Kubernetes API server says of KubeVirt's virtual machine instances, in lists and in the
 * events of a watch, as consoles. Pure: JSON in, consoles out. Any thread.
 *
 * Facts: kubernetes.io, "Kubernetes API Concepts" (watches, bookmarks, 410); the types
 * VirtualMachineInstance and Devices of kubevirt.io/v1. */
#ifndef KB_SOURCE_VMI_H
#define KB_SOURCE_VMI_H

#include "base/buf.h"
#include "source/inventory.h"

#include <jansson.h>

/* Adds the consoles that an instance has now: VNC with the instance's uid, and with serial also its
 * serial console, UID-serial; none unless it runs. Their extra is "NAMESPACE/NAME". */
void kb_vmi_add(struct kb_console **map, const json_t *vmi, bool serial);

enum kb_vmi_news {
    KB_VMI_SAME,
    KB_VMI_CHANGED, /* known is another */
    KB_VMI_EXPIRED, /* the server has forgotten what came after our version: list anew */
    KB_VMI_BROKEN,  /* what came makes no sense; why */
};

struct kb_vmi_watch {
    bool serial;
    struct kb_console **known; /* what the events are applied to */
    char **version;            /* how far they came; each moves it on */
    bool changed;              /* out: any of them changed known */
    struct kb_buf line;        /* the beginning of an event, whose end is still to come */
    char why[160];
};

/* Takes some bytes of a watch, cut anywhere: all events that are whole. The first that is EXPIRED
 * or BROKEN ends it. */
enum kb_vmi_news kb_vmi_watch_take(struct kb_vmi_watch *w, const void *data, size_t len);
void kb_vmi_watch_finish(struct kb_vmi_watch *w);

#endif
