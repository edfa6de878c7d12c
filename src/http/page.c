/* Plain HTML pages, which need no script: what is behind a link. The administration page is
 * static.c's. Every text that is not ours goes through kb_text_add_html. HTTP threads. */
#include "http/page.h"

#include "http/text.h"

#define HTML "text/html; charset=utf-8"

static void begin(struct kb_request *r, unsigned status, const char *title)
{
    r->status = status;
    r->content_type = HTML;
    r->out.len = 0;
    kb_buf_add_str(&r->out,
                   "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                   "<meta name=\"viewport\" content=\"width=device-width\">\n"
                   "<meta name=\"color-scheme\" content=\"light dark\">\n"
                   "<meta name=\"robots\" content=\"noindex\">\n<title>");
    kb_text_add_html(&r->out, title);
    kb_buf_add_str(&r->out, "</title>\n</head>\n<body>\n<main>\n<h1>");
    kb_text_add_html(&r->out, title);
    kb_buf_add_str(&r->out, "</h1>\n");
}

static void end(struct kb_request *r)
{
    kb_buf_add_str(&r->out, "</main>\n</body>\n</html>\n");
}

void kb_page_message(struct kb_request *r, unsigned status, const char *title, const char *text,
                     bool log_in)
{
    begin(r, status, title);
    kb_buf_add_str(&r->out, "<p>");
    kb_text_add_html(&r->out, text);
    kb_buf_add_str(&r->out, "</p>\n");
    if (log_in)
        kb_buf_add_str(&r->out, "<p><a href=\"/\">Log in</a></p>\n");
    end(r);
}

void kb_page_exchange(struct kb_request *r, const char *console_name)
{
    begin(r, 200, "Open a console");
    kb_buf_add_str(&r->out, "<p>This link opens <strong><bdi>");
    kb_text_add_html(&r->out, console_name);
    kb_buf_add_str(
        &r->out,
        "</bdi></strong> once. The button downloads a file for the viewer.</p>\n"
        /* Without an action a form posts to the page's own URL, which is the token's. */
        "<form method=\"post\"><button type=\"submit\" autofocus>Open the console</button></form>\n"
        "<p>No viewer yet? Install <code>virt-viewer</code> (remote-viewer) from your system's "
        "packages, or from <a href=\"https://virt-manager.org/download\" rel=\"noreferrer\">"
        "virt-manager.org</a>.</p>\n");
    end(r);
}
