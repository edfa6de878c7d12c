/* The API's description: OpenAPI 3.1, JSON. */
#ifndef KB_HTTP_OPENAPI_H
#define KB_HTTP_OPENAPI_H

extern const char *const kb_openapi;

#endif
