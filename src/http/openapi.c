/* Serves the API's own description, src/http/openapi.json, which is part of the program. Does not
 * know what stands in it; tests hold it against the table of routes and the running daemon. HTTP
 * threads. */
#include "http/openapi.h"

#include "http/openapi_json.h"
#include "http/route.h"

const char *const kb_openapi = document;

void kb_api_openapi(struct kb_request *r)
{
    kb_reply_text(r, 200, "application/json; charset=utf-8", kb_openapi);
}
