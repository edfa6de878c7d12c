/* policy list, show, explain. Main thread. */
#include "base/mem.h"
#include "cli/show.h"

#include <stdio.h>

/* What an array of texts says on one line; "" for none. */
static json_t *join(const json_t *texts, const char *between)
{
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    size_t i;
    json_t *text;
    json_array_foreach(texts, i, text)
        kb_buf_printf(&out, "%s%s", i ? between : "", json_string_value(text));
    kb_auto_free char *line = kb_buf_steal(&out);
    return json_string(line ? line : "");
}

/* A rule's value as a cell: lists become one text. Takes nothing over. */
static json_t *cell(const json_t *value)
{
    return json_is_array(value) ? join(value, "; ") : json_deep_copy(value);
}

int kb_cmd_policy_list(const struct kb_cli_options *o)
{
    static const struct kb_column columns[] = {
        {"NAME", "name", KB_CELL_TEXT, false, 0},
        {"MODE", "mode", KB_CELL_TEXT, false, 0},
        {"ATTACHED", "attached", KB_CELL_COUNT, false, 0},
        {"RULES", "says", KB_CELL_TEXT, true, 0},
    };
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    json_auto_t *items = NULL;
    status = kb_client_list(c, "/api/v1/policies", 0, &items);
    size_t i;
    json_t *policy;
    if (!o->json)
        json_array_foreach(items, i, policy)
        {
            json_auto_t *names = json_array();
            const char *rule;
            json_t *value;
            json_object_foreach(json_object_get(policy, "rules"), rule, value)
                json_array_append_new(names, json_string(rule));
            json_object_set_new(policy, "says", join(names, ", "));
        }
    if (status == KB_EXIT_DONE)
        kb_table_print(KB_COLUMNS(columns), items, o->json);
    kb_client_destroy(c);
    return status;
}

static void print_attached(const json_t *policy)
{
    size_t i;
    json_t *a;
    json_array_foreach(json_object_get(policy, "attached"), i, a)
    {
        json_t *uuid = json_object_get(a, "uuid"), *consoles = json_object_get(a, "consoles");
        json_object_set_new(a, "which",
                            json_is_string(uuid)        ? json_incref(uuid)
                            : json_array_size(consoles) ? join(consoles, ", ")
                                                        : json_string("every console"));
    }
}

static void print_policy(json_t *policy)
{
    static const struct kb_column columns[] = {
        {"name", "name", KB_CELL_TEXT, false, 0},
        {"mode", "mode", KB_CELL_TEXT, false, 0},
    };
    static const struct kb_column rule_columns[] = {
        {"RULE", "rule", KB_CELL_TEXT, false, 0},
        {"VALUE", "value", KB_CELL_TEXT, false, 0},
    };
    static const struct kb_column attached_columns[] = {
        {"SOURCE", "source", KB_CELL_TEXT, false, 0},
        {"CONSOLES", "which", KB_CELL_TEXT, false, 0},
    };
    json_auto_t *rows = json_array();
    const char *rule;
    json_t *value;
    json_object_foreach(json_object_get(policy, "rules"), rule, value)
        json_array_append_new(rows, json_pack("{s:s, s:o}", "rule", rule, "value", cell(value)));
    kb_table_print_object(KB_COLUMNS(columns), policy, false);
    putchar('\n');
    kb_table_print(KB_COLUMNS(rule_columns), rows, false);
    print_attached(policy);
    putchar('\n');
    kb_table_print(KB_COLUMNS(attached_columns), json_object_get(policy, "attached"), false);
}

int kb_cmd_policy_show(const struct kb_cli_options *o)
{
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    json_auto_t *items = NULL;
    status = kb_client_list(c, "/api/v1/policies", 0, &items);
    kb_client_destroy(c);
    if (status != KB_EXIT_DONE)
        return status;
    size_t i;
    json_t *policy;
    json_array_foreach(items, i, policy)
    {
        const char *name = json_string_value(json_object_get(policy, "name"));
        if (!name || strcmp(name, o->args[0]) != 0)
            continue;
        if (o->json)
            kb_show_json(policy);
        else
            print_policy(policy);
        return KB_EXIT_DONE;
    }
    fprintf(stderr, "kerbside: no policy has this name\n");
    return KB_EXIT_REFUSED;
}

static void print_sum(const json_t *sum)
{
    static const struct kb_column policy_columns[] = {
        {"POLICY", "name", KB_CELL_TEXT, false, 0},
        {"MODE", "mode", KB_CELL_TEXT, false, 0},
        {"BECAUSE OF", "because", KB_CELL_TEXT, false, 0},
    };
    static const struct kb_column columns[] = {
        {"RULE", "rule", KB_CELL_TEXT, false, 0},
        {"VALUE", "value", KB_CELL_TEXT, false, 0},
        {"DECIDED BY", "by", KB_CELL_TEXT, false, 0},
        {"OBSERVED", "observed", KB_CELL_TEXT, false, 0},
        {"BY", "observed_by", KB_CELL_TEXT, false, 0},
    };
    json_auto_t *rows = json_array();
    size_t i;
    json_t *rule;
    json_array_foreach(json_object_get(sum, "rules"), i, rule)
    {
        const json_t *observed = json_object_get(rule, "observed");
        json_array_append_new(
            rows, json_pack("{s:O, s:o, s:o, s:o, s:o}", "rule", json_object_get(rule, "rule"),
                            "value", cell(json_object_get(rule, "value")), "by",
                            cell(json_object_get(rule, "policies")), "observed",
                            json_is_object(observed) ? cell(json_object_get(observed, "value"))
                                                     : json_null(),
                            "observed_by",
                            json_is_object(observed) ? cell(json_object_get(observed, "policies"))
                                                     : json_null()));
    }
    kb_table_print(KB_COLUMNS(policy_columns), json_object_get(sum, "policies"), false);
    putchar('\n');
    kb_table_print(KB_COLUMNS(columns), rows, false);
}

int kb_cmd_policy_explain(const struct kb_cli_options *o)
{
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    kb_auto_free char *console = kb_client_console_path(c, o->args + 1, o->arg_count - 1, &status);
    if (console) {
        char *path = kb_printf("%s/policy", console);
        kb_client_add_query(&path, "user", o->args[0]);
        kb_client_add_query(&path, "groups", o->groups);
        kb_client_add_query(&path, "policy", o->policy);
        json_auto_t *sum = NULL;
        status = kb_client_call(c, "GET", path, NULL, &sum);
        if (status == KB_EXIT_DONE && o->json)
            kb_show_json(sum);
        else if (status == KB_EXIT_DONE)
            print_sum(sum);
        free(path);
    }
    kb_client_destroy(c);
    return status;
}
