/* HTTP(S) requests over libcurl, one at a time. Any thread that may block. */
#include "base/fetch.h"

#include "base/mem.h"
#include "base/secret.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>

#define DEADLINE_MS 10000
#define CONNECT_MS 5000L
#define ANSWER_MAX (1024 * 1024)
#define REDIRECTS_MAX 3
#define RETRY_MAX_MS (3600 * 1000)

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* What a request of libcurl's is given along. */
struct request {
    CURL *curl;
    struct kb_fetch *fetch;
};

static size_t take_body(char *data, size_t size, size_t count, void *to)
{
    const struct request *r = to;
    struct kb_fetch *f = r->fetch;
    long status = 0;
    (void)size; /* 1, as documented */
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
    if (f->take && status == 200)
        return f->take(f->take_to, data, count) ? count : 0;
    if (count > f->max - f->answer.len) {
        snprintf(f->error, sizeof f->error, "the answer is longer than %zu bytes", f->max);
        return 0;
    }
    kb_buf_add(&f->answer, data, count);
    return count;
}

static void forget_answer(struct kb_fetch *f)
{
    if (f->answer.data)
        kb_wipe(f->answer.data, f->answer.len + 1); /* nothing was ever written behind that */
    kb_buf_finish(&f->answer);
    if (f->header)
        kb_wipe(f->header, strlen(f->header));
    free(f->header);
    f->header = NULL;
}

static bool is_header(const char *data, size_t count, const char *name)
{
    size_t len = strlen(name);
    return count > len && data[len] == ':' && strncasecmp(data, name, len) == 0;
}

/* Seconds; the other form, a date, is taken as a minute. */
static int64_t read_retry_after(const char *text)
{
    if (!*text)
        return 0;
    if (text[strspn(text, "0123456789")] || strlen(text) > 4)
        return strspn(text, "0123456789") == strlen(text) ? RETRY_MAX_MS : 60000;
    int64_t ms = strtoll(text, NULL, 10) * 1000;
    return ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
}

static size_t take_header(char *data, size_t size, size_t count, void *to)
{
    struct kb_fetch *f = to;
    (void)size;
    bool retry = is_header(data, count, "Retry-After");
    if (!retry && !(f->wanted && is_header(data, count, f->wanted)))
        return count;
    const char *from = memchr(data, ':', count), *end = data + count;
    from++;
    while (from < end && (*from == ' ' || *from == '\t'))
        from++;
    while (end > from && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    char *value = kb_printf("%.*s", (int)(end - from), from);
    if (retry) {
        f->retry_after = read_retry_after(value);
        free(value);
    } else {
        free(f->header);
        f->header = value;
    }
    return count;
}

static int look_for_stop(void *to, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    const struct kb_fetch *f = to;
    return (f->stop && atomic_load(f->stop)) || (f->stop_too && atomic_load(f->stop_too));
}

static void set_options(const struct request *r, const char *url, struct curl_slist *headers,
                        char *words)
{
    CURL *curl = r->curl;
    struct kb_fetch *f = r->fetch;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)f->deadline);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                     f->deadline < CONNECT_MS ? (long)f->deadline : CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_for_stop);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, f);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "kerbside");
    if (f->body)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, f->body);
    if (f->method)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, f->method);
    if (f->user) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(curl, CURLOPT_USERNAME, f->user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, f->password ? f->password : "");
    }
    kb_fetch_trust(curl, f);
}

void kb_fetch_trust(void *curl, const struct kb_fetch *f)
{
    if (f->client_certificate) {
        curl_easy_setopt(curl, CURLOPT_SSLCERT, f->client_certificate);
        curl_easy_setopt(curl, CURLOPT_SSLKEY, f->client_key);
    }
    if (f->no_verify) {
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    } else if (f->ca_pem) {
        struct curl_blob pem = {.data = (void *)(uintptr_t)f->ca_pem,
                                .len = strlen(f->ca_pem),
                                .flags = CURL_BLOB_COPY};
        curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &pem);
        if (!f->also_system)
            curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* this CA and no other */
    }
}

static char *part(CURLU *u, CURLUPart which)
{
    char *text = NULL;
    curl_url_get(u, which, &text, CURLU_DEFAULT_PORT);
    return text;
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart which)
{
    char *x = part(a, which), *y = part(b, which);
    bool same = x && y && strcasecmp(x, y) == 0;
    curl_free(x);
    curl_free(y);
    return same;
}

