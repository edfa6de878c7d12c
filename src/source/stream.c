/* Streams over WebSockets: libcurl makes the connection with its TLS, the handshake and the frames
 * are ours (base/websocket.h), and a thread a stream copies between it and one end of a socket
 * pair. Bytes wait in at most one buffer each way, so a side that is slow slows the other. */
#include "source/stream.h"

#include "base/clock.h"
#include "base/fetch.h"
#include "base/mem.h"
#include "base/websocket.h"
#include "source/api.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define CHUNK 65536
#define HEAD_MAX 8192
#define LAST_WORDS_US UINT64_C(1000000) /* how long a peer is given to take what is left */
#define LEFT_OVER_US UINT64_C(5000000)

struct stream {
    CURL *curl;
    curl_socket_t remote;
    int local;
    bool text_ends;
    void (*ended)(void *owner);
    void *owner;
    struct kb_ws_reader reader;
    struct kb_buf to_remote, to_local; /* the unsent; */
    size_t sent_remote, sent_local;    /* and how much of each has gone */
    bool over;                         /* no more will come from the remote side */
    uint64_t give_up_us; /* the local side has gone: when what it left need not be sent any more */
    struct stream *next, *before;
};

/* All of them, so that the daemon's end finds them. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gone = PTHREAD_COND_INITIALIZER;
static struct stream *streams;

/* --- bytes ------------------------------------------------------------------------------------ */

static void wait_for(const struct stream *s, short events)
{
    poll(&(struct pollfd){.fd = s->remote, .events = events}, 1, 100);
}

/* Until something can go on. A side from which nothing is wanted is not asked, because its end
 * would wake us again and again; but the local side's end is seen in any case. False: it is long
 * gone. */
static bool rest(struct stream *s)
{
    short remote =
              (short)((s->to_local.len || s->over ? 0 : POLLIN) | (s->to_remote.len ? POLLOUT : 0)),
          local = (short)((s->to_remote.len ? 0 : POLLIN) | (s->to_local.len ? POLLOUT : 0));
    struct pollfd p[2] = {{.fd = remote ? s->remote : -1, .events = remote},
                          {.fd = s->give_up_us ? -1 : s->local, .events = local}};
    poll(p, 2, s->give_up_us ? 100 : 60000);
    if (!s->give_up_us && (p[1].revents & (POLLHUP | POLLERR)))
        s->give_up_us = kb_clock_us() + LEFT_OVER_US;
    return !s->give_up_us || kb_clock_us() < s->give_up_us;
}

/* False: the connection is over. *progress: something went. */
static bool flush_remote(struct stream *s, bool *progress)
{
    while (s->sent_remote < s->to_remote.len) {
        size_t n = 0;
        CURLcode code = curl_easy_send(s->curl, s->to_remote.data + s->sent_remote,
                                       s->to_remote.len - s->sent_remote, &n);
        if (code == CURLE_AGAIN)
            return true;
        if (code != CURLE_OK)
            return false;
        s->sent_remote += n;
        *progress = true;
    }
    s->sent_remote = s->to_remote.len = 0;
    return true;
}

