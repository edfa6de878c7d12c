/* register: the agent of a machine with a SPICE server of its own (Xspice, x11spice, QEMU). It
 * announces the machine to a source of the type registered, renews the lease as long as the server
 * is there, and takes it back at the end; it may start the server, with a ticket of its own a run.
 * Main thread. */
#include "cli/child.h"
#include "cli/client.h"

#include "base/clock.h"
#include "base/duration.h"
#include "base/mem.h"
#include "base/secret.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND_US UINT64_C(1000000)
#define LOOK_US (SECOND_US / 5) /* between two looks for a server that starts */
#define BACK_OFF_LAST (60 * SECOND_US)
#define LASTED_US (60 * SECOND_US) /* a run of the command that was no failure to start */
#define ANSWER_SECONDS 10L
#define LEASE_MIN_MS 5000
#define TICKET_MAX 59 /* SPICE_MAX_PASSWORD_LENGTH (60) with its NUL */

struct agent {
    const struct kb_cli_options *o;
    struct kb_client *client;
    char *path;         /* of the machine */
    char id[2 * 8 + 1]; /* this machine's server */
    struct kb_secret ticket;
    int64_t lease; /* ms; what was asked for, later what was given */
    uint16_t port, tls_port;
    bool registered, ever; /* now; at any time */
    bool silent_said;      /* that the server does not answer */
    unsigned failures;     /* in a row */
    uint64_t due_us;       /* the next announcement */
    struct kb_child child;
    bool ready;                  /* the child's server answered once */
    unsigned falls;              /* of the child, in a row */
    uint64_t began_us, start_us; /* the child's last start; its next */
};

/* --- what was said ---------------------------------------------------------------------------- */

static int misused(const char *problem)
{
    fprintf(stderr, "kerbside: %s; see `kerbside register --help`\n", problem);
    return KB_EXIT_USAGE;
}

static bool read_port(const char *text, uint16_t *port)
{
    char *end;
    if (!text)
        return true;
    unsigned long n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || n < 1 || n > 65535)
        return false;
    *port = (uint16_t)n;
    return true;
}

static bool says_ticket_file(const struct kb_cli_options *o)
{
    for (int i = 0; i < o->arg_count; i++)
        if (strstr(o->args[i], KB_CHILD_TICKET_FILE))
            return true;
    return false;
}

static const char *find_problem(const struct kb_cli_options *o, struct agent *a)
{
    bool told = o->ticket_env || says_ticket_file(o);
    if (!o->url && !getenv("KERBSIDE_URL"))
        return "--url is needed: where kerbside is";
    if (!o->source)
        return "--source is needed: a source of the type registered";
    if (!read_port(o->port, &a->port) || !read_port(o->tls_port, &a->tls_port))
        return "a port is a number from 1 to 65535";
    if (!a->port && !a->tls_port)
        return "--port or --tls-port is needed: where the SPICE server listens";
    if (o->lease && (!kb_duration_parse(o->lease, &a->lease) || a->lease < LEASE_MIN_MS))
        return "--lease is a duration of 5s or more, such as 60s";
    if (!o->arg_count && (o->ticket_env || o->restart))
        return "--ticket-env and --restart are for a command, after --";
    if (o->arg_count && told == (o->ticket_file != NULL))
        return told ? "the command gets a ticket of its own, so --ticket-file has no use"
                    : "say how the command gets its ticket: --ticket-env NAME, or {ticket_file} in "
                      "its words; or name its ticket with --ticket-file";
    return NULL;
}

/* Another machine with the same name must look different, and this one after a restart the same.
 * /etc/machine-id itself is not to be shown (machine-id(5)). */
static void make_id(struct agent *a)
{
    char machine[64] = "";
    kb_auto_fclose FILE *f = fopen("/etc/machine-id", "re");
    if (!f || !fgets(machine, sizeof machine, f))
        kb_random(machine, 16);
    char text[128];
    int n = snprintf(text, sizeof text, "kerbside agent %u %u ", a->port, a->tls_port);
    memcpy(text + n, machine, sizeof machine);
    struct kb_hash h = kb_hash_of(text, (size_t)n + sizeof machine);
    for (size_t i = 0; i < 8; i++)
        snprintf(a->id + 2 * i, 3, "%02x", h.bytes[i]);
}

