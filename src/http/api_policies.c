/* Shows policies, and which of them hold for a user on a console and why. HTTP threads. */
#include "http/access.h"
#include "http/policies.h"
#include "http/route.h"

#include <strings.h>

/* --- values ----------------------------------------------------------------------------------- */

static json_t *names_json(const struct kb_names_lists *l)
{
    json_t *all = json_array();
    for (size_t i = 0; i < l->count; i++) {
        kb_auto(kb_buf_finish) struct kb_buf text = {0};
        for (size_t k = 0; k < l->lists[i]->count; k++)
            kb_buf_printf(&text, "%s%s", k ? ", " : "", l->lists[i]->entries[k]);
        kb_auto_free char *line = kb_buf_steal(&text);
        json_array_append_new(all, json_string(line ? line : ""));
    }
    return all;
}

static json_t *filters_json(const struct kb_usb_filters *l)
{
    json_t *all = json_array();
    for (size_t i = 0; i < l->count; i++) {
        kb_auto_free char *text = kb_usb_filter_format(l->filters[i]);
        json_array_append_new(all, kb_json_text(text));
    }
    return all;
}

static json_t *hours_json(const struct kb_hours_lists *l)
{
    json_t *all = json_array();
    for (size_t i = 0; i < l->count; i++) {
        const struct kb_hours *h = l->lists[i];
        kb_auto_free char *text =
            kb_printf("%s (%s)", h->text, h->zone_name ? h->zone_name : "UTC");
        json_array_append_new(all, kb_json_text(text));
    }
    return all;
}

static json_t *level_json(enum kb_field_id f, uint8_t level)
{
    static const char *const grammar[] = {"enforce", "observe"};
    static const char *const folders[] = {"off", "read_only", "on"};
    return json_string(f == KB_HAS_GRAMMAR ? grammar[level] : folders[level]);
}

static json_t *field_json(enum kb_field_id f, const struct kb_limits *l)
{
    const void *at = (const char *)l + kb_policy_fields[f].offset;
    switch (kb_policy_fields[f].kind) {
    case KB_FIELD_ALLOW:
    case KB_FIELD_FORBID:
        return json_boolean(*(const bool *)at);
    case KB_FIELD_LEVEL:
        return level_json(f, *(const uint8_t *)at);
    case KB_FIELD_NUMBER:
        return kb_json_uint(*(const uint32_t *)at);
    case KB_FIELD_SIZE:
    case KB_FIELD_RATE:
        return kb_json_uint(*(const uint64_t *)at);
    case KB_FIELD_DURATION:
        return kb_json_duration(*(const int64_t *)at);
    case KB_FIELD_NAMES:
        return names_json(at);
    case KB_FIELD_FILTER:
        return filters_json(at);
    case KB_FIELD_HOURS:
        return hours_json(at);
    }
    return json_null();
}

static const char *mode_of(const struct kb_policy *p)
{
    return p->observe ? "observe" : "enforce";
}

/* --- policies --------------------------------------------------------------------------------- */

static json_t *attached_json(const struct kb_policy_book *b, const struct kb_policy *p)
{
    json_t *all = json_array();
    for (size_t i = 0; i < b->attachment_count; i++) {
        const struct kb_attachment *a = &b->attachments[i];
        if (strcmp(a->policy, p->name) == 0)
            json_array_append_new(
                all, json_pack("{s:o, s:o, s:o}", "source", kb_json_text(a->source), "uuid",
                               kb_json_text(a->uuid), "consoles", kb_json_list(a->consoles)));
    }
    return all;
}

static json_t *policy_json(const struct kb_policy_book *b, const struct kb_policy *p)
{
    json_t *rules = json_object();
    for (unsigned f = 0; f < KB_FIELD_COUNT; f++)
        if (p->says & 1u << f)
            json_object_set_new(rules, kb_policy_fields[f].key,
                                field_json((enum kb_field_id)f, &p->limits));
    return json_pack("{s:s, s:s, s:o, s:o}", "name", p->name, "mode", mode_of(p), "rules", rules,
                     "attached", attached_json(b, p));
}

/* In the order of the configuration; one page holds them all. */
void kb_api_policies(struct kb_request *r)
{
    struct kb_page page;
    if (!kb_request_page(r, "name", &page))
        return;
    if (page.cursor) {
        kb_reply_no_page(r, KB_STORE_NOT_FOUND);
        return;
    }
    const struct kb_policy_book *b = r->options->policies;
    json_t *items = json_array();
    for (size_t i = 0; i < b->count; i++)
        if (!page.q || strcasestr(b->policies[i]->name, page.q))
            json_array_append_new(items, policy_json(b, b->policies[i]));
    kb_reply_list(r, items, NULL);
}

