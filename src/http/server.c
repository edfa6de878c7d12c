/* The HTTP server's frame: its daemons (web, admin socket, metrics), the life of a request from its
 * first line to its answer, limits of size and time, and the headers that every answer carries.
 * What a request means is route.c's business. HTTP threads, but for create, destroy and
 * set_options. */
#include "http/server.h"

#include "base/json_memory.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/priority.h"
#include "http/auth.h"
#include "http/route.h"
#include "http/stream.h"
#include "http/text.h"
#include "identity/settings.h"
#include "policy/book.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#define BODY_MAX (64 * 1024)
/* Bytes of a body that is too long are read and dropped so that the client can hear the answer; a
 * client that sends more than this is cut off. */
#define BODY_DROP_MAX (1024 * 1024)
/* A request's head. libmicrohttpd has the memory for more, so that it is we who answer; what does
 * not fit even there it answers itself, without our JSON. */
#define HEAD_MAX (16 * 1024)
#define CONNECTION_MEMORY (32 * 1024)
#define THREADS 16u
#define STREAM_BLOCK (64 * 1024)
#define CONNECTIONS_MAX 1024u
#define SILENCE_SECONDS 30u
#define LOGIN_FAILURES 10
#define LOGIN_WINDOW 60000
/* As many requests as are allowed in this time may also come at once. */
#define REQUEST_WINDOW 10000
#define REQUEST_LOG_WINDOW 10000

static struct kb_family requests_total = {
    .name = "kerbside_http_requests_total",
    .help = "HTTP requests answered, by route and status.",
    .kind = KB_COUNTER,
    .labels = {"route", "status"},
};
static struct kb_family build_info = {
    .name = "kerbside_build_info",
    .help = "1, with the version as a label.",
    .kind = KB_GAUGE,
    .labels = {"version"},
};

/* --- options ---------------------------------------------------------------------------------- */

static const char **option_texts(struct kb_http_options *o, size_t i)
{
    const char **const texts[] = {&o->node,       &o->version, &o->public_host,
                                  &o->public_url, &o->ca_pem,  &o->host_subject};
    return i < sizeof texts / sizeof *texts ? texts[i] : NULL;
}

static struct kb_http_config *config_create(const struct kb_http_options *o)
{
    struct kb_http_config *c = kb_zalloc(sizeof *c);
    c->refs = 1;
    c->options = *o;
    const char **text;
    for (size_t i = 0; (text = option_texts(&c->options, i)); i++)
        *text = kb_strdup(*text);
    if (o->identity)
        kb_identity_ref(o->identity);
    c->options.policies = o->policies ? kb_policy_book_ref(o->policies) : kb_policy_book_create();
    return c;
}

static void config_unref(struct kb_http_config *c)
{
    if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    const char **text;
    for (size_t i = 0; (text = option_texts(&c->options, i)); i++)
        free((void *)(uintptr_t)*text);
    kb_identity_unref(c->options.identity);
    kb_policy_book_unref(c->options.policies);
    free(c);
}

static struct kb_http_config *config_get(struct kb_http *h)
{
    pthread_mutex_lock(&h->lock);
    struct kb_http_config *c = h->config;
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&h->lock);
    return c;
}

static void set_limits(struct kb_http *h, const struct kb_http_options *o)
{
    kb_limit_set(&h->requests, o->requests * (REQUEST_WINDOW / 1000), REQUEST_WINDOW);
    atomic_store(&h->request_ms, o->request_ms);
}

void kb_http_set_options(struct kb_http *h, const struct kb_http_options *o)
{
    set_limits(h, o);
    struct kb_http_config *fresh = config_create(o);
    pthread_mutex_lock(&h->lock);
    struct kb_http_config *old = h->config;
    h->config = fresh;
    pthread_mutex_unlock(&h->lock);
    config_unref(old);
}

void kb_http_set_ready(struct kb_http *h, bool ready)
{
    atomic_store(&h->ready, ready);
}

/* --- the life of a request -------------------------------------------------------------------- */