static bool same_origin(const char *a, const char *b)
{
    CURLU *x = curl_url(), *y = curl_url();
    bool same = x && y && curl_url_set(x, CURLUPART_URL, a, 0) == CURLUE_OK &&
                curl_url_set(y, CURLUPART_URL, b, 0) == CURLUE_OK &&
                same_part(x, y, CURLUPART_SCHEME) && same_part(x, y, CURLUPART_HOST) &&
                same_part(x, y, CURLUPART_PORT);
    curl_url_cleanup(x);
    curl_url_cleanup(y);
    return same;
}

/* By the error where it says so; a time-out by what has a time. */
static enum kb_fetch_stage stage_of(CURLcode code, const struct kb_fetch *f, bool secure)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return KB_FETCH_RESOLVE;
    case CURLE_COULDNT_CONNECT:
        return KB_FETCH_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return KB_FETCH_TLS;
    case CURLE_OPERATION_TIMEDOUT:
        return !f->resolve_us         ? KB_FETCH_RESOLVE
               : !f->connect_us       ? KB_FETCH_CONNECT
               : secure && !f->tls_us ? KB_FETCH_TLS
                                      : KB_FETCH_ANSWER;
    default:
        return KB_FETCH_ANSWER;
    }
}

static void note_stage(struct kb_fetch *f, CURL *curl, CURLcode code, const char *url)
{
    curl_off_t resolve = 0, connect = 0, tls = 0;
    curl_easy_getinfo(curl, CURLINFO_NAMELOOKUP_TIME_T, &resolve);
    curl_easy_getinfo(curl, CURLINFO_CONNECT_TIME_T, &connect);
    curl_easy_getinfo(curl, CURLINFO_APPCONNECT_TIME_T, &tls);
    f->resolve_us = (uint64_t)resolve;
    f->connect_us = (uint64_t)connect;
    f->tls_us = (uint64_t)tls;
    f->stage = stage_of(code, f, strncasecmp(url, "https", 5) == 0);
}

/* One request; *next is where it leads on, to be freed. */
static bool run_once(struct kb_fetch *f, const char *url, char **next)
{
    char words[CURL_ERROR_SIZE] = "", *location = NULL;
    struct curl_slist *headers = NULL;
    CURL *curl = curl_easy_init();
    if (!curl) {
        kb_copy_str(f->error, sizeof f->error, "libcurl cannot start");
        return false;
    }
    for (size_t i = 0; f->headers && f->headers[i]; i++)
        headers = curl_slist_append(headers, f->headers[i]);
    headers = curl_slist_append(headers, "Expect:"); /* no waiting for 100 */
    forget_answer(f);
    kb_buf_reserve(&f->answer, f->max + 1); /* once, so that growing leaves no copy of a token */
    struct request r = {.curl = curl, .fetch = f};
    set_options(&r, url, headers, words);
    f->error[0] = '\0';
    f->retry_after = 0;
    CURLcode code = curl_easy_perform(curl);
    note_stage(f, curl, code, url);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &f->status);
    if (code == CURLE_OK && !f->body && f->status >= 300 && f->status < 400 &&
        curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &location) == CURLE_OK && location)
        *next = kb_strdup(location);
    if (code != CURLE_OK && !*f->error)
        kb_copy_str(f->error, sizeof f->error, *words ? words : curl_easy_strerror(code));
    f->answer.data[f->answer.len] = '\0';
    for (struct curl_slist *h = headers; h; h = h->next)
        kb_wipe(h->data, strlen(h->data));
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return code == CURLE_OK;
}

bool kb_fetch_run(struct kb_fetch *f)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_curl);
    f->deadline = f->deadline ? f->deadline : DEADLINE_MS;
    f->max = f->max ? f->max : ANSWER_MAX;
    kb_auto_free char *at = kb_strdup(f->url);
    for (int i = 0; i <= REDIRECTS_MAX; i++) {
        char *next = NULL;
        if (!run_once(f, at, &next))
            return false;
        if (!next || !same_origin(at, next)) {
            free(next);
            return true;
        }
        free(at);
        at = next;
    }
    return true;
}

void kb_fetch_finish(struct kb_fetch *f)
{
    forget_answer(f);
}

char *kb_fetch_escape(const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    struct kb_buf b = {0};
    for (; *text; text++) {
        if (strchr(plain, *text))
            kb_buf_add(&b, text, 1);
        else
            kb_buf_printf(&b, "%%%02X", (unsigned)(unsigned char)*text);
    }
    return kb_buf_steal(&b);
}