/* --- what holds, and why ---------------------------------------------------------------------- */

struct explanation {
    struct kb_policy_choice chosen[KB_POLICIES_MAX];
    size_t count;
    struct kb_rules *rules;
};

static json_t *deciders(const struct explanation *x, enum kb_field_id f, bool enforced)
{
    json_t *names = json_array();
    for (size_t i = 0; i < x->count; i++)
        if (kb_policy_decides(x->chosen[i].policy, f, x->rules, enforced))
            json_array_append_new(names, json_string(x->chosen[i].policy->name));
    return names;
}

static json_t *rule_json(const struct explanation *x, enum kb_field_id f)
{
    const struct kb_rules *r = x->rules;
    json_t *value = field_json(f, &r->enforced), *all = field_json(f, &r->all);
    json_t *o = json_pack("{s:s, s:O, s:o}", "rule", kb_policy_fields[f].key, "value", value,
                          "policies", deciders(x, f, true));
    json_object_set_new(o, "observed",
                        json_equal(value, all) ? json_null()
                                               : json_pack("{s:O, s:o}", "value", all, "policies",
                                                           deciders(x, f, false)));
    json_decref(value);
    json_decref(all);
    return o;
}

static void reply_explanation(struct kb_request *r, const struct explanation *x, const char *user,
                              const struct kb_console_row *console)
{
    json_t *policies = json_array(), *rules = json_array();
    for (size_t i = 0; i < x->count; i++)
        json_array_append_new(policies,
                              json_pack("{s:s, s:s, s:s}", "name", x->chosen[i].policy->name,
                                        "mode", mode_of(x->chosen[i].policy), "because",
                                        kb_because_name(x->chosen[i].because)));
    for (unsigned f = 0; f < KB_FIELD_COUNT; f++)
        json_array_append_new(rules, rule_json(x, (enum kb_field_id)f));
    kb_reply_json(r, 200,
                  json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "source",
                            kb_json_text(console->source), "uuid", kb_json_text(console->uuid),
                            "console", kb_json_text(console->name), "user", kb_json_text(user),
                            "policies", policies, "rules", rules));
}

/* "a,b" as lines. */
static char *lines_of(const char *commas)
{
    char *lines = kb_strdup(commas ? commas : "");
    for (char *c = lines; *c; c++)
        if (*c == ',')
            *c = '\n';
    return lines;
}

static void explain(struct kb_request *r, const struct kb_console_row *console)
{
    const char *user = kb_http_target_query(&r->target, "user");
    const char *wished = kb_http_target_query(&r->target, "policy");
    kb_auto_free char *groups = lines_of(kb_http_target_query(&r->target, "groups"));
    const struct kb_principal named = {.name = user, .groups = groups};
    const struct kb_principal *p = user && *user ? &named : &r->asker.principal;
    kb_auto_free char *by_role = kb_request_role_policies(r, p, console);
    kb_auto_free char *by_group = kb_request_group_policies(r, p);
    const struct kb_policy_subject s = {.by_role = by_role,
                                        .by_group = by_group,
                                        .by_grant = wished,
                                        .source = console->source,
                                        .uuid = console->uuid,
                                        .console = console->name};
    struct explanation x;
    char unknown[KB_POLICY_NAME_SIZE];
    if (!kb_policy_book_choose(r->options->policies, &s, x.chosen, &x.count, unknown)) {
        kb_reply_error(r, 422, "unknown_policy",
                       "there is no such policy, or more hold than a session may have: %s",
                       unknown);
        return;
    }
    x.rules = kb_policy_book_merge(r->options->policies, x.chosen, x.count);
    reply_explanation(r, &x, p == &named ? user : r->asker.name, console);
    kb_rules_unref(x.rules);
}

void kb_api_console_policy(struct kb_request *r)
{
    struct kb_store_get_console c = {
        .call.verb = KB_STORE_GET_CONSOLE, .source = r->params[0], .uuid = r->params[1]};
    if (!kb_request_need_on(r, KB_MAY_LIST_SESSIONS, r->params[0], r->params[1], false))
        return;
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status == KB_STORE_OK)
        explain(r, &c.row);
    else if (status == KB_STORE_NOT_FOUND)
        kb_reply_error(r, 404, "console_not_found", "there is no such console");
    else
        kb_reply_store_failed(r);
    kb_console_row_finish(&c.row);
}
