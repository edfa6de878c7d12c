/* The few pages of plain HTML: no script, no style of their own. */
#ifndef KB_HTTP_PAGE_H
#define KB_HTTP_PAGE_H

#include "http/request.h"

/* A heading and a sentence, and a way to the form for logging in where that helps. */
void kb_page_message(struct kb_request *r, unsigned status, const char *title, const char *text,
                     bool log_in);
/* The page behind an exchange URL: a button that fetches the file for the console. */
void kb_page_exchange(struct kb_request *r, const char *console_name);

#endif
