/* Requests to clouds over base/fetch.h. Threads of drivers. */
#include "source/api.h"

#include "base/clock.h"
#include "base/mem.h"

#include <curl/curl.h>
#include <string.h>

/* --- what went wrong, in the cloud's words ---------------------------------------------------- */

static const char *text_in(const json_t *o, const char *const *keys)
{
    for (; *keys; keys++) {
        const char *text = kb_json_str(o, *keys);
        if (text && *text)
            return text;
    }
    return NULL;
}

/* {"message": "..."}, {"error": "..."}, {"error": {"message": "..."}}, {"fault": {"detail":
 * "..."}}, {"itemNotFound": {"message": "..."}}, {"errors": {"vmid": "..."}}, and FastCGI's
 * cousins. */
static const char *find_words(json_t *body)
{
    static const char *const keys[] = {"message", "detail", "error_description", "error", "reason",
                                       "msg",     NULL};
    const char *text = text_in(body, keys), *key;
    json_t *value;
    if (text)
        return text;
    json_object_foreach(body, key, value)
    {
        text = text_in(value, keys);
        if (text)
            return text;
        if (strcmp(key, "errors") == 0 && json_is_object(value))
            return json_string_value(json_object_iter_value(json_object_iter(value)));
    }
    return NULL;
}

