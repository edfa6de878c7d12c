/* Listening sockets. Opened (or taken over from the service manager) by the main thread; each data
 * loop then accepts from the same sockets. */
#ifndef KB_NET_LISTENER_H
#define KB_NET_LISTENER_H

#include "net/loop.h"

#include <stdbool.h>

/* Opens every address of host ("" or "*": all, of both families). At most `most` sockets come back
 * in fds. 0 and *error (to be freed) when none could be opened. port 0: the kernel's choice. */
size_t kb_listen_tcp(const char *host, uint16_t port, int *fds, size_t most, char **error);
/* Opens a unix socket with the given file mode, replacing a stale file. -1 and *error. */
int kb_listen_unix(const char *path, unsigned mode, char **error);
/* The address a socket listens on: "127.0.0.1:8443", "[::]:443". */
char *kb_listen_name(int fd, uint16_t *port);

/* One loop's share of one listening socket. The socket stays the caller's. */
struct kb_acceptor {
    struct kb_loop *loop;
    int fd;
    uv_poll_t *poll;
    struct kb_timer rest;
    int *reserve; /* the loop's spare descriptor, see listener.c */
    void (*accepted)(struct kb_acceptor *a, int fd);
    void (*exhausted)(struct kb_acceptor *a); /* one was turned away for want of descriptors */
    void *owner;
};

/* The loop's thread. accepted() owns the new, non-blocking descriptor. */
struct kb_acceptor *kb_acceptor_create(struct kb_loop *l, int fd, int *reserve,
                                       void (*accepted)(struct kb_acceptor *a, int fd),
                                       void (*exhausted)(struct kb_acceptor *a), void *owner);
void kb_acceptor_destroy(struct kb_acceptor *a);

#endif
