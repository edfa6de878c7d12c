/* What is common to those who know users that we do not: Keystone and OIDC. */
#ifndef KB_IDENTITY_PROVIDER_H
#define KB_IDENTITY_PROVIDER_H

#include "base/buf.h"

#include <stdatomic.h>

enum kb_provider_result {
    KB_PROVIDER_OK,
    KB_PROVIDER_REFUSED,     /* the password or the token is wrong */
    KB_PROVIDER_NOT_ALLOWED, /* right, but this user may not log in here */
    KB_PROVIDER_FAILED,      /* the provider cannot be asked, or answers nonsense */
};

struct kb_provider_call {
    const atomic_bool *stop; /* ends it early; may be NULL */
    char why[256];           /* out: for the log and the audit, never with a secret; "" for OK */
};

/* A user as a provider knows it. */
struct kb_provider_user {
    char *name;         /* the whole name of the principal: "keystone:alice" */
    char *alias;        /* the same by an id that never changes: "keystone-id:0f3c..." */
    char *groups;       /* one a line */
    int64_t expires_at; /* wall clock ms: a login may not last longer; 0: it may */
};
void kb_provider_user_finish(struct kb_provider_user *u);

/* Whether a text may be (a part of) the name of a principal or a group: 1..128 bytes of UTF-8
 * without control characters, none of "/" and ":". */
bool kb_provider_is_name(const char *text);
/* The same with those two, up to 512 bytes: what can stand on a line of a list. */
bool kb_provider_is_line(const char *text);
/* Adds a line; what could not stand on one is left out. */
void kb_provider_add_group(struct kb_buf *groups, const char *name);

#endif