void kb_api_copy_words(char *to, size_t size, const char *text)
{
    kb_copy_str(to, size, text ? text : "");
    for (char *c = to; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
}

bool kb_api_refused(struct kb_source_call *call, const struct kb_api *a)
{
    if (a->status == 429 || a->status == 503)
        call->retry_after = a->fetch.retry_after;
    if (a->status >= 200 && a->status < 300)
        return kb_call_failed(call, "%s: the answer of %.80s is not what it should be", a->what,
                              a->url);
    return kb_call_failed(call, "%s: status %ld%s%s", a->what, a->status, *a->words ? ": " : "",
                          a->words);
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Who signs the API's certificate: a path in `verify` says so apart from ca_cert, which then holds
 * for hypervisors alone. */
const char *kb_api_ca(const struct kb_source_config *c)
{
    const struct kb_source_driver *driver = kb_source_driver_find(c->type);
    for (size_t i = 0; i < c->setting_count; i++)
        if (driver->keys[i].kind == KB_KEY_VERIFY && c->settings[i].text)
            return c->settings[i].text;
    return c->ca_cert;
}

bool kb_api_ask(struct kb_source_call *call, struct kb_api *a)
{
    const char *headers[KB_API_HEADERS + 1] = {0};
    for (size_t i = 0, n = 0; i < KB_API_HEADERS; i++)
        if (a->headers[i])
            headers[n++] = a->headers[i];
    kb_fetch_finish(&a->fetch);
    json_decref(a->json);
    a->json = NULL;
    a->fetch = (struct kb_fetch){
        .url = a->url,
        .headers = headers,
        .method = a->method,
        .body = a->body,
        .user = a->user,
        .password = a->password,
        .ca_pem = kb_api_ca(call->config),
        .client_certificate = a->client_certificate,
        .client_key = a->client_key,
        .no_verify = a->no_verify,
        .also_system = a->also_system,
        .deadline = a->deadline ? a->deadline : kb_call_left(call),
        .max = a->max,
        .stop = call->stop,
        .stop_too = a->stop_too,
        .take = a->take,
        .take_to = a->take_to,
        .wanted = a->wanted,
    };
    bool ok = kb_fetch_run(&a->fetch);
    a->fetch.headers = NULL;
    if (!ok)
        return kb_call_failed(call, "%s: %s", a->what, a->fetch.error);
    a->status = a->fetch.status;
    if (!a->no_json)
        a->json = json_loadb((const char *)a->fetch.answer.data, a->fetch.answer.len,
                             JSON_ALLOW_NUL, NULL);
    if (a->status >= 400)
        kb_api_copy_words(a->words, sizeof a->words, find_words(a->json));
    return true;
}

bool kb_api_get(struct kb_source_call *call, struct kb_api *a)
{
    if (!kb_api_ask(call, a))
        return false;
    if ((a->status == 200 || a->status == 201) && a->json)
        return true;
    return kb_api_refused(call, a);
}

void kb_api_finish(struct kb_api *a)
{
    kb_fetch_finish(&a->fetch);
    json_decref(a->json);
    a->json = NULL;
}

char *kb_api_next(const char *url, const char *next)
{
    CURLU *base = curl_url(), *u = curl_url();
    char *path = NULL, *query = NULL, *made = NULL, *result = NULL;
    if (curl_url_set(base, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_set(u, CURLUPART_URL, next, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK &&
        curl_url_set(base, CURLUPART_PATH, path, 0) == CURLUE_OK) {
        curl_url_get(u, CURLUPART_QUERY, &query, 0);
        curl_url_set(base, CURLUPART_QUERY, query, 0);
        if (curl_url_get(base, CURLUPART_URL, &made, 0) == CURLUE_OK)
            result = kb_strdup(made);
    }
    curl_free(path);
    curl_free(query);
    curl_free(made);
    curl_url_cleanup(base);
    curl_url_cleanup(u);
    return result;
}

bool kb_api_place(const char *url, char **host, uint16_t *port)
{
    CURLU *u = curl_url();
    char *name = NULL, *number = NULL;
    bool ok = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_HOST, &name, 0) == CURLUE_OK;
    if (ok) {
        curl_url_get(u, CURLUPART_PORT, &number, 0);
        size_t len = strlen(name);
        bool brackets = name[0] == '[' && name[len - 1] == ']';
        *host = brackets ? kb_printf("%.*s", (int)(len - 2), name + 1) : kb_strdup(name);
        *port = number ? (uint16_t)strtoul(number, NULL, 10) : 0;
    }
    curl_free(name);
    curl_free(number);
    curl_url_cleanup(u);
    return ok;
}

/* --- check ------------------------------------------------------------------------------------ */

static const char *tls_advice(const char *error)
{
    if (strstr(error, "expired") || strstr(error, "not yet valid"))
        return "Look at this machine's clock, then at the certificate's dates.";
    if (strstr(error, "subject name") || strstr(error, "host name") || strstr(error, "hostname"))
        return "Use a name in url that the certificate has.";
    if (strstr(error, "certificate") || strstr(error, "issuer"))
        return "Put the CA that signed the API's certificate into the source's ca_cert.";
    return "Look whether url has the right port and scheme.";
}

bool kb_api_check(struct kb_source_call *call, const char *url, bool no_verify)
{
    struct kb_api a = {
        .what = "connecting", .url = url, .no_verify = no_verify, .no_json = true, .max = 1u << 20};
    bool ok = kb_api_ask(call, &a);
    const struct kb_fetch *f = &a.fetch;
    if (!ok && f->stage == KB_FETCH_RESOLVE) {
        kb_check_failed(call, "resolve", "Look at the host's name in url and at the resolver.");
    } else if (!ok && f->stage == KB_FETCH_CONNECT) {
        kb_check_ok(call, "resolve", "%.200s", url);
        kb_check_failed(call, "connect",
                        "Look whether the API listens there, and at firewalls on the way.");
    } else {
        kb_check_ok(call, "resolve", "%.200s", url);
        kb_check_ok(call, "connect", "after %.1f ms", (double)f->connect_us / 1000);
        if (!ok && f->stage == KB_FETCH_TLS) {
            kb_check_failed(call, "tls", tls_advice(f->error));
        } else if (!ok) {
            kb_check_failed(call, "answer", "Look whether url is an HTTP API.");
        } else if (strncmp(url, "https", 5) != 0) {
            kb_check_ok(call, "tls", "none: url says http, so passwords go in clear");
        } else {
            kb_check_ok(call, "tls",
                        no_verify ? "taken without a look at its certificate"
                                  : "the certificate is good");
        }
    }
    kb_api_finish(&a);
    return ok;
}

/* --- JSON ------------------------------------------------------------------------------------- */

struct kb_secret kb_json_body(json_t *value)
{
    size_t size = json_dumpb(value, NULL, 0, JSON_COMPACT);
    struct kb_secret body = {kb_zalloc(size + 1)};
    json_dumpb(value, body.text, size, JSON_COMPACT);
    json_decref(value);
    return body;
}

const char *kb_json_str(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

int64_t kb_json_num(const json_t *object, const char *key, int64_t min, int64_t max,
                    int64_t fallback)
{
    const json_t *v = json_object_get(object, key);
    int64_t n = fallback;
    if (json_is_integer(v)) {
        n = json_integer_value(v);
    } else if (json_is_string(v)) {
        const char *text = json_string_value(v);
        size_t len = strlen(text), digits = strspn(text + (*text == '-'), "0123456789");
        if (digits && digits + (*text == '-') == len && digits <= 18)
            n = strtoll(text, NULL, 10);
    }
    return n < min || n > max ? fallback : n;
}

uint16_t kb_json_port(const json_t *object, const char *key)
{
    return (uint16_t)kb_json_num(object, key, 1, 65535, 0);
}
