/* All named policies of a configuration and to what they are attached: who opens which console gets
 * which rules. Immutable and counted once it is in use; any thread. */
#ifndef KB_POLICY_BOOK_H
#define KB_POLICY_BOOK_H

#include "policy/field.h"

#define KB_POLICY_NAME_SIZE 64
/* One entry of `policies`. What it does not say is in its limits as kb_limits_init has it. */
struct kb_policy {
    char *name;
    bool observe;  /* mode */
    uint32_t says; /* bits 1 << enum kb_field_id */
    struct kb_limits limits;
    /* what the lists of limits point to */
    struct kb_names files_names, ports;
    struct kb_usb_filter usb_filter;
    struct kb_hours hours;
};
_Static_assert(KB_FIELD_COUNT <= 32, "fields are bits of an unsigned");
struct kb_policy *kb_policy_create(const char *name);
void kb_policy_destroy(struct kb_policy *p); /* takes NULL */
/* Its limits (or, for lists, the policy's own ones) hold what it says of the field. */
void kb_policy_say(struct kb_policy *p, enum kb_field_id f);

/* A policy for the consoles of a source. */
struct kb_attachment {
    char *policy, *source;
    char *uuid;     /* of one console; or NULL */
    char *consoles; /* patterns of names, one a line; or NULL: with uuid NULL all of the source */
};

struct kb_policy_book {
    unsigned refs; /* by __atomic */
    struct kb_policy **policies;
    size_t count;
    struct kb_attachment *attachments;
    size_t attachment_count;
};

/* Holds the policy `default` alone, which says nothing. */
struct kb_policy_book *kb_policy_book_create(void);
struct kb_policy_book *kb_policy_book_ref(struct kb_policy_book *b);
void kb_policy_book_unref(struct kb_policy_book *b); /* takes NULL */
/* While it is being made. Takes the policy over; it replaces one of the same name. */
void kb_policy_book_add(struct kb_policy_book *b, struct kb_policy *p);
void kb_policy_book_attach(struct kb_policy_book *b, const char *policy, const char *source,
                           const char *uuid, const char *consoles);
const struct kb_policy *kb_policy_book_find(const struct kb_policy_book *b, const char *name);

/* --- which policies hold ---------------------------------------------------------------------- */

/* Why a policy holds for a session; a policy holds once, for the first of these. */
enum kb_because {
    KB_BECAUSE_DEFAULT, /* the policy `default` holds for every session */
    KB_BECAUSE_SOURCE,
    KB_BECAUSE_CONSOLE,
    KB_BECAUSE_ROLE,  /* of the user, and of who made the grant */
    KB_BECAUSE_GROUP, /* of the user */
    KB_BECAUSE_GRANT, /* it names the policy */
    KB_BECAUSE_COUNT
};
const char *kb_because_name(enum kb_because b); /* "default", "source", ... */

/* Texts are lists of names divided by spaces; NULL is none. A session knows of roles, groups and
 * grant together what was written into its grant. */
struct kb_policy_subject {
    const char *by_role, *by_group, *by_grant;
    const char *source, *uuid;
    const char *console; /* its name; NULL: unknown, then patterns match nothing */
};

#define KB_POLICIES_MAX 32 /* that hold for one session */
struct kb_policy_choice {
    const struct kb_policy *policy;
    enum kb_because because;
};

/* The policies that hold, in the order of kb_because. False: a name is that of no policy, or there
 * are more than KB_POLICIES_MAX; its (or the first superfluous) name is in unknown. */
bool kb_policy_book_choose(const struct kb_policy_book *b, const struct kb_policy_subject *s,
                           struct kb_policy_choice chosen[KB_POLICIES_MAX], size_t *count,
                           char unknown[KB_POLICY_NAME_SIZE]);
/* Their sum. */
struct kb_rules *kb_policy_book_merge(struct kb_policy_book *b,
                                      const struct kb_policy_choice *chosen, size_t count);
/* Both at once; NULL as for choose. */
struct kb_rules *kb_policy_book_resolve(struct kb_policy_book *b, const struct kb_policy_subject *s,
                                        char unknown[KB_POLICY_NAME_SIZE]);
/* Whether the policy is one of those that make the field what it is in the sum: the enforced one,
 * or that of all. */
bool kb_policy_decides(const struct kb_policy *p, enum kb_field_id f, const struct kb_rules *r,
                       bool enforced);

#endif
