/* Speaks HTTP to the daemon, over its admin socket or a URL, with libcurl. Does not know what the
 * answers mean beyond the contract's form of an error. Main thread. */
#include "cli/client.h"

#include "base/mem.h"
#include "base/secret.h"
#include "cli/runtime_dir.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define CONNECT_SECONDS 10L
#define ANSWER_SECONDS 120L
#define PAGE 1000
#define KEY_MAX 256

struct kb_client {
    CURL *curl;
    char *base;          /* "https://host:port", "http://localhost" with socket */
    char *socket;        /* the admin socket, or NULL */
    char *authorization; /* "Authorization: Bearer ...", or NULL */
    long patience;       /* seconds for an answer */
    long http_status;    /* of the last answer; 0: none */
    char problem[CURL_ERROR_SIZE];
};

/* The key's file, else the environment. False, said on stderr. */
static bool find_key(const char *file, struct kb_secret *key)
{
    const char *from_env = getenv("KERBSIDE_API_KEY");
    char line[KEY_MAX] = "";
    if (!file) {
        kb_secret_set(key, from_env);
        if (!*kb_secret_text(key))
            fprintf(stderr, "kerbside: with a URL, KERBSIDE_API_KEY must hold an API key\n");
        return *kb_secret_text(key);
    }
    kb_auto_fclose FILE *f = fopen(file, "re");
    if (!f) {
        fprintf(stderr, "kerbside: %s: %s\n", file, strerrordesc_np(errno));
        return false;
    }
    setvbuf(f, NULL, _IONBF, 0); /* no copy of the key stays behind */
    if (fgets(line, sizeof line, f))
        line[strcspn(line, " \t\r\n")] = '\0';
    kb_secret_set(key, line);
    kb_wipe(line, sizeof line);
    if (!*kb_secret_text(key))
        fprintf(stderr, "kerbside: %s: there is no API key in it\n", file);
    return *kb_secret_text(key);
}

static bool use_url(struct kb_client *c, const char *url, const char *cacert, const char *key_file,
                    int *status)
{
    kb_auto(kb_secret_finish) struct kb_secret key = {0};
    *status = KB_EXIT_USAGE;
    if (strncasecmp(url, "https://", 8) != 0) {
        fprintf(stderr, "kerbside: the URL must begin with https://, the API key is a secret\n");
        return false;
    }
    if (!find_key(key_file, &key))
        return false;
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    c->base = kb_printf("%.*s", (int)len, url);
    c->authorization = kb_printf("Authorization: Bearer %s", kb_secret_text(&key));
    if (cacert)
        curl_easy_setopt(c->curl, CURLOPT_CAINFO, cacert);
    return true;
}

static bool use_socket(struct kb_client *c, const char *config, int *status)
{
    const char *file = config ? config : KB_DEFAULT_CONFIG;
    kb_auto_free char *problem = NULL;
    kb_auto_free char *dir = NULL;
    if (config || access(file, F_OK) == 0)
        dir = kb_runtime_dir_read(file, &problem);
    else
        dir = kb_strdup(KB_DEFAULT_RUNTIME_DIR);
    if (!dir) {
        fprintf(stderr, "kerbside: %s\n", problem);
        *status = KB_EXIT_USAGE;
        return false;
    }
    c->base = kb_strdup("http://localhost");
    c->socket = kb_printf("%s/admin.sock", dir);
    curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, c->socket);
    curl_easy_setopt(c->curl, CURLOPT_PROXY, "");
    return true;
}

struct kb_client *kb_client_create(const struct kb_cli_options *o, int *status)
{
    struct kb_client *c = kb_zalloc(sizeof *c);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    c->curl = curl_easy_init();
    const char *url = o->url ? o->url : o->config ? NULL : getenv("KERBSIDE_URL");
    bool good = false;
    if (c->curl)
        good = url && *url ? use_url(c, url, o->cacert, o->key_file, status)
                           : use_socket(c, o->config, status);
    c->patience = ANSWER_SECONDS;
    if (good)
        return c;
    kb_client_destroy(c);
    return NULL;
}

void kb_client_destroy(struct kb_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->curl);
    if (c->authorization)
        kb_wipe(c->authorization, strlen(c->authorization));
    free(c->authorization);
    free(c->base);
    free(c->socket);
    free(c);
    curl_global_cleanup();
}

void kb_client_set_patience(struct kb_client *c, long seconds)
{
    c->patience = seconds;
}

long kb_client_http_status(const struct kb_client *c)
{
    return c->http_status;
}

static void add_encoded(struct kb_buf *b, const char *s)
{
    for (; *s; s++) {
        uint8_t c = (uint8_t)*s;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            (c && strchr("-._~", c)))
            kb_buf_add(b, s, 1);
        else
            kb_buf_printf(b, "%%%02X", c);
    }
}

char *kb_client_path(const char *format, ...)
{
    struct kb_buf b = {0};
    va_list args;
    va_start(args, format);
    for (const char *at = format; *at;) {
        size_t plain = strcspn(at, "%");
        kb_buf_add(&b, at, plain);
        at += plain;
        if (*at) { /* %s, there is nothing else */
            add_encoded(&b, va_arg(args, const char *));
            at += 2;
        }
    }
    va_end(args);
    return kb_buf_steal(&b);
}

