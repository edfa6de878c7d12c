/* What policies and grammar did to one channel, counted: one event when a rule first acts and one
 * with the total when the channel closes, never one a message. Pure; the filters report rules, the
 * proxy keeps one of these a channel. */
#ifndef KB_POLICY_VERDICTS_H
#define KB_POLICY_VERDICTS_H

#include "spice/wire.h"

/* X(symbol, name): the name is in audit events and a label of kerbside_policy_verdicts_total, and
 * is the policy's key where there is one. */
#define KB_RULES(X)                                                                                \
    X(GRAMMAR_UNKNOWN, "grammar.unknown") /* no such message on this channel */                    \
    X(GRAMMAR_LENGTH, "grammar.length")   /* too short or too long for its kind */                 \
    X(GRAMMAR_STATE, "grammar.state")     /* not at this time */                                   \
    X(GRAMMAR_FORM, "grammar.form")       /* what it says of itself does not add up */             \
    X(GRAMMAR_RATE, "grammar.rate")                                                                \
    X(CHANNEL, "channel") /* a channel that is off */                                              \
    X(CLIPBOARD_IN, "clipboard.in")                                                                \
    X(CLIPBOARD_OUT, "clipboard.out")                                                              \
    X(CLIPBOARD_PRIMARY, "clipboard.primary")                                                      \
    X(CLIPBOARD_TEXT_ONLY, "clipboard.text_only")                                                  \
    X(CLIPBOARD_MAX, "clipboard.max_bytes")                                                        \
    X(FILES_IN, "files.in")                                                                        \
    X(FILES_MAX, "files.max_size")                                                                 \
    X(FILES_NAMES, "files.names")                                                                  \
    X(FOLDERS, "folders")                                                                          \
    X(USB, "usb.enabled")                                                                          \
    X(USB_KEYBOARDS, "usb.keyboards")                                                              \
    X(USB_FILTER, "usb.filter")                                                                    \
    X(SOUND, "sound")                                                                              \
    X(MICROPHONE, "microphone")                                                                    \
    X(SMARTCARD, "smartcard")                                                                      \
    X(PORTS, "ports")                                                                              \
    X(RESIZE, "resize")                                                                            \
    X(CURSOR, "cursor")                                                                            \
    X(VIEW_ONLY, "view_only")                                                                      \
    X(SCREENS, "screens")                                                                          \
    X(HOURS, "hours")                                                                              \
    X(IDLE_TIMEOUT, "idle_timeout")                                                                \
    X(MAX_SESSION, "max_session")                                                                  \
    X(BANDWIDTH, "bandwidth")                                                                      \
    X(AGENT_FORM, "agent.form") /* the agent's stream cannot be read */                            \
    X(USBREDIR_FORM, "usbredir.form")                                                              \
    X(WEBDAV_FORM, "webdav.form")

enum kb_rule {
#define X(symbol, name) KB_RULE_##symbol,
    KB_RULES(X)
#undef X
        KB_RULE_COUNT
};

enum kb_rule_action { KB_RULE_BLOCKED, KB_RULE_OBSERVED, KB_RULE_ACTIONS };

struct kb_verdicts {
    uint32_t counts[KB_RULE_COUNT][KB_RULE_ACTIONS][KB_DIRECTIONS]; /* stop at their largest */
};

const char *kb_rule_name(enum kb_rule r);
const char *kb_rule_action_name(enum kb_rule_action a); /* "blocked", "observed" */
/* Counts one; true when it is the rule's first of this action, whichever the direction. */
bool kb_verdicts_add(struct kb_verdicts *v, enum kb_rule r, enum kb_rule_action a,
                     enum kb_direction d);
/* Both directions. */
uint64_t kb_verdicts_total(const struct kb_verdicts *v, enum kb_rule r, enum kb_rule_action a);

#endif
