/* Why a console does not open, for operators. HTTP threads ask whether it may be told; the waiting
 * for the hypervisor is done on the threads for slow work. */
#include "http/access.h"
#include "http/route.h"
#include "http/server.h"
#include "proxy/diagnose.h"

static json_t *hop_json(enum kb_hop hop, const struct kb_hop_view *h)
{
    static const char *const results[] = {
        [KB_HOP_UNTRIED] = "untried",
        [KB_HOP_OK] = "ok",
        [KB_HOP_FAILED] = "failed",
        [KB_HOP_NOT_NEEDED] = "not_needed",
    };
    bool failed = h->result == KB_HOP_FAILED;
    return json_pack("{s:s, s:s, s:f, s:o, s:o, s:o, s:o}", "hop", kb_hop_name(hop), "result",
                     results[h->result], "ms", (double)h->us / 1000, "reason",
                     kb_json_text(failed ? kb_reason_name(h->reason) : NULL), "text",
                     kb_json_text(failed ? kb_reason_text(h->reason) : NULL), "detail",
                     kb_json_text(h->detail), "advice",
                     kb_json_text(failed ? kb_diagnosis_advice(h->reason) : NULL));
}

static void diagnose(struct kb_request *r)
{
    struct kb_diagnosis d;
    kb_proxy_diagnose(r->http->proxy, r->params[0], r->params[1], &d);
    bool ok = true;
    json_t *hops = json_array();
    for (int hop = 0; hop < KB_HOPS; hop++) {
        ok = ok && d.hops[hop].result != KB_HOP_FAILED;
        json_array_append_new(hops, hop_json((enum kb_hop)hop, &d.hops[hop]));
    }
    kb_reply_json(r, 200,
                  json_pack("{s:s, s:s, s:b, s:o}", "source", r->params[0], "uuid", r->params[1],
                            "ok", ok, "hops", hops));
    kb_request_done_few(r);
}

void kb_api_diagnosis(struct kb_request *r)
{
    if (!kb_request_need_on(r, KB_MAY_LIST_SESSIONS, r->params[0], r->params[1], false))
        return;
    struct kb_store_get_console c = {
        .call.verb = KB_STORE_GET_CONSOLE, .source = r->params[0], .uuid = r->params[1]};
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    kb_console_row_finish(&c.row);
    if (status == KB_STORE_NOT_FOUND) {
        kb_reply_error(r, 404, "console_not_found", "there is no such console");
        return;
    }
    if (status != KB_STORE_OK) {
        kb_reply_store_failed(r);
        return;
    }
    kb_request_defer_few(r, "too_many_diagnoses", "diagnoses", diagnose);
}
