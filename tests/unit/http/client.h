/* What every test of the server needs: a room with a real store and real sources, a proxy that only
 * pretends, and a client that speaks over one end of a socket pair as a loop would hand it over. */
#ifndef KB_TEST_HTTP_CLIENT_H
#define KB_TEST_HTTP_CLIENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "http/server.h"
#include "http/request.h"

struct room {
    char dir[64];
    struct kb_store *store;
    struct kb_sources *sources;
    struct kb_http *http;
    char *admin_path;
    uint16_t metrics_port;
};

/* group set-up and teardown */
int room_open(void **state);
int room_close(void **state);
extern struct room room;
extern struct kb_http_options room_options;

/* What the pretended proxy was asked last. */
struct terminated {
    unsigned calls;
    char id[64], source[64], uuid[64], actor[64], detail[64], apikey_id[64];
};
extern struct terminated terminated;

struct answer {
    int status;
    char *text;    /* all of it */
    char *headers; /* lower-cased names: "\nname: value\n" */
    char *body;
    size_t body_len;
    json_t *json; /* NULL if the body is none */
};

/* One request through the web door from the address; headers is "A: b\r\nC: d\r\n" or NULL. The
 * answer lives until the next call. */
const struct answer *ask_from(const char *address, const char *method, const char *path,
                              const char *headers, const char *body);
const struct answer *ask(const char *method, const char *path, const char *headers,
                         const char *body);
/* The same through the admin socket. */
const struct answer *ask_admin(const char *method, const char *path, const char *body);
const struct answer *ask_metrics(const char *path);
/* Bytes as they are, through the web door. */
const struct answer *ask_raw(const char *bytes, size_t len);

const char *header(const struct answer *a, const char *name); /* NULL if absent; lives a while */
const char *text_at(const json_t *object, const char *path);  /* "error.code"; "" if absent */
/* Fails the test unless the answer has what every one has. */
void check_security_headers(const struct answer *a);
/* Fails the test unless status and the error's code are these. */
void check_error(const struct answer *a, int status, const char *code);
/* "Authorization: Bearer ...\r\n" of a fresh API key with the role; the caller frees. */
char *key_of(const char *role);

#endif
