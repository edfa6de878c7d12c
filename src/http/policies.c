/* Finds the policies of a grant. HTTP threads; pure but for the reply. */
#include "http/policies.h"

#include "identity/settings.h"

/* A list's lines divided by spaces: names of policies have neither. */
static char *spaced(char *lines)
{
    for (char *c = lines; *c; c++)
        if (*c == '\n')
            *c = ' ';
    return lines;
}

char *kb_request_role_policies(const struct kb_request *r, const struct kb_principal *p,
                               const struct kb_console_row *console)
{
    const struct kb_identity *i = r->options->identity;
    const struct kb_access_console c = {console->source, console->uuid, console->name,
                                        console->owner};
    return i ? spaced(kb_principal_role_policies(p, i->config.rules, i->config.rule_count, &c))
             : kb_strdup("");
}

char *kb_request_group_policies(const struct kb_request *r, const struct kb_principal *p)
{
    const struct kb_identity *i = r->options->identity;
    return i ? spaced(kb_principal_group_policies(p, i->config.group_policies,
                                                  i->config.group_policy_count))
             : kb_strdup("");
}

bool kb_request_grant_policies(struct kb_request *r, const char *user, const char *wished,
                               const struct kb_console_row *console,
                               char names[KB_POLICY_NAMES_MAX])
{
    const struct kb_principal *asker = &r->asker.principal, named = {.name = user};
    bool oneself = strcmp(user, r->asker.name) == 0;
    kb_auto_free char *makers = kb_request_role_policies(r, asker, console);
    kb_auto_free char *users =
        oneself ? kb_strdup("") : kb_request_role_policies(r, &named, console);
    kb_auto_free char *groups = kb_request_group_policies(r, oneself ? asker : &named);
    kb_auto_free char *all = kb_printf("%s %s %s %s", makers, users, groups, wished ? wished : "");
    const struct kb_policy_subject s = {.by_grant = all,
                                        .source = console->source,
                                        .uuid = console->uuid,
                                        .console = console->name};
    struct kb_policy_choice chosen[KB_POLICIES_MAX];
    char unknown[KB_POLICY_NAME_SIZE];
    size_t count, len = 0;
    bool ok = kb_policy_book_choose(r->options->policies, &s, chosen, &count, unknown);
    names[0] = '\0';
    for (size_t i = 0; ok && i < count; i++) {
        if (chosen[i].because != KB_BECAUSE_GRANT)
            continue;
        int n = snprintf(names + len, KB_POLICY_NAMES_MAX - len, "%s%s", len ? " " : "",
                         chosen[i].policy->name);
        len += (size_t)n;
        ok = len < KB_POLICY_NAMES_MAX;
    }
    if (!ok)
        kb_reply_error(r, 422, "too_many_policies",
                       "more policies hold for this user on this console than a session may have");
    return ok;
}

struct kb_rules *kb_request_rules(struct kb_request *r, const struct kb_grant_row *grant,
                                  const char *console_name)
{
    const struct kb_policy_subject s = {.by_grant = grant->policy,
                                        .source = grant->source,
                                        .uuid = grant->uuid,
                                        .console = console_name};
    char unknown[KB_POLICY_NAME_SIZE];
    struct kb_rules *rules = kb_policy_book_resolve(r->options->policies, &s, unknown);
    return rules ? rules : kb_rules_create();
}
