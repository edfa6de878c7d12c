/* The room, the pretended proxy and the client of the server's tests. Test's thread. */
#include "client.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>

struct room room;
struct terminated terminated;
struct kb_http_options room_options = {
    .node = "node-1",
    .version = "0.0.test",
    .public_host = "desktops.example.org",
    .public_spice_port = 8443,
    .public_url = "https://desktops.example.org:8443",
    .ca_pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    .host_subject = "CN=desktops.example.org",
    .start_within = 60000,
    .exchange_within = 300000,
    .login_lifetime = 3600000,
    .local_logins = true,
};

/* --- the proxy that only pretends: one live session ------------------------------------------- */

size_t kb_proxy_list_sessions(struct kb_proxy *p, const char *id, struct kb_session_view **views)
{
    (void)p;
    *views = NULL;
    if (id && strcmp(id, "00000000000000aa") != 0)
        return 0;
    struct kb_session_view *v = kb_zalloc(sizeof *v);
    *v = (struct kb_session_view){.id = "00000000000000aa",
                                  .grant_id = "00000000000000bb",
                                  .source = "lab",
                                  .uuid = "u-1",
                                  .console_name = "desk <1>",
                                  .user = "alice",
                                  .owner = "apikey:mine",
                                  .policy = "default",
                                  .client_address = "192.0.2.9",
                                  .hypervisor = "hv1:5900",
                                  .started_at = 1000000000000,
                                  .bytes_from_client = 10,
                                  .bytes_from_server = 20,
                                  .channel_count = 2};
    v->channels = kb_calloc(2, sizeof *v->channels);
    v->channels[0] = (struct kb_channel_view){.type = 1, .rate_from_server = 5};
    v->channels[1] =
        (struct kb_channel_view){.type = 2, .id = 1, .client_rtt_us = 250, .rate_from_server = 7};
    *views = v;
    return 1;
}

void kb_session_views_free(struct kb_session_view *views, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(views[i].channels);
    free(views);
}

unsigned kb_proxy_terminate(struct kb_proxy *p, const struct kb_session_match *match,
                            const struct kb_session_order *order)
{
    static const struct kb_session_place place = {"lab", "u-1", "desk <1>", "apikey:mine"};
    (void)p;
    terminated = (struct terminated){.calls = terminated.calls + 1};
    kb_copy_str(terminated.id, sizeof terminated.id, match->id ? match->id : "");
    kb_copy_str(terminated.source, sizeof terminated.source, match->source ? match->source : "");
    kb_copy_str(terminated.uuid, sizeof terminated.uuid, match->uuid ? match->uuid : "");
    kb_copy_str(terminated.actor, sizeof terminated.actor, order->actor);
    kb_copy_str(terminated.detail, sizeof terminated.detail, order->detail ? order->detail : "");
    kb_copy_str(terminated.apikey_id, sizeof terminated.apikey_id, order->apikey_id);
    if (match->wants && !match->wants(match->who, &place))
        return 0;
    return (match->user && strcmp(match->user, "alice") == 0) ||
           (match->id && strcmp(match->id, "00000000000000aa") == 0) ||
           (match->uuid && strcmp(match->uuid, "u-1") == 0);
}

/* --- the room --------------------------------------------------------------------------------- */

static void load_sources(void)
{
    struct kb_source_config *c = kb_calloc(1, sizeof *c);
    c->name = kb_strdup("lab");
    c->type = kb_strdup("static");
    c->console_count = 3;
    c->consoles = kb_calloc(3, sizeof *c->consoles);
    static const char *const names[] = {"desk <1>", "Zw\xc3\xb6lf\n[evil]%d", "shared"};
    for (size_t i = 0; i < 3; i++) {
        c->consoles[i].uuid = kb_printf("u-%zu", i + 1);
        c->consoles[i].name = kb_strdup(names[i]);
        c->consoles[i].hypervisor = kb_strdup("hv1");
        c->consoles[i].hypervisor_ip = kb_strdup("127.0.0.1");
        c->consoles[i].insecure_port = 5900;
        kb_secret_set(&c->consoles[i].ticket, "backend-ticket-secret");
    }
    kb_sources_load(room.sources, c, 1);
}

