/* One request of a driver's call to its cloud's HTTP API: with the source's CA, timeout and end,
 * and with the words that a person needs when it fails. */
#ifndef KB_SOURCE_API_H
#define KB_SOURCE_API_H

#include "base/fetch.h"
#include "source/driver.h"

#include <jansson.h>

#define KB_API_HEADERS 6
#define KB_API_LIST_MAX (64u << 20) /* bytes of a list: ten thousand machines and room to spare */

struct kb_api {
    const char *what;                    /* for messages: "logging in", "listing machines" */
    const char *url;                     /* absolute */
    const char *headers[KB_API_HEADERS]; /* "Name: value"; unused ones NULL */
    const char *method;                  /* NULL: POST with a body, else GET */
    const char *body;                    /* a POST with it; NULL: a GET */
    const char *wanted;                  /* a header of the answer to keep; NULL: none */
    const char *user, *password;         /* HTTP Basic; NULL: none */
    const char *client_certificate, *client_key; /* paths; NULL: none */
    bool no_verify;
    bool also_system; /* the certificate may also be of anybody whom the system trusts */
    bool no_json;     /* the answer is something else: text holds it */
    size_t max;       /* bytes of the answer; 0: 1 MiB */
    int64_t deadline; /* ms for all of it; 0: the source's timeout */
    /* For an answer that goes on: see base/fetch.h. */
    bool (*take)(void *to, const void *data, size_t len);
    void *take_to;
    const atomic_bool *stop_too;
    /* out; kb_api_finish */
    long status;
    json_t *json;          /* NULL: it was none */
    struct kb_fetch fetch; /* answer, header */
    char words[160];       /* the cloud's own of an error, or "" */
};

/* False when there is no whole answer; call->why says it. An answer of any status is one. */
KB_MUST_CHECK bool kb_api_ask(struct kb_source_call *call, struct kb_api *a);
/* Says in call->why that this answer is not what was asked for: what, status, the cloud's words;
 * notes Retry-After. Returns false. */
bool kb_api_refused(struct kb_source_call *call, const struct kb_api *a);
/* A cloud's words for logs and pages: one line, without what a terminal obeys. NULL is "". */
void kb_api_copy_words(char *to, size_t size, const char *text);
/* kb_api_ask, and true only for a 200 (or 201) with a JSON object or array; else as above. */
KB_MUST_CHECK bool kb_api_get(struct kb_source_call *call, struct kb_api *a);
void kb_api_finish(struct kb_api *a); /* wipes; also of what was never asked */

/* Who must have signed the API's certificate: PEM, or NULL for the system's trust. */
const char *kb_api_ca(const struct kb_source_config *c);

/* Steps resolve, connect and tls of a check, by a request to url whose answer does not matter;
 * false after the one that failed. */
bool kb_api_check(struct kb_source_call *call, const char *url, bool no_verify);

/* Where a page of a list says that the next one is, as a URL of the same API: of what the cloud
 * says only path and query are taken, because behind a balancer it may not know its own name. To be
 * freed; NULL when it is no URL. */
char *kb_api_next(const char *url, const char *next);

/* The host and port of a URL; host is to be freed, without an IPv6 address's brackets; port 0: it
 * names none. */
KB_MUST_CHECK bool kb_api_place(const char *url, char **host, uint16_t *port);

/* A JSON value as a body, which may hold a password: of our own memory (jansson's may have another
 * allocator). Takes value over. */
struct kb_secret kb_json_body(json_t *value);

/* Members of a JSON object; clouds are free with types. NULL when absent, null or no text; a number
 * is not a text. */
const char *kb_json_str(const json_t *object, const char *key);
/* A number, or one written as a text; fallback when absent, null or out of min..max. */
int64_t kb_json_num(const json_t *object, const char *key, int64_t min, int64_t max,
                    int64_t fallback);
/* A port: 0 for absent, null, -1, 0 and all that is none. */
uint16_t kb_json_port(const json_t *object, const char *key);

#endif