static bool read_ticket(struct agent *a)
{
    char line[TICKET_MAX + 3] = "";
    kb_auto_fclose FILE *f = fopen(a->o->ticket_file, "re");
    if (f)
        setvbuf(f, NULL, _IONBF, 0); /* no copy of it stays behind */
    bool ok = f && (fgets(line, sizeof line, f) || feof(f));
    line[strcspn(line, "\r\n")] = '\0';
    if (!ok)
        fprintf(stderr, "kerbside: %s: %s\n", a->o->ticket_file, strerrordesc_np(errno));
    else if (strlen(line) > TICKET_MAX)
        fprintf(stderr, "kerbside: %s: a SPICE password has at most %d bytes\n", a->o->ticket_file,
                TICKET_MAX);
    ok = ok && strlen(line) <= TICKET_MAX;
    if (ok)
        kb_secret_set(&a->ticket, line);
    kb_wipe(line, sizeof line);
    return ok;
}

/* --- is the server there? --------------------------------------------------------------------- */

static bool connects(const struct addrinfo *to)
{
    kb_auto_close int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
        return true;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof error;
    return errno == EINPROGRESS && poll(&p, 1, 2000) > 0 &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

static bool answers(const struct agent *a)
{
    struct addrinfo *list;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char port[8];
    snprintf(port, sizeof port, "%u", a->tls_port ? a->tls_port : a->port);
    if (getaddrinfo(a->o->address, port, &hints, &list) != 0) /* without one: this machine */
        return false;
    bool found = false;
    for (const struct addrinfo *at = list; at && !found; at = at->ai_next)
        found = connects(at);
    freeaddrinfo(list);
    return found;
}

/* --- the lease -------------------------------------------------------------------------------- */

/* A sixth more or less, so that many machines do not knock at the same moment. */
static uint64_t jittered(uint64_t us)
{
    uint32_t random;
    kb_random(&random, sizeof random);
    return us - us / 6 + us / 3 * (random % 1024) / 1024;
}

static uint64_t back_off(unsigned failures, uint64_t last)
{
    uint64_t us = SECOND_US;
    for (unsigned i = 1; i < failures && us < last; i++)
        us *= 2;
    return jittered(us < last ? us : last);
}

static void set(json_t *body, const char *field, const char *text)
{
    if (text && *text)
        json_object_set_new(body, field, json_string(text));
}

static json_t *describe(const struct agent *a)
{
    char lease[KB_DURATION_TEXT_SIZE];
    kb_duration_format(a->lease, lease);
    json_t *body = json_pack("{s:s, s:s}", "agent", a->id, "lease", lease);
    set(body, "hypervisor_ip", a->o->address);
    set(body, "hypervisor", a->o->hostname);
    set(body, "host_subject", a->o->host_subject);
    set(body, "owner", a->o->owner);
    set(body, "ticket", kb_secret_text(&a->ticket));
    if (a->port)
        json_object_set_new(body, "insecure_port", json_integer(a->port));
    if (a->tls_port)
        json_object_set_new(body, "secure_port", json_integer(a->tls_port));
    return body;
}

static void take_lease(struct agent *a, const json_t *answer)
{
    const char *text = json_string_value(json_object_get(answer, "lease"));
    int64_t given;
    if (text && kb_duration_parse(text, &given) && given > 0)
        a->lease = given;
    if (!a->registered)
        fprintf(stderr, "kerbside: registered as %s in %s\n", a->o->name, a->o->source);
    a->registered = a->ever = true;
    a->failures = 0;
    a->due_us = kb_clock_us() + jittered((uint64_t)a->lease * 1000 / 3);
}

/* What will not be better by itself; at the beginning it is a mistake that somebody should see. */
static bool is_final(long http)
{
    return http >= 400 && http < 500 && http != 408 && http != 409 && http != 429;
}

static int announce(struct agent *a)
{
    json_auto_t *answer = NULL;
    int status = kb_client_call(a->client, "PUT", a->path, describe(a), &answer);
    if (status == KB_EXIT_DONE) {
        take_lease(a, answer);
        return KB_EXIT_DONE;
    }
    if (!a->ever && is_final(kb_client_http_status(a->client)))
        return status;
    a->failures++;
    a->due_us = kb_clock_us() + back_off(a->failures, (uint64_t)a->lease * 1000 / 3);
    return KB_EXIT_DONE;
}

/* A lease that cannot be taken back runs out by itself. */
static void withdraw(struct agent *a)
{
    if (!a->registered)
        return;
    char *path = kb_strdup(a->path);
    kb_client_add_query(&path, "agent", a->id);
    if (kb_client_call(a->client, "DELETE", path, NULL, NULL) == KB_EXIT_DONE)
        fprintf(stderr, "kerbside: %s is not registered any more\n", a->o->name);
    free(path);
    a->registered = false;
}

/* The lease says that there is a server; so it is looked for before. One that was started here is
 * looked for once: after that its process is the sign. */
static int step(struct agent *a)
{
    if (!a->ready && !answers(a)) {
        if (!a->silent_said)
            fprintf(stderr, "kerbside: nobody listens at port %u of %s; waiting\n",
                    a->tls_port ? a->tls_port : a->port,
                    a->o->address ? a->o->address : "this machine");
        a->silent_said = true;
        withdraw(a);
        a->due_us = kb_clock_us() + (a->child.pid ? LOOK_US : SECOND_US);
        return KB_EXIT_DONE;
    }
    a->silent_said = false;
    a->ready = a->child.pid != 0;
    if (a->o->ticket_file && !read_ticket(a) && !a->ever)
        return KB_EXIT_USAGE;
    return announce(a);
}

/* --- the command ------------------------------------------------------------------------------ */

static bool start(struct agent *a)
{
    if (!a->o->ticket_file) {
        char ticket[KB_TOKEN_SIZE];
        kb_token_create(ticket);
        kb_secret_set(&a->ticket, ticket);
        kb_wipe(ticket, sizeof ticket);
    }
    a->ready = false;
    a->began_us = a->due_us = kb_clock_us();
    return kb_child_start(&a->child, a->o->args, a->o->arg_count, a->o->ticket_env,
                          kb_secret_text(&a->ticket));
}

/* True: it is over, *status says how. */
static bool fell(struct agent *a, int how, int *status)
{
    bool clean = WIFEXITED(how) && WEXITSTATUS(how) == 0;
    withdraw(a);
    if (WIFEXITED(how))
        fprintf(stderr, "kerbside: %s has ended with status %d\n", a->o->args[0], WEXITSTATUS(how));
    else
        fprintf(stderr, "kerbside: %s was ended by signal %d\n", a->o->args[0], WTERMSIG(how));
    *status = clean ? KB_EXIT_DONE : KB_EXIT_REFUSED;
    if (!a->o->restart)
        return true;
    uint64_t now = kb_clock_us();
    a->falls = now - a->began_us > LASTED_US ? 1 : a->falls + 1;
    a->start_us = now + back_off(a->falls, BACK_OFF_LAST);
    return false;
}

/* --- the loop --------------------------------------------------------------------------------- */

static bool is_end(int signal)
{
    return signal == SIGTERM || signal == SIGINT || signal == SIGHUP;
}

static int wait_signal(const sigset_t *signals, uint64_t until_us)
{
    uint64_t now = kb_clock_us(), left = until_us > now ? until_us - now : 0;
    const struct timespec t = {.tv_sec = (time_t)(left / SECOND_US),
                               .tv_nsec = (long)(left % SECOND_US * 1000)};
    return sigtimedwait(signals, NULL, &t);
}

static int keep(struct agent *a, const sigset_t *signals)
{
    bool has_command = a->o->arg_count > 0;
    int how, status = KB_EXIT_DONE;
    for (;;) {
        bool down = has_command && !a->child.pid;
        if (down && kb_clock_us() >= a->start_us) {
            if (!start(a))
                return KB_EXIT_REFUSED;
            down = false;
        }
        if (!down && kb_clock_us() >= a->due_us && (status = step(a)) != KB_EXIT_DONE)
            return status;
        if (is_end(wait_signal(signals, down ? a->start_us : a->due_us)))
            return KB_EXIT_DONE;
        if (kb_child_ended(&a->child, &how) && fell(a, how, &status))
            return status;
    }
}

static int run(struct agent *a)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN); /* a daemon that goes while it is written to is no end of ours */
    signal(SIGCHLD, SIG_DFL); /* who started us may have ignored it */
    int status = keep(a, &signals);
    withdraw(a); /* first, so that nobody is sent to a server that is going */
    kb_child_stop(&a->child);
    return status;
}

int kb_cmd_register(const struct kb_cli_options *given)
{
    struct kb_cli_options o = *given;
    struct agent a = {.o = &o, .lease = 60000, .child.ticket_fd = -1};
    char host[256] = "";
    const char *problem = find_problem(&o, &a);
    int status = KB_EXIT_USAGE;
    if (problem)
        return misused(problem);
    gethostname(host, sizeof host - 1);
    if (!o.name)
        o.name = host;
    if (!kb_secret_start())
        return KB_EXIT_REFUSED;
    make_id(&a);
    a.client = kb_client_create(&o, &status);
    if (!a.client)
        return status;
    kb_client_set_patience(a.client, ANSWER_SECONDS);
    a.path = kb_client_path("/api/v1/sources/%s/machines/%s", o.source, o.name);
    status = run(&a);
    kb_client_destroy(a.client);
    kb_secret_finish(&a.ticket);
    free(a.path);
    return status;
}