static int listen_unix(void)
{
    room.admin_path = kb_printf("%s/admin.sock", room.dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    kb_copy_str(a.sun_path, sizeof a.sun_path, room.admin_path);
    assert_return_code(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_return_code(listen(fd, 16), 0);
    return fd;
}

static int listen_metrics(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_return_code(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_return_code(listen(fd, 16), 0);
    assert_return_code(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    room.metrics_port = ntohs(a.sin_port);
    return fd;
}

int room_open(void **state)
{
    (void)state;
    char *error = NULL;
    assert_true(kb_secret_start());
    kb_copy_str(room.dir, sizeof room.dir, "/tmp/kb-http-XXXXXX");
    assert_non_null(mkdtemp(room.dir));
    room.store = kb_store_create("sqlite:k.db", room.dir, "node-1", &error);
    if (!room.store)
        fail_msg("%s", error);
    room.sources = kb_sources_create(room.store);
    load_sources();
    int admin = listen_unix(), metrics = listen_metrics();
    room.http = kb_http_create(&room_options, room.store, room.sources, NULL, admin, metrics);
    assert_non_null(room.http);
    kb_http_set_ready(room.http, true);
    return 0;
}

static struct answer last;

static void forget(void)
{
    free(last.text);
    free(last.headers);
    json_decref(last.json);
    last = (struct answer){0};
}

int room_close(void **state)
{
    (void)state;
    forget();
    kb_http_destroy(room.http);
    kb_sources_destroy(room.sources);
    kb_store_destroy(room.store);
    DIR *d = opendir(room.dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(room.dir);
    free(room.admin_path);
    return 0;
}

/* --- the client ------------------------------------------------------------------------------- */

static void send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the server has closed; what it said is read next */
        data += n;
        len -= (size_t)n;
    }
}

static const struct answer *receive(int fd)
{
    struct kb_buf b = {0};
    char part[4096];
    for (ssize_t n; (n = recv(fd, part, sizeof part, 0)) > 0;)
        kb_buf_add(&b, part, (size_t)n);
    close(fd);
    size_t len = b.len;
    forget();
    last.text = kb_buf_steal(&b);
    char *end = strstr(last.text, "\r\n\r\n");
    if (!end)
        return &last; /* closed without an answer: status 0 */
    last.body = end + 4;
    last.body_len = len - (size_t)(last.body - last.text);
    if (sscanf(last.text, "HTTP/1.1 %d", &last.status) != 1)
        fail_msg("%s", last.text);
    struct kb_buf h = {0};
    bool name = true;
    for (const char *at = strchr(last.text, '\n'); at < end + 2; at++) {
        if (*at == '\r')
            continue;
        name = *at == '\n' ? true : *at == ':' ? false : name;
        char c = name ? (char)tolower((unsigned char)*at) : *at;
        kb_buf_add(&h, &c, 1);
    }
    last.headers = kb_buf_steal(&h);
    last.json = json_loadb(last.body, last.body_len, 0, NULL);
    return &last;
}

static char *request_text(const char *method, const char *path, const char *headers,
                          const char *body)
{
    struct kb_buf b = {0};
    kb_buf_printf(&b, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s", method, path,
                  headers ? headers : "");
    if (body && !(headers && strstr(headers, "Content-Type")))
        kb_buf_add_str(&b, "Content-Type: application/json\r\n");
    if (body)
        kb_buf_printf(&b, "Content-Length: %zu\r\n", strlen(body));
    kb_buf_printf(&b, "\r\n%s", body ? body : "");
    return kb_buf_steal(&b);
}

static int open_web(const char *address)
{
    int pair[2];
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(1234)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(1234)};
    bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
    if (!is_v4)
        assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_true(kb_http_add_socket(room.http, pair[1],
                                   is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
                                   is_v4 ? sizeof v4 : sizeof v6));
    return pair[0];
}

const struct answer *ask_from(const char *address, const char *method, const char *path,
                              const char *headers, const char *body)
{
    int fd = open_web(address);
    char *text = request_text(method, path, headers, body);
    send_all(fd, text, strlen(text));
    free(text);
    return receive(fd);
}

const struct answer *ask(const char *method, const char *path, const char *headers,
                         const char *body)
{
    return ask_from("192.0.2.1", method, path, headers, body);
}

const struct answer *ask_raw(const char *bytes, size_t len)
{
    int fd = open_web("192.0.2.1");
    send_all(fd, bytes, len);
    return receive(fd);
}

static const struct answer *ask_at(const struct sockaddr *a, socklen_t len, const char *method,
                                   const char *path, const char *body)
{
    int fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(connect(fd, a, len), 0);
    char *text = request_text(method, path, NULL, body);
    send_all(fd, text, strlen(text));
    free(text);
    return receive(fd);
}

const struct answer *ask_admin(const char *method, const char *path, const char *body)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    kb_copy_str(a.sun_path, sizeof a.sun_path, room.admin_path);
    return ask_at((struct sockaddr *)&a, sizeof a, method, path, body);
}

const struct answer *ask_metrics(const char *path)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(room.metrics_port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return ask_at((struct sockaddr *)&a, sizeof a, "GET", path, NULL);
}

const char *header(const struct answer *a, const char *name)
{
    static char value[4096];
    char key[80];
    snprintf(key, sizeof key, "\n%s: ", name);
    const char *at = a->headers ? strstr(a->headers, key) : NULL;
    if (!at)
        return NULL;
    at += strlen(key);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\n"), at);
    return value;
}

const char *text_at(const json_t *object, const char *path)
{
    char key[64];
    while (object && *path) {
        size_t len = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)len, path);
        object = json_object_get(object, key);
        path += len + (path[len] == '.');
    }
    const char *text = json_string_value(object);
    return text ? text : "";
}

void check_error(const struct answer *a, int status, const char *code)
{
    if (a->status != status || strcmp(text_at(a->json, "error.code"), code) != 0)
        fail_msg("wanted %d %s, got %s", status, code, a->text);
    assert_string_equal(text_at(a->json, "error.request_id"), header(a, "x-request-id"));
    assert_true(*text_at(a->json, "error.message"));
}

char *key_of(const char *role)
{
    static unsigned count;
    char *body = kb_printf("{\"name\":\"key %u\",\"role\":\"%s\"}", ++count, role);
    const struct answer *a = ask_admin("POST", "/api/v1/apikeys", body);
    free(body);
    assert_int_equal(a->status, 201);
    return kb_printf("Authorization: Bearer %s\r\n", text_at(a->json, "key"));
}

void check_security_headers(const struct answer *a)
{
    assert_non_null(strstr(header(a, "content-security-policy"), "default-src 'none'"));
    assert_non_null(strstr(header(a, "content-security-policy"), "frame-ancestors 'none'"));
    assert_null(strstr(header(a, "content-security-policy"), "unsafe"));
    assert_string_equal(header(a, "x-content-type-options"), "nosniff");
    assert_string_equal(header(a, "referrer-policy"), "no-referrer");
    assert_non_null(header(a, "strict-transport-security"));
    assert_int_equal(strlen(header(a, "x-request-id")), KB_ID_SIZE - 1);
}
