/* What a session may carry: the sum of all policies that apply to it. Immutable and counted, so
 * that a reload gives live sessions new rules while a message is still judged by the old ones.
 * Pure; any thread.
 *
 * A filter asks twice. `enforced` is the strictest of the policies in mode enforce: what it forbids
 * is blocked. `all` is the strictest of every policy, those in mode observe too: what only it
 * forbids passes and is counted. So an observed rule never weakens an enforced one:
 *
 *     if (forbids(&rules->enforced, message)) block, and report the rule as blocked
 *     else if (rules->observing && forbids(&rules->all, message)) pass, and report it as observed
 *
 * A filter is therefore a function of `const struct kb_limits *`. In zeroed memory everything is
 * forbidden; kb_limits_init allows everything. */
#ifndef KB_POLICY_RULES_H
#define KB_POLICY_RULES_H

#include "base/span.h"
#include "policy/hours.h"
#include "policy/usb_filter.h"

enum kb_grammar { KB_GRAMMAR_ENFORCE, KB_GRAMMAR_OBSERVE };              /* strictest first */
enum kb_folders { KB_FOLDERS_OFF, KB_FOLDERS_READ_ONLY, KB_FOLDERS_ON }; /* strictest first */

/* Patterns of names. An entry that begins with "!" excludes; the others include. */
struct kb_names {
    const char *const *entries;
    size_t count;
};
/* Several policies may have a list each: a name must pass all of them. None: every name passes. */
struct kb_names_lists {
    const struct kb_names **lists;
    size_t count;
};
/* The same for filters of USB devices, and for hours. */
struct kb_usb_filters {
    const struct kb_usb_filter **filters;
    size_t count;
};
struct kb_hours_lists {
    const struct kb_hours **lists;
    size_t count;
};

/* "in" is towards the desktop, "out" is away from it. Numbers: 0 is no limit. */
struct kb_limits {
    bool clipboard_in, clipboard_out;
    bool clipboard_primary;   /* the selection that a middle click pastes */
    bool clipboard_text_only; /* the other way round: true forbids */
    uint64_t clipboard_max;   /* bytes of one paste */
    bool files_in;            /* file transfer through the agent */
    uint64_t files_max;       /* bytes of one file */
    struct kb_names_lists files_names;
    uint8_t folders; /* enum kb_folders: the shared folder, channel webdav */
    bool usb;
    bool usb_keyboards; /* devices with an interface that is a keyboard, whatever else they are */
    struct kb_usb_filters usb_filters;
    bool sound, microphone, smartcard;
    struct kb_names_lists ports; /* by the name in a port's INIT */
    bool resize;                 /* the agent's MONITORS_CONFIG */
    bool cursor;
    bool view_only;     /* true forbids: no input */
    uint32_t screens;   /* most screens */
    uint64_t bandwidth; /* bytes per second to the client, all channels together */
    struct kb_hours_lists hours;
    int64_t idle_timeout, max_session; /* milliseconds */
    uint8_t grammar; /* enum kb_grammar; a filter looks at kb_rules' grammar_observed */
};

struct kb_policy_book;

struct kb_rules {
    unsigned refs;               /* by __atomic */
    uint64_t serial;             /* no other rules of this process ever have it; never 0 */
    struct kb_policy_book *book; /* referenced: lists and filters are its policies'; or NULL */
    char *names;                 /* of the policies, divided by spaces */
    struct kb_limits enforced, all;
    bool observing;        /* `all` differs from `enforced` */
    bool grammar_observed; /* what the grammar does not know is counted, not ended */
};

/* Everything is allowed. */
void kb_limits_init(struct kb_limits *l);
/* Rules of no policy: everything is allowed, grammar enforced. For tests and for diagnosis. */
struct kb_rules *kb_rules_create(void);
struct kb_rules *kb_rules_ref(struct kb_rules *r);
void kb_rules_unref(struct kb_rules *r); /* takes NULL */

/* Whether a channel of the type may be linked. view_only does not close inputs: its client still
 * wants its INIT and key modifiers. Ports are judged by name, so their channel is allowed unless a
 * list is empty. */
bool kb_limits_allow_channel(const struct kb_limits *l, unsigned channel_type);
/* No entry that excludes matches, and one that includes does, or all exclude. The empty list allows
 * nothing. Case counts unless folded. */
bool kb_names_allow(const struct kb_names *n, const char *name, bool folded);
/* All lists. */
bool kb_limits_allow_file_name(const struct kb_limits *l, const char *name); /* "a" is "A" */
bool kb_limits_allow_port(const struct kb_limits *l, const char *name);
/* Whether the time (wall clock, milliseconds) is within all hours; *left_ms: how long it stays so,
 * INT64_MAX without end. */
bool kb_limits_open(const struct kb_limits *l, int64_t wall_ms, int64_t *left_ms);

#endif