static void *begin(void *cls, const char *uri, struct MHD_Connection *connection)
{
    kb_thread_give_way();
    const struct kb_http_entry *door = cls;
    struct kb_request *r = kb_zalloc(sizeof *r);
    r->http = door->http;
    r->door = (enum kb_http_door)door->which;
    r->store = door->http->store;
    r->connection = connection;
    r->config = config_get(door->http);
    r->options = &r->config->options;
    kb_id_create(r->id);
    r->target_ok = kb_http_target_parse(uri, &r->target);
    return r;
}

static void wipe_buf(struct kb_buf *b)
{
    if (b->data)
        kb_wipe(b->data, b->cap);
    kb_buf_finish(b);
}

static void end(void *cls, struct MHD_Connection *connection, void **state,
                enum MHD_RequestTerminationCode why)
{
    (void)cls;
    (void)connection;
    (void)why;
    struct kb_request *r = *state;
    if (!r)
        return;
    *state = NULL;
    wipe_buf(&r->body);
    wipe_buf(&r->out);
    json_decref(r->json);
    kb_http_target_finish(&r->target);
    for (size_t i = 0; i < r->header_count; i++) {
        kb_wipe(r->headers[i].value, strlen(r->headers[i].value));
        free(r->headers[i].value);
    }
    config_unref(r->config);
    kb_auth_finish(&r->asker);
    kb_wipe(&r->login, sizeof r->login);
    free(r);
}

static void note_client(struct kb_request *r)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *peer = info ? info->client_addr : NULL;
    char text[64] = "";
    if (peer && peer->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, text,
                  sizeof text);
    else if (peer && peer->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, text,
                  sizeof text);
    if (!*text || !kb_address_normalize(text, r->client_address))
        kb_copy_str(r->client_address, sizeof r->client_address, "unix");
}

static void free_wiped(void *cls)
{
    struct kb_buf *b = cls;
    wipe_buf(b);
    free(b);
}

static void add_common_headers(struct kb_request *r, struct MHD_Response *response)
{
    static const char *const common[][2] = {
        {"Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; "
                                    "script-src 'self'; connect-src 'self'; form-action 'self'; "
                                    "base-uri 'none'; frame-ancestors 'none'; "
                                    "require-trusted-types-for 'script'; trusted-types 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Strict-Transport-Security", "max-age=31536000"},
    };
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        MHD_add_response_header(response, common[i][0], common[i][1]);
    MHD_add_response_header(response, "Cache-Control",
                            r->cache_control ? r->cache_control : "no-store");
    MHD_add_response_header(response, "X-Request-Id", r->id);
    if (r->content_type)
        MHD_add_response_header(response, "Content-Type", r->content_type);
    for (size_t i = 0; i < r->header_count; i++)
        MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
}

static void count(const struct kb_request *r)
{
    char status[12];
    snprintf(status, sizeof status, "%u", r->status);
    const char *route = r->route ? r->route->pattern : "other";
    kb_metric_add(kb_metric(&requests_total, route, status, NULL, NULL), 1);
    kb_log(KB_LOG_DEBUG, "http.request", KB_STR("request_id", r->id), KB_STR("method", r->method),
           KB_STR("route", route), KB_UINT("status", r->status),
           KB_STR("actor", *r->asker.actor ? r->asker.actor : NULL),
           KB_STR("client_address", r->client_address));
}

/* --- answers that are made while they are sent ------------------------------------------------ */

static ssize_t read_stream(void *cls, uint64_t position, char *to, size_t max)
{
    (void)position;
    struct kb_stream *s = cls;
    if (s->at == s->out.len && !s->ended) {
        s->at = s->out.len = 0;
        enum kb_stream_step step = s->next(s->state, &s->out);
        if (step == KB_STREAM_FAILED)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        s->ended = step == KB_STREAM_END;
    }
    size_t len = s->out.len - s->at < max ? s->out.len - s->at : max;
    if (len == 0) /* 0: others have their turn first */
        return s->ended ? MHD_CONTENT_READER_END_OF_STREAM : 0;
    memcpy(to, s->out.data + s->at, len);
    s->at += len;
    return (ssize_t)len;
}

