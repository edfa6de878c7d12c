/* What the kernel knows of a TCP socket, and what it is told, beyond the options of every
 * connection (conn.c). On sockets of another kind all of it does nothing. */
#ifndef KB_NET_TCP_H
#define KB_NET_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kb_tcp_path {
    uint64_t acked;        /* bytes that the peer's kernel has acknowledged so far */
    uint32_t rtt_us;       /* smoothed */
    uint32_t least_rtt_us; /* of the last minutes (net.ipv4.tcp_min_rtt_wlen) */
};

/* One system call. False: no TCP socket, or a kernel before 4.6, which does not say all of it. */
bool kb_tcp_path(int fd, struct kb_tcp_path *p);
/* Before connecting: the peer can send no more than some 4 KiB ahead of our reading, in segments no
 * longer than they are on Ethernet, until kb_tcp_set_window says more. What is offered once cannot
 * be taken back, and a sender's buffer grows with the segments that were ever under way, which on
 * loopback are 64 KiB long; it never shrinks. */
void kb_tcp_begin_small(int fd);
#define KB_TCP_SMALL_WINDOW ((size_t)4 << 10)

/* About how much the peer may send ahead of our reading; 0: the kernel finds out, as it does when
 * this is never called. On a connected socket. */
void kb_tcp_set_window(int fd, size_t bytes);

#endif