static bool flush_local(struct stream *s, bool *progress)
{
    while (s->sent_local < s->to_local.len) {
        ssize_t n = send(s->local, s->to_local.data + s->sent_local,
                         s->to_local.len - s->sent_local, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        s->sent_local += (size_t)n;
        *progress = true;
    }
    s->sent_local = s->to_local.len = 0;
    return true;
}

/* What came from the cloud. False: it is the end. */
static bool take(struct stream *s, struct kb_span in)
{
    for (;;) {
        struct kb_span payload = {0};
        switch (kb_ws_read(&s->reader, &in, &payload)) {
        case KB_WS_MORE:
            return true;
        case KB_WS_GOT_DATA:
            kb_buf_add(&s->to_local, payload.data, payload.len);
            break;
        case KB_WS_GOT_TEXT:
            if (s->text_ends)
                return false;
            break;
        case KB_WS_GOT_CONTROL:
            if (s->reader.now == KB_WS_PING)
                kb_ws_write(&s->to_remote, KB_WS_PONG, payload);
            else if (s->reader.now == KB_WS_CLOSE)
                return false;
            break;
        case KB_WS_BROKEN:
            return false;
        }
    }
}

static void read_remote(struct stream *s, uint8_t *bytes, bool *progress)
{
    size_t n = 0;
    CURLcode code = curl_easy_recv(s->curl, bytes, CHUNK, &n);
    if (code == CURLE_AGAIN)
        return;
    *progress = true;
    if (code != CURLE_OK || n == 0 || !take(s, kb_span(bytes, n)))
        s->over = true;
}

/* False: the data plane has closed its end. */
static bool read_local(struct stream *s, uint8_t *bytes, bool *progress)
{
    ssize_t n = recv(s->local, bytes, CHUNK, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    *progress = true;
    if (n > 0)
        kb_ws_write(&s->to_remote, KB_WS_BINARY, kb_span(bytes, (size_t)n));
    return n > 0;
}

/* A close in good order (RFC 6455, 7.1.1), as far as the other side takes it. */
static void say_goodbye(struct stream *s)
{
    static const uint8_t normal[] = {0x03, 0xe8};
    bool progress = false;
    uint64_t until = kb_clock_us() + LAST_WORDS_US;
    kb_ws_write(&s->to_remote, KB_WS_CLOSE, kb_span(normal, sizeof normal));
    while (flush_remote(s, &progress) && s->to_remote.len && kb_clock_us() < until)
        wait_for(s, POLLOUT);
}

static void carry(struct stream *s)
{
    kb_auto_free uint8_t *bytes = kb_zalloc(CHUNK);
    for (;;) {
        bool progress = false;
        if (!s->to_local.len && !s->over)
            read_remote(s, bytes, &progress);
        if (!flush_local(s, &progress) || (s->over && !s->to_local.len))
            break;
        if (!s->to_remote.len && !read_local(s, bytes, &progress))
            break;
        if (!flush_remote(s, &progress))
            s->over = true;
        if (!progress && !rest(s))
            break;
    }
    say_goodbye(s);
}

/* --- life ------------------------------------------------------------------------------------- */

static void destroy(struct stream *s)
{
    curl_easy_cleanup(s->curl);
    if (s->local >= 0)
        close(s->local);
    kb_buf_finish(&s->to_remote);
    kb_buf_finish(&s->to_local);
    free(s);
}

static void *run(void *arg)
{
    struct stream *s = arg;
    carry(s);
    if (s->ended)
        s->ended(s->owner);
    pthread_mutex_lock(&lock);
    if (s->before)
        s->before->next = s->next;
    else
        streams = s->next;
    if (s->next)
        s->next->before = s->before;
    destroy(s);
    pthread_cond_broadcast(&gone);
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Takes s over; false: no thread is to be had. */
static bool begin(struct stream *s)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_mutex_lock(&lock);
    bool ok = pthread_create(&thread, &attr, run, s) == 0;
    if (ok) {
        s->next = streams;
        if (streams)
            streams->before = s;
        streams = s;
    }
    pthread_mutex_unlock(&lock);
    pthread_attr_destroy(&attr);
    return ok;
}

void kb_streams_stop(void)
{
    pthread_mutex_lock(&lock);
    for (struct stream *s = streams; s; s = s->next)
        shutdown(s->local, SHUT_RDWR);
    while (streams)
        pthread_cond_wait(&gone, &lock);
    pthread_mutex_unlock(&lock);
}

/* --- the connection --------------------------------------------------------------------------- */

static bool failed(struct kb_source_call *call, const struct kb_stream_wish *w, const char *why)
{
    return kb_call_failed(call, "%s: %s", w->what, why);
}

static bool connect_to(struct kb_source_call *call, const struct kb_stream_wish *w,
                       struct stream *s)
{
    char words[CURL_ERROR_SIZE] = "";
    CURL *curl = s->curl;
    curl_easy_setopt(curl, CURLOPT_URL, w->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_ENABLE_ALPN, 0L); /* the upgrade is one of HTTP/1.1 */
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)kb_call_left(call));
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    kb_fetch_trust(curl, &(struct kb_fetch){.ca_pem = kb_api_ca(call->config),
                                            .no_verify = w->no_verify,
                                            .client_certificate = w->client_certificate,
                                            .client_key = w->client_key});
    CURLcode code = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    if (code != CURLE_OK)
        return failed(call, w, *words ? words : curl_easy_strerror(code));
    if (curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &s->remote) != CURLE_OK)
        return failed(call, w, "there is no connection");
    return true;
}

