/* One HTTP(S) request to somebody else's server, over libcurl: with a deadline, a cap on the size
 * of the answer, a CA of its own, and no way to another host. Blocks; for threads that may. */
#ifndef KB_BASE_FETCH_H
#define KB_BASE_FETCH_H

#include "base/auto.h"
#include "base/buf.h"

#include <stdatomic.h>

/* How far it came. */
enum kb_fetch_stage { KB_FETCH_RESOLVE, KB_FETCH_CONNECT, KB_FETCH_TLS, KB_FETCH_ANSWER };

struct kb_fetch {
    const char *url;             /* https:// or http:// */
    const char *const *headers;  /* "Name: value", ended by NULL; may be NULL */
    const char *method;          /* NULL: POST with a body, else GET */
    const char *body;            /* a POST with it; NULL: a GET */
    const char *user, *password; /* HTTP Basic; NULL: none */
    const char *ca_pem; /* who must have signed the certificate; NULL: the system's trust */
    bool also_system;   /* or, beside ca_pem, anybody whom the system trusts */
    const char *client_certificate, *client_key; /* paths, PEM: who we are; NULL: nobody */
    bool no_verify;                              /* take any certificate */
    int64_t deadline;                            /* ms for all of it; 0: 10 s */
    size_t max;                                  /* bytes of the answer's body; 0: 1 MiB */
    const atomic_bool *stop, *stop_too;          /* end it within a second or so; may be NULL */
    /* Gets the body of a 200 in place of answer, as it comes; false ends it, and there is no whole
     * answer then. NULL: answer gets it. */
    bool (*take)(void *to, const void *data, size_t len);
    void *take_to;
    const char *wanted; /* a header of the answer to keep; NULL: none */
    /* out; finish them */
    long status;               /* 100..599 */
    struct kb_buf answer;      /* ended by a NUL that len does not count */
    char *header;              /* the wanted one, or NULL */
    char error[256];           /* when it failed */
    int64_t retry_after;       /* ms, of the header Retry-After, at most an hour; 0: none */
    enum kb_fetch_stage stage; /* of the last connection: what it was at when it ended */
    uint64_t resolve_us, connect_us, tls_us; /* since its beginning; 0: not done, or not needed */
};

/* False if there is no whole answer; error says why. An answer of any status is one. Redirects of a
 * GET are followed three times within the same scheme, host and port; others are answers too. */
KB_MUST_CHECK bool kb_fetch_run(struct kb_fetch *f);
/* Wipes: an answer may be a token. */
void kb_fetch_finish(struct kb_fetch *f);

/* The CURL handle trusts whom f names and shows who we are; for what is no request. */
void kb_fetch_trust(void *curl, const struct kb_fetch *f);

/* text as a part of a URL's path or query, or of a form; to be freed. */
char *kb_fetch_escape(const char *text);

#endif
