/* The daemon's listening sockets: from the configuration, or from the service manager. Main thread.
 */
#ifndef KB_DAEMON_LISTENERS_H
#define KB_DAEMON_LISTENERS_H

#include "daemon/config.h"
#include "proxy/proxy.h"

struct kb_listener_row {
    char *configured; /* as the configuration wrote it; NULL: handed over by the service manager */
    unsigned nth;     /* among entries that wrote the same, which is of use with port 0 only */
    char *name;       /* where it listens, in metrics and logs */
    unsigned accepts;
    uint16_t port;
    int fd; /* until the proxy takes it; -1 then */
};

struct kb_listeners {
    struct kb_listener_row rows[32];
    size_t count;
};

/* Opens what `next` asks for and what is not open yet. On failure nothing is changed and *error (to
 * be freed) says why. With sockets from the service manager (sd_listen_fds) those are the public
 * listeners, and the configuration only says what they accept. */
KB_MUST_CHECK bool kb_listeners_open(const struct kb_listeners *now, const struct kb_config *config,
                                     struct kb_listeners *next, char **error);
/* Starts what is new, stops what is gone, and what stays accepts what it should now; `now` becomes
 * `next`. */
void kb_listeners_apply(struct kb_proxy *p, struct kb_listeners *now, struct kb_listeners *next);
/* Closes what the proxy has not taken and forgets all. */
void kb_listeners_finish(struct kb_listeners *l);
/* The port of the first that accepts SPICE; 0: none. */
uint16_t kb_listeners_spice_port(const struct kb_listeners *l);

#endif
