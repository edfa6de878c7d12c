/* Trades the exchange token of a URL for the .vv file, once. Who only looks (HEAD, a browser that
 * would show a page, a prefetch) does not use it up: a browser gets a page with a button that posts
 * to the same URL. HTTP threads. */
#include "http/page.h"
#include "http/route.h"
#include "http/vv_file.h"
#include "http/vv_reply.h"

#include <strings.h>

/* Browsers and proxies say so when they fetch a link that nobody has followed. */
static bool is_prefetch(struct kb_request *r)
{
    static const char *const names[] = {"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = kb_request_header(r, names[i]);
        if (value && (strcasestr(value, "prefetch") || strcasestr(value, "preview")))
            return true;
    }
    return false;
}

static void refuse(struct kb_request *r, enum kb_reason reason, bool html)
{
    unsigned status = reason == KB_REASON_TOKEN_ADDRESS ? 403 : 404;
    /* The reason's own text speaks of a session; here it is the link that was used. */
    const char *text = reason == KB_REASON_TOKEN_USED
                           ? "the link was used before; ask for a new one"
                           : kb_reason_text(reason);
    if (html)
        kb_page_message(r, status, "This link does not open a console", text, false);
    else
        kb_reply_error(r, status, kb_reason_name(reason), "%s", text);
}

static void show(struct kb_request *r, const struct kb_store_exchange_grant *c, bool html)
{
    const char *name = c->console.name && *c->console.name ? c->console.name : c->row.uuid;
    if (html)
        kb_page_exchange(r, name);
    else
        kb_reply_text(r, 200, KB_VV_CONTENT_TYPE, "");
}

void kb_api_exchange(struct kb_request *r)
{
    bool post = strcmp(r->method, "POST") == 0;
    bool html = kb_request_accepts(r, "text/html");
    bool look = r->head || (!post && (html || is_prefetch(r)));
    char token[KB_TOKEN_SIZE];
    kb_token_create(token);
    struct kb_store_exchange_grant c = {
        .call.verb = KB_STORE_EXCHANGE_GRANT,
        .exchange_hash = kb_hash_of(r->params[0], strlen(r->params[0])),
        .token_hash = kb_hash_of(token, strlen(token)),
        .client_address = r->client_address,
        .request_id = r->id,
        .look_only = look,
    };
    enum kb_store_status status = kb_store_run(r->store, &c.call);
    if (status == KB_STORE_FAILED)
        kb_reply_store_failed(r);
    else if (status != KB_STORE_OK)
        refuse(r, status == KB_STORE_DENIED ? c.reason : KB_REASON_TOKEN_UNKNOWN, html);
    else if (look)
        show(r, &c, html || !r->head);
    else
        kb_reply_vv(r, 200, c.console.name, &c.row, token);
    kb_wipe(token, sizeof token);
    kb_grant_row_finish(&c.row);
    kb_console_row_finish(&c.console);
}
