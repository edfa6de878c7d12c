/* Roles and what they may do. Pure; any thread. */
#include "identity/identity.h"

#include <string.h>

static const char *const names[] = {
    [KB_ROLE_NONE] = "none",     [KB_ROLE_AGENT] = "agent",     [KB_ROLE_USER] = "user",
    [KB_ROLE_BROKER] = "broker", [KB_ROLE_AUDITOR] = "auditor", [KB_ROLE_OPERATOR] = "operator",
    [KB_ROLE_ADMIN] = "admin",
};
#define ROLES (sizeof names / sizeof *names)

const char *kb_role_name(enum kb_role r)
{
    return (size_t)r < ROLES ? names[r] : names[KB_ROLE_NONE];
}

enum kb_role kb_role_parse(const char *name)
{
    for (size_t i = KB_ROLE_AGENT; name && i < ROLES; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum kb_role)i;
    return KB_ROLE_NONE;
}

#define MAY(role) (1u << KB_ROLE_##role)

/* The truth table. Who watches and ends sessions, or reads the audit, does not open consoles by
 * it. */
static const unsigned table[KB_ACTIONS] = {
    [KB_MAY_LIST_CONSOLES] = MAY(USER) | MAY(BROKER) | MAY(OPERATOR) | MAY(ADMIN),
    [KB_MAY_OPEN_CONSOLE] = MAY(USER) | MAY(BROKER) | MAY(ADMIN),
    [KB_MAY_GRANT_FOR_OTHERS] = MAY(BROKER) | MAY(ADMIN),
    [KB_MAY_LIST_GRANTS] = MAY(OPERATOR) | MAY(ADMIN),
    [KB_MAY_LIST_SOURCES] = MAY(OPERATOR) | MAY(ADMIN),
    [KB_MAY_LIST_SESSIONS] = MAY(OPERATOR) | MAY(ADMIN),
    [KB_MAY_END_SESSION] = MAY(OPERATOR) | MAY(ADMIN),
    [KB_MAY_READ_AUDIT] = MAY(AUDITOR) | MAY(OPERATOR) | MAY(ADMIN),
    [KB_MAY_MANAGE_USERS] = MAY(ADMIN),
    [KB_MAY_OPEN_DIRECT] = MAY(ADMIN),
    [KB_MAY_REGISTER] = MAY(AGENT) | MAY(ADMIN),
};

bool kb_role_may(enum kb_role role, enum kb_action a)
{
    return (size_t)role < ROLES && (size_t)a < KB_ACTIONS && (table[a] >> role & 1u);
}