static void free_stream(void *cls)
{
    struct kb_stream *s = cls;
    if (!s)
        return;
    s->finish(s->state);
    kb_buf_finish(&s->out);
    free(s);
}

static struct MHD_Response *make_stream(struct kb_request *r)
{
    struct kb_stream *s = r->stream;
    r->stream = NULL;
    s->out = r->out;
    r->out = (struct kb_buf){0};
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, s, free_stream);
    if (!response)
        free_stream(s);
    return response;
}

static struct MHD_Response *make_whole(struct kb_request *r)
{
    struct kb_buf *out = kb_zalloc(sizeof *out);
    *out = r->out;
    r->out = (struct kb_buf){0};
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        out->len, out->data ? (void *)out->data : (void *)"", free_wiped, out);
    if (!response)
        free_wiped(out);
    return response;
}

static enum MHD_Result answer(struct kb_request *r)
{
    if (!r->status) {
        kb_log(KB_LOG_ERROR, "http.no_answer", KB_STR("request_id", r->id));
        kb_reply_error(r, 500, "internal", "kerbside made a mistake; see the daemon's log");
    }
    count(r);
    struct MHD_Response *response = r->stream ? make_stream(r) : make_whole(r);
    if (!response)
        return MHD_NO;
    add_common_headers(r, response);
    enum MHD_Result result = MHD_queue_response(r->connection, r->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result refuse_large(struct kb_request *r)
{
    kb_reply_error(r, 413, "body_too_large", "the body may have %d bytes", BODY_MAX);
    return answer(r);
}

/* The size of the request line and the headers. */
static size_t head_size(const struct kb_request *r)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info ? info->header_size : 0;
}

static enum MHD_Result refuse_head(struct kb_request *r)
{
    kb_reply_error(r, 431, "head_too_large", "the request line and the headers may have %d bytes",
                   HEAD_MAX);
    return answer(r);
}

static enum MHD_Result take_body(struct kb_request *r, const char *data, size_t *len)
{
    r->body_seen += *len;
    if (r->body_seen > BODY_DROP_MAX)
        return MHD_NO;
    if (r->body_seen > BODY_MAX)
        r->too_large = true;
    else {
        kb_buf_reserve(&r->body, BODY_MAX); /* once, so that growing leaves no copy of a password */
        kb_buf_add(&r->body, data, *len);
    }
    *len = 0;
    return MHD_YES;
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload_data,
                              size_t *upload_data_size, void **state)
{
    (void)cls;
    (void)connection;
    (void)url;
    (void)version;
    struct kb_request *r = *state;
    if (!r->started) {
        r->started = true;
        r->method = method;
        r->head = strcmp(method, "HEAD") == 0;
        note_client(r);
        if (head_size(r) > HEAD_MAX)
            return refuse_head(r);
        const char *length = kb_request_header(r, "Content-Length");
        /* Answered before the body comes: the server then closes the connection. */
        if (length && strtoull(length, NULL, 10) > BODY_MAX)
            return refuse_large(r);
        return MHD_YES;
    }
    if (*upload_data_size > 0)
        return take_body(r, upload_data, upload_data_size);
    if (r->status)
        return answer(r); /* it has rested */
    if (r->too_large)
        return refuse_large(r);
    if (r->target_ok)
        kb_route_request(r);
    else
        kb_reply_error(r, 400, "malformed_target", "the path or the query is malformed");
    if (r->work && !r->status && kb_slow_hand_over(&r->http->slow, r))
        return MHD_YES;
    return answer(r);
}

/* --- the daemons ------------------------------------------------------------------------------ */

/* The server sets TCP options on what is a unix socket and complains of each failure; a client that
 * goes away is no news either. */
__attribute__((format(printf, 2, 0))) static void take_log(void *cls, const char *format,
                                                           va_list args)
{
    (void)cls;
    char line[256];
    vsnprintf(line, sizeof line, format, args);
    if (strstr(line, "TCP_") || strstr(line, "Setting ") || strstr(line, "Operation not supported"))
        return;
    line[strcspn(line, "\r\n")] = '\0';
    kb_log(KB_LOG_DEBUG, "http.server", KB_STR("detail", line));
}

static struct MHD_Daemon *start(struct kb_http_entry *door, int fd, unsigned threads)
{
    unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME;
    struct MHD_OptionItem listener[] = {
        {fd >= 0 ? MHD_OPTION_LISTEN_SOCKET : MHD_OPTION_END, fd, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_OptionItem pool[] = {
        {threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, (intptr_t)threads, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    if (fd >= 0)
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); /* several threads accept */
    else
        flags |= MHD_USE_NO_LISTEN_SOCKET;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, handle, door, MHD_OPTION_EXTERNAL_LOGGER, take_log, NULL,
        MHD_OPTION_ARRAY, listener, MHD_OPTION_ARRAY, pool, MHD_OPTION_URI_LOG_CALLBACK, begin,
        door, MHD_OPTION_NOTIFY_COMPLETED, end, NULL, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

static struct kb_http_entry *entry_of(struct kb_http *h, enum kb_http_door which)
{
    struct kb_http_entry *e = &h->entries[which == KB_DOOR_WEB     ? 0
                                          : which == KB_DOOR_ADMIN ? 1
                                                                   : 2];
    *e = (struct kb_http_entry){.http = h, .which = which};
    return e;
}

struct kb_http *kb_http_create(const struct kb_http_options *o, struct kb_store *store,
                               struct kb_sources *sources, struct kb_proxy *proxy, int admin_fd,
                               int metrics_fd)
{
    kb_json_memory_start();
    struct kb_http *h = kb_zalloc(sizeof *h);
    pthread_mutex_init(&h->lock, NULL);
    kb_limit_init(&h->login_failures, LOGIN_FAILURES, LOGIN_WINDOW);
    kb_limit_init(&h->requests, 0, REQUEST_WINDOW);
    kb_limit_init(&h->request_log, 1, REQUEST_LOG_WINDOW);
    set_limits(h, o);
    kb_limit_init(&h->refusals, 1, LOGIN_WINDOW);
    h->config = config_create(o);
    h->store = store;
    h->sources = sources;
    h->proxy = proxy;
    h->started_at = kb_clock_wall_ms();
    kb_slow_start(&h->slow);
    kb_metric_set(kb_metric(&build_info, o->version, NULL, NULL, NULL), 1);
    h->web = start(entry_of(h, KB_DOOR_WEB), -1, THREADS);
    if (admin_fd >= 0)
        h->admin = start(entry_of(h, KB_DOOR_ADMIN), admin_fd, 3);
    if (metrics_fd >= 0)
        h->metrics = start(entry_of(h, KB_DOOR_METRICS), metrics_fd, 1);
    if (!h->web || (admin_fd >= 0 && !h->admin) || (metrics_fd >= 0 && !h->metrics)) {
        kb_log(KB_LOG_ERROR, "http.start_failed", KB_STR("web", h->web ? "ok" : "failed"),
               KB_STR("admin", h->admin || admin_fd < 0 ? "ok" : "failed"),
               KB_STR("metrics", h->metrics || metrics_fd < 0 ? "ok" : "failed"));
        kb_http_destroy(h);
        return NULL;
    }
    return h;
}

void kb_http_destroy(struct kb_http *h)
{
    if (!h)
        return;
    kb_slow_stop(&h->slow); /* a server cannot stop while a request rests */
    if (h->metrics)
        MHD_stop_daemon(h->metrics);
    if (h->admin)
        MHD_stop_daemon(h->admin);
    if (h->web)
        MHD_stop_daemon(h->web);
    config_unref(h->config);
    kb_slow_finish(&h->slow);
    kb_limit_finish(&h->login_failures);
    kb_limit_finish(&h->requests);
    kb_limit_finish(&h->request_log);
    kb_limit_finish(&h->refusals);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

bool kb_http_add_socket(struct kb_http *h, int fd, const struct sockaddr *peer, socklen_t len)
{
    return MHD_add_connection(h->web, fd, peer, len) == MHD_YES;
}
