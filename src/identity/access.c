/* Decides who may do what on which console. Knows neither HTTP nor the store nor where a principal
 * came from. Pure; any thread. */
#include "identity/access.h"

#include "base/glob.h"
#include "base/mem.h"
#include "base/span.h"

/* --- lists ------------------------------------------------------------------------------------ */

/* Takes the next line off; false at the end. Empty lines are skipped. */
static bool next_line(const char **list, struct kb_span *line)
{
    const char *at = *list ? *list : "";
    at += strspn(at, "\n");
    size_t len = strcspn(at, "\n");
    *line = kb_span(at, len);
    *list = at + len;
    return len > 0;
}

static bool is_empty(const char *list)
{
    struct kb_span line;
    return !next_line(&list, &line);
}

static bool equals(struct kb_span line, const char *text)
{
    return text && strlen(text) == line.len && memcmp(line.data, text, line.len) == 0;
}

bool kb_access_listed(const char *list, const char *text)
{
    struct kb_span line;
    while (next_line(&list, &line))
        if (equals(line, text))
            return true;
    return false;
}

/* --- rules and principals --------------------------------------------------------------------- */

void kb_scope_finish(struct kb_scope *s)
{
    free(s->sources);
    free(s->consoles);
    *s = (struct kb_scope){0};
}

void kb_role_rule_finish(struct kb_role_rule *r)
{
    free(r->users);
    free(r->groups);
    free(r->keys);
    kb_scope_finish(&r->scope);
    free(r->policy);
    *r = (struct kb_role_rule){0};
}

void kb_group_policy_finish(struct kb_group_policy *g)
{
    free(g->groups);
    free(g->policy);
    *g = (struct kb_group_policy){0};
}

void kb_principal_assign(struct kb_principal *p, enum kb_role role, const struct kb_scope *scope)
{
    if (role == KB_ROLE_NONE)
        return;
    struct kb_assignment *grown = kb_calloc(p->count + 1, sizeof *grown);
    if (p->count)
        memcpy(grown, p->assignments, p->count * sizeof *grown);
    free(p->assignments);
    p->assignments = grown;
    p->assignments[p->count++] = (struct kb_assignment){role, scope};
}

/* Of one of the groups. */
static bool is_member(const struct kb_principal *p, const char *of)
{
    const char *groups = p->groups;
    struct kb_span group;
    while (next_line(&groups, &group)) {
        kb_auto_free char *text = kb_printf("%.*s", (int)group.len, (const char *)group.data);
        if (kb_access_listed(of, text))
            return true;
    }
    return false;
}

static bool names(const struct kb_role_rule *rule, const struct kb_principal *p)
{
    static const char key[] = "apikey:";
    if (strncmp(p->name, key, sizeof key - 1) == 0)
        return kb_access_listed(rule->keys, p->name + sizeof key - 1);
    if (kb_access_listed(rule->users, p->name) ||
        (p->alias && kb_access_listed(rule->users, p->alias)))
        return true;
    return is_member(p, rule->groups);
}

void kb_principal_apply(struct kb_principal *p, const struct kb_role_rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (names(&rules[i], p))
            kb_principal_assign(p, rules[i].role, &rules[i].scope);
}

void kb_principal_finish(struct kb_principal *p)
{
    free(p->assignments);
    *p = (struct kb_principal){0};
}

enum kb_role kb_principal_role(const struct kb_principal *p)
{
    enum kb_role highest = KB_ROLE_NONE;
    for (size_t i = 0; i < p->count; i++)
        if (p->assignments[i].role > highest)
            highest = p->assignments[i].role;
    return highest;
}

/* --- the decision ----------------------------------------------------------------------------- */

static bool is_everywhere(const struct kb_scope *s)
{
    if (!s)
        return true;
    if (!is_empty(s->sources))
        return false;
    return is_empty(s->consoles) || kb_access_listed(s->consoles, "*");
}

static bool holds_for(const struct kb_scope *s, const struct kb_principal *p,
                      const struct kb_access_console *c)
{
    if (!s)
        return true;
    if (!is_empty(s->sources) && !kb_access_listed(s->sources, c->source))
        return false;
    if (is_empty(s->consoles))
        return true;
    const char *patterns = s->consoles;
    struct kb_span pattern;
    while (next_line(&patterns, &pattern)) {
        bool any = equals(pattern, "*");
        bool owner = equals(pattern, "owner");
        if (any ||
            (owner && c->owner && *c->owner &&
             (strcmp(c->owner, p->name) == 0 || (p->alias && strcmp(c->owner, p->alias) == 0))))
            return true;
        if (!owner && c->name && kb_glob(pattern, c->name))
            return true;
    }
    return false;
}

bool kb_access_may(const struct kb_principal *p, enum kb_action a,
                   const struct kb_access_console *console)
{
    if (a == KB_MAY_MANAGE_USERS)
        return kb_access_everywhere(p, a);
    for (size_t i = 0; i < p->count; i++) {
        const struct kb_assignment *has = &p->assignments[i];
        if (kb_role_may(has->role, a) && (!console || holds_for(has->scope, p, console)))
            return true;
    }
    return false;
}

bool kb_access_everywhere(const struct kb_principal *p, enum kb_action a)
{
    for (size_t i = 0; i < p->count; i++)
        if (kb_role_may(p->assignments[i].role, a) && is_everywhere(p->assignments[i].scope))
            return true;
    return false;
}

bool kb_access_source(const struct kb_principal *p, enum kb_action a, const char *source)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct kb_scope *s = p->assignments[i].scope;
        if (kb_role_may(p->assignments[i].role, a) &&
            (!s || is_empty(s->sources) || kb_access_listed(s->sources, source)))
            return true;
    }
    return false;
}

bool kb_access_may_know(const struct kb_principal *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->assignments[i].role >= KB_ROLE_AUDITOR)
            return true;
    return false;
}

/* --- policies --------------------------------------------------------------------------------- */

static void add_line(char **list, const char *text)
{
    if (kb_access_listed(*list, text))
        return;
    char *longer = kb_printf("%s%s%s", *list, **list ? "\n" : "", text);
    free(*list);
    *list = longer;
}

char *kb_principal_role_policies(const struct kb_principal *p, const struct kb_role_rule *rules,
                                 size_t count, const struct kb_access_console *console)
{
    char *list = kb_strdup("");
    for (size_t i = 0; i < count; i++)
        if (rules[i].policy && names(&rules[i], p) && holds_for(&rules[i].scope, p, console))
            add_line(&list, rules[i].policy);
    return list;
}

char *kb_principal_group_policies(const struct kb_principal *p, const struct kb_group_policy *list,
                                  size_t count)
{
    char *found = kb_strdup("");
    for (size_t i = 0; i < count; i++)
        if (is_member(p, list[i].groups))
            add_line(&found, list[i].policy);
    return found;
}