void kb_client_add_query(char **path, const char *name, const char *value)
{
    if (!value)
        return;
    struct kb_buf b = {0};
    kb_buf_add_str(&b, *path);
    kb_buf_add_str(&b, strchr(*path, '?') ? "&" : "?");
    kb_buf_add_str(&b, name);
    kb_buf_add_str(&b, "=");
    add_encoded(&b, value);
    free(*path);
    *path = kb_buf_steal(&b);
}

static size_t take(char *data, size_t size, size_t count, void *out)
{
    kb_buf_add(out, data, size * count);
    return size * count;
}

static int unreachable(struct kb_client *c, CURLcode code)
{
    long number = 0;
    curl_easy_getinfo(c->curl, CURLINFO_OS_ERRNO, &number);
    const char *why = *c->problem ? c->problem : curl_easy_strerror(code);
    if (c->socket) /* libcurl says "localhost port 80" of a socket */
        fprintf(stderr, "kerbside: the daemon cannot be reached at %s: %s\n", c->socket,
                code == CURLE_COULDNT_CONNECT && number ? strerror((int)number) : why);
    else
        fprintf(stderr, "kerbside: the daemon cannot be reached at %s: %s\n", c->base, why);
    return KB_EXIT_UNREACHABLE;
}

static int refused(const struct kb_buf *body, long status)
{
    json_auto_t *j = json_loadb((const char *)body->data, body->len, 0, NULL);
    const char *message = NULL, *code = NULL, *id = NULL;
    if (j && json_unpack(j, "{s:{s:s, s:s, s:s}}", "error", "code", &code, "message", &message,
                         "request_id", &id) == 0)
        fprintf(stderr, "kerbside: %s (%s, request %s)\n", message, code, id);
    else
        fprintf(stderr, "kerbside: the answer was %ld, and not from a kerbside\n", status);
    return KB_EXIT_REFUSED;
}

static int transfer(struct kb_client *c, const char *method, const char *path, json_t *body,
                    const char *accept, struct kb_buf *answer)
{
    kb_auto_free char *url = kb_printf("%s%s", c->base, path);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct curl_slist *headers = curl_slist_append(NULL, accept);
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    if (c->authorization)
        headers = curl_slist_append(headers, c->authorization);
    *c->problem = '\0';
    curl_easy_setopt(c->curl, CURLOPT_URL, url);
    curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, c->socket ? "http" : "https");
    curl_easy_setopt(c->curl, CURLOPT_HTTPGET, 1L);
    if (strcmp(method, "GET") != 0) {
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, text ? text : "");
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE, (long)(text ? strlen(text) : 0));
    }
    curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->problem);
    curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, c->patience);
    curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    CURLcode code = curl_easy_perform(c->curl);
    long status = 0;
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    if (text)
        kb_wipe(text, strlen(text));
    free(text);
    json_decref(body);
    c->http_status = code == CURLE_OK ? status : 0;
    if (code != CURLE_OK)
        return unreachable(c, code);
    return status >= 200 && status < 300 ? KB_EXIT_DONE : refused(answer, status);
}

int kb_client_call(struct kb_client *c, const char *method, const char *path, json_t *body,
                   json_t **answer)
{
    kb_auto(kb_buf_finish) struct kb_buf b = {0};
    json_t *j = NULL;
    int status = transfer(c, method, path, body, "Accept: application/json", &b);
    if (status == KB_EXIT_DONE && b.len > 0) {
        j = json_loadb((const char *)b.data, b.len, 0, NULL);
        if (!j)
            status = refused(&b, 200);
    }
    if (answer)
        *answer = j;
    else
        json_decref(j);
    return status;
}

int kb_client_list(struct kb_client *c, const char *path, size_t most, json_t **items)
{
    *items = json_array();
    json_auto_t *page = NULL;
    const char *next = NULL;
    do {
        size_t left = most ? most - json_array_size(*items) : PAGE;
        char limit[16];
        snprintf(limit, sizeof limit, "%zu", left < PAGE ? left : PAGE);
        char *url = kb_strdup(path);
        kb_client_add_query(&url, "limit", limit);
        kb_client_add_query(&url, "cursor", next);
        json_decref(page);
        page = NULL;
        int status = kb_client_call(c, "GET", url, NULL, &page);
        free(url);
        if (status != KB_EXIT_DONE) {
            json_decref(*items);
            *items = NULL;
            return status;
        }
        json_array_extend(*items, json_object_get(page, "items"));
        next = json_string_value(json_object_get(page, "next"));
    } while (next && (!most || json_array_size(*items) < most));
    return KB_EXIT_DONE;
}

int kb_client_fetch_vv(struct kb_client *c, const char *path, json_t *body, struct kb_buf *file)
{
    return transfer(c, "POST", path, body, "Accept: application/x-virt-viewer", file);
}
