/* A client of the HTTP API: some keep-alive TLS connections that ask one request after the other.
 * One thread.
 *
 *   http_load --port N --requests FILE [...]
 *     FILE holds whole requests, head and body, each ended by a NUL; they are asked in turn
 *     --connections N: open at once; each has one request under way at most
 *     --rate N: so many a second in all, on a schedule that does not wait for answers, and latency
 *       counts from the scheduled time; without it each connection asks as soon as it is answered
 *     --seconds N after --warmup N
 *     --status N: what every answer must have
 *     --pid N: the daemon; its CPU time is read at both ends of the measured time
 *
 * Says {"event": "ready"} when all connections are open, and one JSON line with the result at the
 * end. An answer with another status, or a closed connection, ends the run without a result. */
#include "measure.h"
#include "peer.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define READ_SIZE 65536
#define HEAD_MAX 16384

struct caller {
    struct peer peer;
    struct caller *next_idle;
    uint64_t asked;      /* or when it should have been; 0: idle */
    char head[HEAD_MAX]; /* of the answer, as far as it is there */
    size_t head_len, body_left;
    bool in_body;
};

static struct {
    unsigned port, connections, status;
    const char *requests;
    double seconds, warmup, rate;
    pid_t daemon;
} options = {.connections = 8, .status = 200, .seconds = 5, .warmup = 0.5};

static struct kb_span *requests;
static size_t request_count, turn;
static struct caller *idle;
static struct latencies latencies;
static uint64_t answers, bytes_in;

static void read_requests(void)
{
    FILE *f = fopen(options.requests, "rb");
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    if (!f)
        die("%s: %s", options.requests, strerror(errno));
    while ((n = getdelim(&line, &size, 0, f)) > 1) {
        requests = realloc(requests, (request_count + 1) * sizeof *requests);
        if (!requests)
            die("memory");
        requests[request_count++] = kb_span(line, (size_t)n - 1);
        line = NULL; /* kept to the end of the program */
        size = 0;
    }
    fclose(f);
    if (!request_count)
        die("%s: no requests", options.requests);
}

static void ask(struct caller *c, uint64_t when)
{
    struct kb_span r = requests[turn++ % request_count];
    c->asked = when;
    c->head_len = 0;
    c->in_body = false;
    if (!give_whole(&c->peer, r))
        die("a connection was closed");
}

static void answered(struct caller *c)
{
    latencies_add(&latencies, (double)(now_ns() - c->asked) / 1e3);
    answers++;
    c->asked = 0;
    c->next_idle = idle;
    idle = c;
}

/* A head that is whole: its status must be right, and it must say how long the body is. */
static void read_head(struct caller *c, size_t len)
{
    c->head[len] = '\0';
    unsigned status = 0;
    const char *length = strcasestr(c->head, "\r\nContent-Length:");
    if (sscanf(c->head, "HTTP/1.1 %u", &status) != 1 || !length)
        die("not an answer: %.200s", c->head);
    if (status != options.status)
        die("status %u: %.600s", status, c->head);
    c->body_left = strtoull(length + strlen("\r\nContent-Length:"), NULL, 10);
    c->in_body = true;
}

/* Takes what has come of one answer; bytes behind it would be a fault. */
static void take_bytes(struct caller *c, const char *data, size_t n)
{
    bytes_in += n;
    if (!c->asked)
        die("an answer that nobody asked for");
    if (!c->in_body) {
        size_t part = n < HEAD_MAX - 1 - c->head_len ? n : HEAD_MAX - 1 - c->head_len;
        memcpy(c->head + c->head_len, data, part);
        size_t before = c->head_len;
        c->head_len += part;
        const char *end = memmem(c->head, c->head_len, "\r\n\r\n", 4);
        if (!end && c->head_len == HEAD_MAX - 1)
            die("the head of an answer is too long");
        if (!end)
            return;
        size_t head = (size_t)(end - c->head) + 4;
        data += head - before;
        n -= head - before;
        read_head(c, head);
    }
    if (n > c->body_left)
        die("more than one answer came");
    c->body_left -= n;
    if (!c->body_left)
        answered(c);
}

