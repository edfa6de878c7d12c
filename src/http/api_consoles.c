/* Lists and shows consoles. A user sees names; where a console's hypervisor is, is for operators.
 * HTTP threads. */
#include "http/access.h"
#include "http/route.h"

static json_t *console_json(const struct kb_request *r, const struct kb_console_row *row)
{
    json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "source",
                          kb_json_text(row->source), "uuid", kb_json_text(row->uuid), "name",
                          kb_json_text(row->name), "project", kb_json_text(row->project), "state",
                          kb_json_text(row->state), "protocol", kb_json_text(row->protocol),
                          "first_seen", kb_json_time(row->first_seen), "last_seen",
                          kb_json_time(row->last_seen), "in_use", row->in_use);
    if (!kb_request_may_on(r, KB_MAY_LIST_SESSIONS, row))
        return o;
    json_object_set_new(o, "owner", kb_json_text(row->owner));
    json_object_set_new(o, "transport", kb_json_text(row->transport));
    json_object_set_new(o, "hypervisor", kb_json_text(row->hypervisor));
    json_object_set_new(o, "hypervisor_ip", kb_json_text(row->hypervisor_ip));
    json_object_set_new(o, "unix_socket", kb_json_text(row->unix_socket));
    json_object_set_new(o, "host_subject", kb_json_text(row->host_subject));
    json_object_set_new(o, "insecure_port",
                        row->insecure_port ? json_integer(row->insecure_port) : json_null());
    json_object_set_new(o, "secure_port",
                        row->secure_port ? json_integer(row->secure_port) : json_null());
    return o;
}

void kb_api_consoles(struct kb_request *r)
{
    struct kb_page page;
    bool in_use = false;
    if (!kb_request_page(r, "name", &page) || !kb_request_flag(r, "in_use", &in_use))
        return;
    const char *source = kb_http_target_query(&r->target, "source");
    struct kb_request_view view;
    struct kb_store_list_consoles c = {
        .call.verb = KB_STORE_LIST_CONSOLES,
        .source = source && *source ? source : NULL,
        .q = page.q,
        .in_use = in_use,
        .after = page.cursor,
        .limit = page.limit,
        .filter = kb_request_filter(r, KB_MAY_LIST_CONSOLES, &view),
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status != KB_STORE_OK) {
        kb_reply_no_page(r, status);
    } else {
        json_t *items = json_array();
        for (size_t i = 0; i < c.count; i++)
            json_array_append_new(items, console_json(r, &c.rows[i]));
        kb_reply_list(r, items, c.next);
    }
    kb_store_list_consoles_finish(&c);
}

void kb_api_console(struct kb_request *r)
{
    struct kb_store_get_console c = {
        .call.verb = KB_STORE_GET_CONSOLE, .source = r->params[0], .uuid = r->params[1]};
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status == KB_STORE_OK && !kb_request_may_on(r, KB_MAY_LIST_CONSOLES, &c.row))
        kb_reply_hidden(r, "console_not_found", "there is no such console");
    else if (status == KB_STORE_OK)
        kb_reply_json(r, 200, console_json(r, &c.row));
    else if (status == KB_STORE_NOT_FOUND)
        kb_reply_error(r, 404, "console_not_found", "there is no such console");
    else
        kb_reply_store_failed(r);
    kb_console_row_finish(&c.row);
}
