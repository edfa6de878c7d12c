/* TCP_INFO and the options that bound what a peer sends ahead. Any thread.
 *
 * linux/tcp.h has all of struct tcp_info, netinet/tcp.h only its beginning, and the two cannot be
 * had together; so this is a file of its own. */
#include "net/tcp.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* Ethernet's 1500 bytes without the headers of IPv4 and TCP. */
#define SEGMENT 1460
/* More than any window that is worth a limit. */
#define WINDOW_MAX ((size_t)1 << 24)
/* Where a buffer that was small goes on growing; net.core.rmem_max may make it less. */
#define BUFFER_FREE ((size_t)1 << 18)

bool kb_tcp_path(int fd, struct kb_tcp_path *p)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
        len < offsetof(struct tcp_info, tcpi_min_rtt) + sizeof info.tcpi_min_rtt)
        return false;
    *p = (struct kb_tcp_path){info.tcpi_bytes_acked, info.tcpi_rtt, info.tcpi_min_rtt};
    return true;
}

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value); /* best effort, see tcp.h */
}

/* SO_RCVBUF fixes the size of the buffer (socket(7): Linux doubles it, for what it needs around the
 * bytes); clearing SO_BUF_LOCK, Linux 5.15, lets it grow by itself again. */
static void fix_buffer(int fd, size_t bytes)
{
    set_option(fd, SOL_SOCKET, SO_RCVBUF, (int)bytes);
}

static void free_buffer(int fd)
{
    set_option(fd, SOL_SOCKET, SO_BUF_LOCK, 0);
}

void kb_tcp_begin_small(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_MAXSEG, SEGMENT);
    /* A buffer that is fixed when the connection is made, or a clamp, would also keep the window's
     * scale small, and with it all later windows. */
    fix_buffer(fd, KB_TCP_SMALL_WINDOW);
    free_buffer(fd);
}

void kb_tcp_set_window(int fd, size_t bytes)
{
    size_t most = bytes && bytes < WINDOW_MAX ? bytes : WINDOW_MAX;
    /* Twice, because short segments take more room than their bytes. A small buffer that is only
     * freed would stay small: it grows when more is read in a round trip than ever before. */
    fix_buffer(fd, bytes ? 2 * most : BUFFER_FREE);
    if (!bytes)
        free_buffer(fd);
    /* The clamp that the handshake or a smaller window has left would hold a larger one back. */
    set_option(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, (int)most);
}