static void take_answer(struct caller *c)
{
    static char buffer[READ_SIZE];
    ssize_t r;
    while ((r = take_some(&c->peer, buffer, sizeof buffer)) > 0)
        take_bytes(c, buffer, (size_t)r);
    if (r < 0)
        die("a connection was closed");
}

static int open_callers(struct caller *callers)
{
    struct door door = {.port = options.port, .tls = make_context(false)};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < options.connections; i++) {
        struct caller *c = &callers[i];
        peer_connect(&c->peer, &door);
        int shaken;
        while ((shaken = peer_shake(&c->peer)) == 0)
            peer_wait(&c->peer);
        if (shaken < 0)
            die("TLS handshake");
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->peer.fd, &e) != 0)
            die("epoll_ctl: %s", strerror(errno));
        c->next_idle = idle;
        idle = c;
    }
    return epoll;
}

struct moment {
    uint64_t ns, answers, bytes;
    double cpu;
};

static struct moment take_moment(void)
{
    return (struct moment){now_ns(), answers, bytes_in, process_cpu(options.daemon)};
}

/* Gives idle connections their next request; with a rate, those whose time has come. */
static void ask_all(uint64_t now, uint64_t step, uint64_t *next)
{
    while (idle && (!step || *next <= now)) {
        struct caller *c = idle;
        idle = c->next_idle;
        ask(c, step ? *next : now);
        *next += step;
    }
}

static void wait_for(int epoll, int timer, uint64_t next)
{
    struct epoll_event events[64];
    if (next)
        set_alarm(timer, next);
    int n = epoll_wait(epoll, events, 64, 20000);
    if (n == 0)
        die("an answer never came");
    for (int i = 0; i < n; i++)
        if (events[i].data.ptr)
            take_answer(events[i].data.ptr);
}

static void run(void)
{
    struct caller *callers = calloc(options.connections, sizeof *callers);
    if (!callers)
        die("memory");
    int epoll = open_callers(callers), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &e);
    printf("{\"event\": \"ready\"}\n");
    fflush(stdout);
    uint64_t step = options.rate > 0 ? (uint64_t)(1e9 / options.rate) : 0, next = now_ns();
    uint64_t start = next + (uint64_t)(options.warmup * 1e9);
    uint64_t end = start + (uint64_t)(options.seconds * 1e9);
    struct moment begin = {0};
    for (uint64_t now = next; now < end; now = now_ns()) {
        if (!begin.ns && now >= start) {
            latencies.count = 0;
            begin = take_moment();
        }
        ask_all(now, step, &next);
        wait_for(epoll, timer, step && idle ? next : 0);
    }
    struct moment over = take_moment();
    printf("{\"event\": \"over\", ");
    latencies_say(&latencies);
    printf("\"seconds\": %.6f, \"answers\": %llu, \"bytes\": %llu, \"daemon_cpu\": %.6f}\n",
           (double)(over.ns - begin.ns) / 1e9, (unsigned long long)(over.answers - begin.answers),
           (unsigned long long)(over.bytes - begin.bytes), over.cpu - begin.cpu);
}

static void parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},
        {"requests", required_argument, NULL, 'f'},
        {"rate", required_argument, NULL, 'R'},
        {"connections", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 't'},
        {"warmup", required_argument, NULL, 'u'},
        {"status", required_argument, NULL, 's'},
        {"pid", required_argument, NULL, 'P'},
        {0},
    };
    for (int o; (o = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (o) {
        case 'p':
            options.port = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'f':
            options.requests = optarg;
            break;
        case 'R':
            options.rate = strtod(optarg, NULL);
            break;
        case 'c':
            options.connections = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 't':
            options.seconds = strtod(optarg, NULL);
            break;
        case 'u':
            options.warmup = strtod(optarg, NULL);
            break;
        case 's':
            options.status = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'P':
            options.daemon = (pid_t)strtol(optarg, NULL, 10);
            break;
        default:
            exit(2);
        }
    }
    if (!options.port || !options.requests || optind != argc) {
        fprintf(stderr, "usage: http_load --port N --requests FILE ...\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    read_requests();
    run();
    return 0;
}
