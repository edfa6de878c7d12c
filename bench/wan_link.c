/* A slow link between two network namespaces, for kernels without netem: two TUN devices, "wan0" in
 * the namespace that it is started in and in that of --peer. Each direction carries packets at the
 * rate, delays them by half the round-trip time, and drops those that its queue has no room for, as
 * a router does. MTU 1400. Says "ready" once both devices are there; whoever started it gives them
 * addresses. One thread; ends with its stdin.
 *
 *   wan_link --peer PID --rtt MS --mbit N --queue BYTES */
#include <fcntl.h>
#include <getopt.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MTU 1400
#define READS_PER_TURN 64

struct packet {
    struct packet *next;
    int64_t due_ns;
    size_t len;
    uint8_t bytes[];
};

struct direction {
    int from, to, timer;
    struct packet *first, *last;
    int64_t free_ns; /* when the last byte of what it has taken has left */
};

static int64_t delay_ns;
static double ns_a_byte;
static int64_t queue_ns; /* the queue's length in time at the link's rate */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int open_device(void)
{
    struct ifreq r = {.ifr_name = "wan0", .ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &r) != 0)
        die("wan0");
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    r.ifr_mtu = MTU;
    if (control < 0 || ioctl(control, SIOCSIFMTU, &r) != 0)
        die("the MTU of wan0");
    close(control);
    return fd;
}

static void arm(const struct direction *d)
{
    struct itimerspec t = {0};
    if (d->first) {
        t.it_value.tv_sec = d->first->due_ns / 1000000000;
        t.it_value.tv_nsec = d->first->due_ns % 1000000000;
    }
    timerfd_settime(d->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void take(struct direction *d)
{
    uint8_t bytes[MTU + 64];
    bool was_empty = !d->first;
    ssize_t n;
    for (int i = 0; i < READS_PER_TURN && (n = read(d->from, bytes, sizeof bytes)) > 0; i++) {
        int64_t now = now_ns();
        if (d->free_ns < now)
            d->free_ns = now;
        if (d->free_ns - now > queue_ns)
            continue; /* dropped */
        d->free_ns += (int64_t)((double)n * ns_a_byte);
        struct packet *p = malloc(sizeof *p + (size_t)n);
        if (!p)
            die("malloc");
        *p = (struct packet){.due_ns = d->free_ns + delay_ns, .len = (size_t)n};
        memcpy(p->bytes, bytes, (size_t)n);
        if (d->last)
            d->last->next = p;
        else
            d->first = p;
        d->last = p;
    }
    if (was_empty && d->first)
        arm(d);
}

static void deliver(struct direction *d)
{
    uint64_t ticks;
    if (read(d->timer, &ticks, sizeof ticks) < 0)
        return;
    int64_t now = now_ns();
    while (d->first && d->first->due_ns <= now) {
        struct packet *p = d->first;
        if (write(d->to, p->bytes, p->len) < 0)
            perror("wan0"); /* the device is not up yet: lost, as on a wire */
        d->first = p->next;
        if (!d->first)
            d->last = NULL;
        free(p);
    }
    arm(d);
}

static int enter(const char *pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/ns/net", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
        die(path);
    close(fd);
    return open_device();
}

static void carry(struct direction d[2])
{
    struct pollfd p[5] = {{.fd = STDIN_FILENO}};
    for (int i = 0; i < 2; i++) {
        p[1 + 2 * i] = (struct pollfd){.fd = d[i].from, .events = POLLIN};
        p[2 + 2 * i] = (struct pollfd){.fd = d[i].timer, .events = POLLIN};
    }
    while (poll(p, 5, -1) > 0 && !p[0].revents) {
        for (int i = 0; i < 2; i++) {
            if (p[1 + 2 * i].revents)
                take(&d[i]);
            if (p[2 + 2 * i].revents)
                deliver(&d[i]);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"peer", required_argument, NULL, 'p'},
        {"rtt", required_argument, NULL, 'r'},
        {"mbit", required_argument, NULL, 'm'},
        {"queue", required_argument, NULL, 'q'},
        {NULL, 0, NULL, 0},
    };
    const char *peer = NULL;
    double rtt = 0, mbit = 0, queue = 0;
    for (int o; (o = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (o) {
        case 'p':
            peer = optarg;
            break;
        case 'r':
            rtt = strtod(optarg, NULL);
            break;
        case 'm':
            mbit = strtod(optarg, NULL);
            break;
        case 'q':
            queue = strtod(optarg, NULL);
            break;
        default:
            return 2;
        }
    }
    if (!peer || mbit <= 0) {
        fprintf(stderr, "--peer and --mbit are needed\n");
        return 2;
    }
    prctl(PR_SET_TIMERSLACK, 1);
    delay_ns = (int64_t)(rtt / 2 * 1e6);
    ns_a_byte = 8000 / mbit;
    queue_ns = (int64_t)(queue * ns_a_byte);
    int here = open_device(), there = enter(peer);
    struct direction d[2] = {{.from = here, .to = there}, {.from = there, .to = here}};
    for (int i = 0; i < 2; i++)
        d[i].timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    printf("{\"event\": \"ready\"}\n");
    fflush(stdout);
    carry(d);
    return 0;
}