/* Host, and path with query, of a URL; to be freed with curl_free. */
static bool cut_url(const char *url, char **host, char **path)
{
    CURLU *u = curl_url();
    char *name = NULL, *port = NULL, *query = NULL, *plain = NULL;
    bool ok = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_HOST, &name, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_PATH, &plain, 0) == CURLUE_OK;
    if (ok) {
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
        curl_url_get(u, CURLUPART_QUERY, &query, 0);
        *host = kb_printf("%s:%s", name, port ? port : "443");
        *path = kb_printf("%s%s%s", plain, query ? "?" : "", query ? query : "");
    }
    curl_free(name);
    curl_free(port);
    curl_free(query);
    curl_free(plain);
    curl_url_cleanup(u);
    return ok;
}

static bool send_request(struct kb_source_call *call, const struct kb_stream_wish *w,
                         struct stream *s, const char *key)
{
    kb_auto_free char *host = NULL, *path = NULL;
    if (!cut_url(w->url, &host, &path))
        return failed(call, w, "its address is no URL");
    kb_buf_printf(&s->to_remote,
                  "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\nUser-Agent: kerbside\r\n",
                  path, host, key);
    if (w->header)
        kb_buf_printf(&s->to_remote, "%s\r\n", w->header);
    kb_buf_add_str(&s->to_remote, "\r\n");
    bool progress, sent = false;
    while (!sent && flush_remote(s, &progress) && !kb_call_stopped(call)) {
        sent = !s->to_remote.len;
        if (!sent)
            wait_for(s, POLLOUT);
    }
    kb_wipe(s->to_remote.data, s->to_remote.cap); /* the header may hold a token */
    return sent ? true : failed(call, w, "the connection ended while it was asked for");
}

/* Reads byte by byte, because what follows belongs to the stream. *status: 0 if it is no HTTP. */
static bool read_head(struct kb_source_call *call, const struct kb_stream_wish *w, struct stream *s,
                      struct kb_buf *head, long *status)
{
    while (head->len < 4 || memcmp(head->data + head->len - 4, "\r\n\r\n", 4) != 0) {
        uint8_t byte;
        size_t n = 0;
        CURLcode code = curl_easy_recv(s->curl, &byte, 1, &n);
        if (code == CURLE_AGAIN && !kb_call_stopped(call)) {
            wait_for(s, POLLIN);
            continue;
        }
        if (code != CURLE_OK || n == 0 || head->len >= HEAD_MAX || byte == '\0')
            return failed(call, w,
                          code == CURLE_AGAIN ? "no answer in time" : "there was no whole answer");
        kb_buf_add(head, &byte, 1);
    }
    head->data[head->len - 2] = '\0';
    if (sscanf((const char *)head->data, "HTTP/1.1 %3ld", status) != 1)
        return failed(call, w, "the answer is no HTTP/1.1");
    return true;
}

/* The value of a header, to its line's end; NULL if it is not there. */
static char *header_of(const char *head, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            const char *from = line + len + 1 + strspn(line + len + 1, " \t");
            return kb_printf("%.*s", (int)strcspn(from, " \t\r"), from);
        }
    }
    return NULL;
}

static bool shake_hands(struct kb_source_call *call, const struct kb_stream_wish *w,
                        struct stream *s, long *status)
{
    kb_auto_free char *key = kb_ws_key(), *accept = kb_ws_accept(key);
    kb_auto(kb_buf_finish) struct kb_buf head = {0};
    if (!send_request(call, w, s, key) || !read_head(call, w, s, &head, status))
        return false;
    kb_auto_free char *given = header_of((const char *)head.data, "Sec-WebSocket-Accept");
    if (*status != 101)
        return kb_call_failed(call, "%s: status %ld", w->what, *status);
    if (!given || strcmp(given, accept) != 0)
        return failed(call, w, "the answer is that of no WebSocket");
    return true;
}

int kb_stream_open(struct kb_source_call *call, const struct kb_stream_wish *w, long *status)
{
    int pair[2];
    struct stream *s = kb_zalloc(sizeof *s);
    s->curl = curl_easy_init();
    s->local = -1;
    s->text_ends = w->text_ends;
    s->ended = w->ended;
    s->owner = w->owner;
    *status = 0;
    if (!s->curl) {
        failed(call, w, "libcurl cannot start");
    } else if (connect_to(call, w, s) && shake_hands(call, w, s, status)) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0) {
            s->local = pair[0];
            if (begin(s))
                return pair[1];
            close(pair[1]);
        }
        failed(call, w, "this machine gives kerbside no further socket or thread");
    }
    destroy(s);
    return -1;
}
