/* Who is asking, and what that role may do. Pure but for the password hash, which takes some 100 ms
 * and 64 MiB by design: never on a loop. */
#ifndef KB_IDENTITY_IDENTITY_H
#define KB_IDENTITY_IDENTITY_H

#include "base/auto.h"
#include "base/secret.h"

enum kb_role {
    KB_ROLE_NONE,
    KB_ROLE_AGENT,    /* announces machines, and sees nothing */
    KB_ROLE_USER,     /* sees and opens consoles */
    KB_ROLE_BROKER,   /* makes grants for others */
    KB_ROLE_AUDITOR,  /* reads the audit */
    KB_ROLE_OPERATOR, /* watches and ends sessions */
    KB_ROLE_ADMIN,    /* all, and users and keys */
};

enum kb_action {
    KB_MAY_LIST_CONSOLES,
    KB_MAY_OPEN_CONSOLE, /* a grant for oneself */
    KB_MAY_GRANT_FOR_OTHERS,
    KB_MAY_LIST_GRANTS, /* all; a broker its own without it */
    KB_MAY_LIST_SOURCES,
    KB_MAY_LIST_SESSIONS,
    KB_MAY_END_SESSION,
    KB_MAY_READ_AUDIT,
    KB_MAY_MANAGE_USERS, /* users and API keys */
    KB_MAY_OPEN_DIRECT,  /* a .vv to the hypervisor itself */
    KB_MAY_REGISTER,     /* announce a machine */
    KB_ACTIONS
};

const char *kb_role_name(enum kb_role r);              /* "user", ... "admin"; "none" */
enum kb_role kb_role_parse(const char *name);          /* KB_ROLE_NONE for anything else */
bool kb_role_may(enum kb_role role, enum kb_action a); /* the truth table */

#define KB_PASSWORD_HASH_SIZE 128 /* crypto_pwhash_STRBYTES */
KB_MUST_CHECK bool kb_password_hash(const char *password, char hash[KB_PASSWORD_HASH_SIZE]);
bool kb_password_verify(const char *password, const char *hash);
/* Takes as long as a true verification: for names that do not exist. */
void kb_password_verify_nobody(const char *password);

/* An API key: "kbk_" and a token. The prefix lets leak scanners find it. */
#define KB_APIKEY_SIZE (4 + KB_TOKEN_SIZE)
void kb_apikey_create(char key[KB_APIKEY_SIZE]);
bool kb_apikey_looks_like(const char *text);

#endif
