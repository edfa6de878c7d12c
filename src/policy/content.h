/* What the content filters share: what they give back, and to whom they tell what they saw.
 *
 * A filter reads what is inside the messages of one channel (agent.h, usbredir.h, webdav.h). It is
 * fed with what comes, in either direction, and writes everything that is to be sent instead, the
 * message itself included, as whole SPICE messages with their mini headers: to its own side and,
 * where it answers in somebody's place, to the other. Pure; the loop's thread. */
#ifndef KB_POLICY_CONTENT_H
#define KB_POLICY_CONTENT_H

#include "base/buf.h"
#include "policy/rules.h"
#include "policy/verdicts.h"

/* Something that was moved or plugged in, for the audit. Texts live during the call only; they come
 * from strangers, so whoever writes them down escapes them. */
enum kb_fact_kind {
    KB_FACT_CLIPBOARD,   /* bytes */
    KB_FACT_FILE,        /* name, size as announced, bytes that passed, sha256 of them, complete */
    KB_FACT_USB_PLUGGED, /* usb: the guest sees the device */
    KB_FACT_USB_REFUSED, /* usb: it does not */
    KB_FACT_USB_UNPLUGGED, /* usb: it saw it, and does no more */
};

struct kb_usb_device; /* usb_device.h */

struct kb_fact {
    enum kb_fact_kind kind;
    enum kb_direction direction; /* of what moved */
    const char *name;            /* UTF-8; NULL: none */
    uint64_t size, bytes;
    bool complete; /* the receiver said so */
    uint8_t sha256[32];
    const struct kb_usb_device *usb;
};

struct kb_content {
    /* to[d]: what is to be sent in direction d, by whoever feeds; he takes and empties it. */
    struct kb_buf to[KB_DIRECTIONS];
    /* Both may be NULL. detail: for a person, static or as a fact's texts; may be NULL. */
    void (*on_rule)(void *owner, enum kb_rule rule, enum kb_rule_action action, enum kb_direction d,
                    const char *detail);
    void (*on_fact)(void *owner, const struct kb_fact *fact);
    void *owner;
};

void kb_content_finish(struct kb_content *c);

/* For the filters. */

/* What forbids: KB_RULE_COUNT is nothing. True: to be blocked; it has been reported. What only
 * observed policies forbid is reported and passes. */
#define KB_RULE_NONE KB_RULE_COUNT
bool kb_content_blocks(struct kb_content *c, const struct kb_rules *rules, enum kb_direction d,
                       enum kb_rule enforced, enum kb_rule all, const char *detail);
/* What cannot be read: reported. True: it is to be ended or blocked; false: grammar is observed. */
bool kb_content_malformed(struct kb_content *c, const struct kb_rules *rules, enum kb_direction d,
                          enum kb_rule rule, const char *detail);
void kb_content_fact(struct kb_content *c, const struct kb_fact *fact);
/* One SPICE message: mini header, then the body's two parts (either may be empty). */
void kb_content_send(struct kb_content *c, enum kb_direction d, uint16_t type, struct kb_span body,
                     struct kb_span more);
static inline enum kb_direction kb_other(enum kb_direction d)
{
    return d == KB_FROM_CLIENT ? KB_FROM_SERVER : KB_FROM_CLIENT;
}

#endif
