/* Frames taken apart, each connection's requests judged, answers followed so that ours come in
 * their turn. Pure; the thread of the channel's loop. */
#include "policy/webdav.h"

#include "base/mem.h"
#include "policy/webdav_http.h"

#include <spice/enums.h>
#include <stdlib.h>

#define FRAME_HEADER 10
#define FRAME_MAX 65535
#define TURNS 16 /* requests that wait for their answers; honest clients have one */

/* Requests come from the server, answers from the client. */
#define REQUESTS KB_FROM_SERVER
#define ANSWERS KB_FROM_CLIENT

/* Who answers a request, in the order of the requests. */
enum turn_kind { TURN_FOLDER, TURN_FOLDER_HEAD, TURN_REFUSE, TURN_LAST };

enum request_state {
    REQUEST_COLLECT, /* held until it is whole */
    REQUEST_SWALLOW, /* refused: the rest of it */
    REQUEST_STREAM,  /* the folder may be written to: goes on as it comes */
    REQUEST_BLIND,   /* as STREAM, and cannot be read */
    REQUEST_DEAD,    /* nothing more goes on; until the guest closes */
};

struct connection {
    struct connection *next;
    uint64_t id;
    struct kb_http request, answer;
    enum request_state state;
    struct kb_buf held;
    bool blind; /* answers cannot be followed */
    bool known; /* something of it reached the folder */
    uint8_t turns[TURNS];
    unsigned turn_count;
    const char *last; /* what TURN_LAST says before it closes */
};

/* One direction's frames. */
struct frames {
    uint8_t header[FRAME_HEADER];
    uint32_t have, left;
};

struct kb_webdav {
    struct frames frames[KB_DIRECTIONS];
    struct connection *connections;
    unsigned count;
    struct kb_buf out[KB_DIRECTIONS];
};

struct turn {
    struct kb_webdav *w;
    struct kb_content *c;
    const struct kb_rules *rules;
};

