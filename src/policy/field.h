/* What a policy can say, as one table: the key, how two policies that both say it are merged, and
 * where it lies in struct kb_limits. Pure. */
#ifndef KB_POLICY_FIELD_H
#define KB_POLICY_FIELD_H

#include "policy/rules.h"

enum kb_field_kind {
    KB_FIELD_ALLOW,    /* bool: false is stricter */
    KB_FIELD_FORBID,   /* bool: true is stricter */
    KB_FIELD_LEVEL,    /* uint8_t of an enum: the lower is stricter */
    KB_FIELD_NUMBER,   /* uint32_t: the lower is stricter, 0 is no limit */
    KB_FIELD_SIZE,     /* uint64_t bytes: as above */
    KB_FIELD_RATE,     /* uint64_t bytes a second: as above */
    KB_FIELD_DURATION, /* int64_t milliseconds: as above */
    KB_FIELD_NAMES,    /* lists: what is named must pass all of them */
    KB_FIELD_FILTER,
    KB_FIELD_HOURS,
};

/* X(symbol, key, kind, member) */
#define KB_FIELDS(X)                                                                               \
    X(GRAMMAR, "grammar", LEVEL, grammar)                                                          \
    X(CLIPBOARD_IN, "clipboard.in", ALLOW, clipboard_in)                                           \
    X(CLIPBOARD_OUT, "clipboard.out", ALLOW, clipboard_out)                                        \
    X(CLIPBOARD_PRIMARY, "clipboard.primary", ALLOW, clipboard_primary)                            \
    X(CLIPBOARD_TEXT_ONLY, "clipboard.text_only", FORBID, clipboard_text_only)                     \
    X(CLIPBOARD_MAX, "clipboard.max_bytes", SIZE, clipboard_max)                                   \
    X(FILES_IN, "files.in", ALLOW, files_in)                                                       \
    X(FILES_MAX, "files.max_size", SIZE, files_max)                                                \
    X(FILES_NAMES, "files.names", NAMES, files_names)                                              \
    X(FOLDERS, "folders", LEVEL, folders)                                                          \
    X(USB, "usb.enabled", ALLOW, usb)                                                              \
    X(USB_KEYBOARDS, "usb.keyboards", ALLOW, usb_keyboards)                                        \
    X(USB_FILTER, "usb.filter", FILTER, usb_filters)                                               \
    X(SOUND, "sound", ALLOW, sound)                                                                \
    X(MICROPHONE, "microphone", ALLOW, microphone)                                                 \
    X(SMARTCARD, "smartcard", ALLOW, smartcard)                                                    \
    X(PORTS, "ports", NAMES, ports)                                                                \
    X(RESIZE, "resize", ALLOW, resize)                                                             \
    X(CURSOR, "cursor", ALLOW, cursor)                                                             \
    X(VIEW_ONLY, "view_only", FORBID, view_only)                                                   \
    X(SCREENS, "screens", NUMBER, screens)                                                         \
    X(BANDWIDTH, "bandwidth", RATE, bandwidth)                                                     \
    X(HOURS, "hours", HOURS, hours)                                                                \
    X(IDLE_TIMEOUT, "idle_timeout", DURATION, idle_timeout)                                        \
    X(MAX_SESSION, "max_session", DURATION, max_session)

enum kb_field_id {
#define X(symbol, key, kind, member) KB_HAS_##symbol,
    KB_FIELDS(X)
#undef X
        KB_FIELD_COUNT
};

struct kb_policy_field {
    const char *key;
    enum kb_field_kind kind;
    size_t offset;
};
extern const struct kb_policy_field kb_policy_fields[KB_FIELD_COUNT];

/* KB_FIELD_COUNT if there is none. */
enum kb_field_id kb_policy_field_find(const char *key);
/* Makes *to at least as strict as from. Lists grow by from's entries, borrowed. */
void kb_policy_field_merge(enum kb_field_id f, struct kb_limits *to, const struct kb_limits *from);
/* Whether both say the same; of lists never. */
bool kb_policy_field_equal(enum kb_field_id f, const struct kb_limits *a,
                           const struct kb_limits *b);
/* Frees the arrays of lists, not what they point to. */
void kb_limits_finish(struct kb_limits *l);

#endif