static const char forbidden[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
static const char forbidden_close[] =
    "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
static const char bad_request[] =
    "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
static const char too_large[] =
    "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/* To a request that waits for 100 Continue and would be held meanwhile; clients try without. */
static const char no_expectations[] =
    "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

struct kb_webdav *kb_webdav_create(void)
{
    return kb_zalloc(sizeof(struct kb_webdav));
}

static void forget(struct kb_webdav *w, struct connection *n)
{
    for (struct connection **at = &w->connections; *at; at = &(*at)->next) {
        if (*at == n) {
            *at = n->next;
            break;
        }
    }
    w->count--;
    kb_http_finish(&n->request);
    kb_http_finish(&n->answer);
    kb_buf_finish(&n->held);
    free(n);
}

static void reset(struct kb_webdav *w)
{
    while (w->connections)
        forget(w, w->connections);
    memset(w->frames, 0, sizeof w->frames);
}

void kb_webdav_destroy(struct kb_webdav *w)
{
    if (!w)
        return;
    reset(w);
    for (int d = 0; d < KB_DIRECTIONS; d++)
        kb_buf_finish(&w->out[d]);
    free(w);
}

/* What goes on */

static void put_frame(struct kb_webdav *w, enum kb_direction d, uint64_t id, struct kb_span bytes)
{
    uint8_t header[FRAME_HEADER];
    kb_put_u32(header, (uint32_t)id);
    kb_put_u32(header + 4, (uint32_t)(id >> 32));
    kb_put_u16(header + 8, (uint16_t)bytes.len);
    kb_buf_add(&w->out[d], header, sizeof header);
    if (bytes.len)
        kb_buf_add(&w->out[d], bytes.data, bytes.len);
}

static void to_folder(struct turn *t, struct connection *n, struct kb_span bytes)
{
    if (!bytes.len)
        return;
    n->known = true;
    put_frame(t->w, REQUESTS, n->id, bytes);
}

static void close_both(struct turn *t, struct connection *n)
{
    put_frame(t->w, ANSWERS, n->id, kb_span(NULL, 0));
    if (n->known)
        put_frame(t->w, REQUESTS, n->id, kb_span(NULL, 0));
    n->state = REQUEST_DEAD;
    n->held.len = 0;
    n->turn_count = 0;
}

/* Our own answers, where it is their turn. */
static void answer(struct turn *t, struct connection *n)
{
    while (n->turn_count && n->turns[0] >= TURN_REFUSE && kb_http_between(&n->answer)) {
        const char *text = n->turns[0] == TURN_LAST ? n->last : forbidden;
        bool last = n->turns[0] == TURN_LAST;
        put_frame(t->w, ANSWERS, n->id, kb_span_str(text));
        n->turn_count--;
        memmove(n->turns, n->turns + 1, n->turn_count);
        if (last) {
            close_both(t, n);
            return;
        }
    }
    if (n->turn_count)
        n->answer.bodiless = n->turns[0] == TURN_FOLDER_HEAD;
}

/* False: the connection is closed. */
static bool queue_turn(struct turn *t, struct connection *n, enum turn_kind kind)
{
    bool ours = kind >= TURN_REFUSE;
    if (n->turn_count == TURNS || (ours && n->blind)) {
        close_both(t, n);
        return false;
    }
    n->turns[n->turn_count++] = (uint8_t)kind;
    if (ours || n->turn_count == 1)
        answer(t, n);
    return n->state != REQUEST_DEAD;
}

/* The connection's last answer, and then nothing more of it. */
static void finish_with(struct turn *t, struct connection *n, const char *text)
{
    n->state = REQUEST_DEAD;
    n->held.len = 0;
    n->last = text;
    queue_turn(t, n, TURN_LAST);
}

/* Requests */

static enum kb_rule forbids(const struct kb_limits *l, const char *method)
{
    if (l->folders == KB_FOLDERS_ON)
        return KB_RULE_NONE;
    bool reads = !strcmp(method, "OPTIONS") || !strcmp(method, "GET") || !strcmp(method, "HEAD") ||
                 !strcmp(method, "PROPFIND");
    return reads && l->folders == KB_FOLDERS_READ_ONLY ? KB_RULE_NONE : KB_RULE_FOLDERS;
}

static bool queue_folder_turn(struct turn *t, struct connection *n)
{
    return queue_turn(t, n, strcmp(n->request.method, "HEAD") ? TURN_FOLDER : TURN_FOLDER_HEAD);
}

/* A request's head is there. */
static void judge(struct turn *t, struct connection *n)
{
    struct kb_http *h = &n->request;
    bool streams = t->rules->enforced.folders == KB_FOLDERS_ON;
    if (kb_content_blocks(t->c, t->rules, REQUESTS, forbids(&t->rules->enforced, h->method),
                          forbids(&t->rules->all, h->method), h->method)) {
        n->held.len = 0;
        if (h->expects) {
            /* It may now send its body or leave it out. */
            finish_with(t, n, forbidden_close);
        } else {
            n->state = REQUEST_SWALLOW;
            queue_turn(t, n, TURN_REFUSE);
        }
    } else if (!streams && h->expects && h->has_body) {
        finish_with(t, n, no_expectations);
    } else if (!streams && h->has_body &&
               (!strcmp(h->method, "GET") || !strcmp(h->method, "HEAD"))) {
        finish_with(t, n, bad_request);
    } else if (streams && queue_folder_turn(t, n)) {
        n->state = REQUEST_STREAM;
        to_folder(t, n, kb_buf_span(&n->held));
        n->held.len = 0;
    }
}

/* The last byte of a request has come. */
static void end_request(struct turn *t, struct connection *n)
{
    if (n->state == REQUEST_COLLECT && queue_folder_turn(t, n))
        to_folder(t, n, kb_buf_span(&n->held));
    if (n->state == REQUEST_DEAD)
        return;
    n->held.len = 0;
    n->state = REQUEST_COLLECT;
}

static void unreadable_request(struct turn *t, struct connection *n)
{
    bool blocks = kb_content_malformed(t->c, t->rules, REQUESTS, KB_RULE_WEBDAV_FORM,
                                       "a request that is not plain HTTP/1.1");
    if (t->rules->enforced.folders != KB_FOLDERS_ON) {
        finish_with(t, n, bad_request);
    } else if (blocks && n->state == REQUEST_COLLECT) {
        finish_with(t, n, bad_request);
    } else {
        to_folder(t, n, kb_buf_span(&n->held));
        n->held.len = 0;
        n->state = REQUEST_BLIND;
        n->blind = true;
    }
}

static void keep(struct turn *t, struct connection *n, struct kb_span bytes)
{
    if (n->state == REQUEST_STREAM || n->state == REQUEST_BLIND) {
        to_folder(t, n, bytes);
    } else if (n->state == REQUEST_COLLECT) {
        if (n->held.len + bytes.len > FRAME_MAX)
            finish_with(t, n, too_large);
        else if (bytes.len)
            kb_buf_add(&n->held, bytes.data, bytes.len);
    }
}

static void read_requests(struct turn *t, struct connection *n, struct kb_span bytes)
{
    bool half = n->state == REQUEST_STREAM || n->state == REQUEST_BLIND;
    if (half && t->rules->enforced.folders != KB_FOLDERS_ON)
        close_both(t, n);
    for (;;) {
        struct kb_span taken;
        if (n->state == REQUEST_DEAD)
            return;
        if (n->state == REQUEST_BLIND) {
            to_folder(t, n, bytes);
            return;
        }
        enum kb_http_event e = kb_http_next(&n->request, &bytes, &taken);
        keep(t, n, taken);
        if (n->state == REQUEST_DEAD || e == KB_HTTP_MORE)
            return;
        if (e == KB_HTTP_READ)
            judge(t, n);
        else if (e == KB_HTTP_DONE)
            end_request(t, n);
        else
            unreadable_request(t, n);
    }
}

/* From here on nobody knows where an answer ends, so none of ours can come. */
static void lose_answers(struct turn *t, struct connection *n)
{
    n->blind = true;
    if (n->turn_count && n->turns[n->turn_count - 1] >= TURN_REFUSE)
        close_both(t, n);
}

/* One event of an answer; false: nothing more to read. */
static bool follow_answer(struct turn *t, struct connection *n, struct kb_span *bytes)
{
    struct kb_span taken;
    enum kb_http_event e = kb_http_next(&n->answer, bytes, &taken);
    if (taken.len)
        put_frame(t->w, ANSWERS, n->id, taken);
    if (e == KB_HTTP_BAD) {
        lose_answers(t, n);
    } else if (e == KB_HTTP_DONE && n->answer.status >= 200) {
        /* 100 Continue and its like come before the answer itself. */
        n->turn_count--;
        memmove(n->turns, n->turns + 1, n->turn_count);
        answer(t, n);
    }
    return e != KB_HTTP_MORE;
}

/* Answers go on as they come; they are read only to know where they end. */
static void read_answers(struct turn *t, struct connection *n, struct kb_span bytes)
{
    /* After our own last answer there is nothing; before it, what was asked for still comes. */
    while (n->state != REQUEST_DEAD || n->turn_count) {
        bool asked = n->turn_count && n->turns[0] < TURN_REFUSE;
        if (bytes.len && !asked && !n->blind)
            lose_answers(t, n); /* an answer without a question */
        if (n->blind) {
            if (bytes.len && n->state != REQUEST_DEAD)
                put_frame(t->w, ANSWERS, n->id, bytes);
            return;
        }
        if (!follow_answer(t, n, &bytes))
            return;
    }
}

/* Frames */

static struct connection *find(struct kb_webdav *w, uint64_t id)
{
    struct connection *n = w->connections;
    while (n && n->id != id)
        n = n->next;
    return n;
}

/* Nothing would be lost with it. */
static bool is_idle(const struct connection *n)
{
    return n->state == REQUEST_DEAD || (!n->known && !n->turn_count && !n->held.len &&
                                        n->state == REQUEST_COLLECT);
}

/* spice-webdavd closes by a frame when its program closes, but not when it loses it. */
static void forget_oldest_idle(struct kb_webdav *w)
{
    struct connection *oldest = NULL;
    for (struct connection *n = w->connections; n; n = n->next)
        if (is_idle(n))
            oldest = n;
    if (oldest)
        forget(w, oldest);
}

static struct connection *open_connection(struct turn *t, uint64_t id)
{
    struct kb_webdav *w = t->w;
    if (w->count >= KB_WEBDAV_CONNECTIONS)
        forget_oldest_idle(w);
    if (w->count >= KB_WEBDAV_CONNECTIONS) {
        put_frame(w, ANSWERS, id, kb_span(NULL, 0));
        return NULL;
    }
    struct connection *n = kb_zalloc(sizeof *n);
    n->id = id;
    kb_http_init(&n->request, false);
    kb_http_init(&n->answer, true);
    n->next = w->connections;
    w->connections = n;
    w->count++;
    return n;
}

/* The folder has closed. spice-webdavd takes no notice, and its program may go on with the same
 * number: then spice-gtk begins a new connection, and so do we. */
static void on_folder_closed(struct turn *t, struct connection *n)
{
    put_frame(t->w, ANSWERS, n->id, kb_span(NULL, 0));
    kb_http_finish(&n->answer);
    kb_http_init(&n->answer, true);
    n->turn_count = 0;
    n->known = false;
    if (n->state == REQUEST_STREAM)
        n->state = REQUEST_BLIND; /* the rest of a request begins it */
    n->blind = n->state == REQUEST_BLIND;
}

/* A frame of size 0. */
static void on_close(struct turn *t, enum kb_direction d, struct connection *n)
{
    if (!n)
        return;
    if (d == REQUESTS) {
        if (n->known && n->state != REQUEST_DEAD)
            put_frame(t->w, REQUESTS, n->id, kb_span(NULL, 0));
        forget(t->w, n);
    } else if (n->state != REQUEST_DEAD || n->turn_count) {
        on_folder_closed(t, n);
    }
}

static void on_bytes(struct turn *t, enum kb_direction d, uint64_t id, struct kb_span bytes)
{
    struct connection *n = find(t->w, id);
    if (!n && d == REQUESTS)
        n = open_connection(t, id);
    if (!n)
        return;
    if (d == REQUESTS)
        read_requests(t, n, bytes);
    else
        read_answers(t, n, bytes);
}

static uint64_t frame_id(const struct frames *f)
{
    return kb_get_u32(f->header) | (uint64_t)kb_get_u32(f->header + 4) << 32;
}

static void walk(struct turn *t, enum kb_direction d, struct kb_span bytes)
{
    struct frames *f = &t->w->frames[d];
    while (bytes.len) {
        if (f->have < FRAME_HEADER) {
            struct kb_span part = kb_span_take_most(&bytes, FRAME_HEADER - f->have);
            memcpy(f->header + f->have, part.data, part.len);
            f->have += (uint32_t)part.len;
            if (f->have < FRAME_HEADER)
                return;
            f->left = kb_get_u16(f->header + 8);
            if (!f->left)
                on_close(t, d, find(t->w, frame_id(f)));
        } else {
            struct kb_span part = kb_span_take_most(&bytes, f->left);
            f->left -= (uint32_t)part.len;
            on_bytes(t, d, frame_id(f), part);
        }
        if (!f->left)
            f->have = 0;
    }
}

static void send_out(struct turn *t)
{
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        struct kb_buf *out = &t->w->out[d];
        if (out->len)
            kb_content_send(t->c, (enum kb_direction)d, SPICE_MSG_SPICEVMC_DATA, kb_buf_span(out),
                            kb_span(NULL, 0));
        out->len = 0;
    }
}

bool kb_webdav_wants(enum kb_direction d, uint16_t type)
{
    return type == SPICE_MSG_SPICEVMC_DATA || type == SPICE_MSG_SPICEVMC_COMPRESSED_DATA ||
           (d == KB_FROM_SERVER && (type == SPICE_MSG_PORT_INIT || type == SPICE_MSG_PORT_EVENT));
}

bool kb_webdav_feed(struct kb_webdav *w, struct kb_content *c, const struct kb_rules *rules,
                    enum kb_direction d, uint16_t type, struct kb_span bytes)
{
    struct turn t = {w, c, rules};
    if (type == SPICE_MSG_PORT_INIT || type == SPICE_MSG_PORT_EVENT) {
        /* Another spice-webdavd, or none: it begins anew. */
        reset(w);
        kb_content_send(c, d, type, bytes, kb_span(NULL, 0));
        return true;
    }
    if (type != SPICE_MSG_SPICEVMC_DATA) {
        kb_content_malformed(c, rules, d, KB_RULE_WEBDAV_FORM,
                             "compressed data, which was not agreed");
        return false;
    }
    walk(&t, d, bytes);
    send_out(&t);
    return true;
}
