/* Opening, comparing and handing over the public listeners. Main thread. */
#include "daemon/listeners.h"

#include "base/log.h"
#include "base/mem.h"
#include "net/listener.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

/* config.h and proxy.h each have their own words for the same set, since neither room knows the
 * other; they must agree. */
static_assert((int)KB_ACCEPT_SPICE == (int)KB_LISTEN_SPICE &&
                  (int)KB_ACCEPT_HTTP == (int)KB_LISTEN_HTTP &&
                  (int)KB_ACCEPT_REDIRECT == (int)KB_LISTEN_REDIRECT,
              "the sets of what a listener accepts");

#define MOST (sizeof((struct kb_listeners *)NULL)->rows / sizeof(struct kb_listener_row))

static void finish_row(struct kb_listener_row *r)
{
    if (r->fd >= 0)
        close(r->fd);
    free(r->configured);
    free(r->name);
}

void kb_listeners_finish(struct kb_listeners *l)
{
    for (size_t i = 0; i < l->count; i++)
        finish_row(&l->rows[i]);
    l->count = 0;
}

/* The row that took the open listener r over; NULL: none. */
static const struct kb_listener_row *heir(const struct kb_listeners *l,
                                          const struct kb_listener_row *r)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->rows[i].name, r->name) == 0 && l->rows[i].fd < 0)
            return &l->rows[i];
    return NULL;
}

static unsigned nth_of(const struct kb_config *config, size_t entry)
{
    unsigned nth = 0;
    for (size_t i = 0; i < entry; i++)
        nth += strcmp(config->listens[i].address, config->listens[entry].address) == 0;
    return nth;
}

static void keep(struct kb_listeners *next, const struct kb_listener_row *old, unsigned accepts)
{
    struct kb_listener_row *r = &next->rows[next->count++];
    *r = *old;
    r->fd = -1;
    r->accepts = accepts;
    r->configured = kb_strdup(old->configured);
    r->name = kb_strdup(old->name);
}

/* Keeps what an entry of the configuration opened before; a host name may have opened several. */
static bool keep_entry(const struct kb_listeners *now, struct kb_listeners *next,
                       const struct kb_config_listen *c, unsigned nth)
{
    bool any = false;
    for (size_t i = 0; i < now->count && next->count < MOST; i++) {
        const struct kb_listener_row *r = &now->rows[i];
        if (!r->configured || strcmp(r->configured, c->address) != 0 || r->nth != nth)
            continue;
        keep(next, r, c->accept);
        any = true;
    }
    return any;
}

static void add(struct kb_listeners *l, const char *configured, unsigned nth, unsigned accepts,
                int fd)
{
    struct kb_listener_row *r = &l->rows[l->count++];
    *r = (struct kb_listener_row){
        .configured = kb_strdup(configured), .nth = nth, .accepts = accepts, .fd = fd};
    r->name = kb_listen_name(fd, &r->port);
}

static unsigned accepts_of(const struct kb_config *config, uint16_t port)
{
    unsigned accepts = KB_ACCEPT_SPICE | KB_ACCEPT_HTTP;
    for (size_t i = 0; i < config->listen_count; i++)
        if (config->listens[i].port == port)
            accepts = config->listens[i].accept;
    return accepts;
}

/* The service manager's sockets stay the same for the life of the process. */
static bool adopt_inherited(const struct kb_listeners *now, const struct kb_config *config,
                            struct kb_listeners *next)
{
    static int inherited = -1;
    if (inherited < 0)
        inherited = sd_listen_fds(1);
    if (inherited <= 0)
        return false;
    for (size_t i = 0; i < now->count; i++)
        keep(next, &now->rows[i], accepts_of(config, now->rows[i].port));
    for (int i = 0; now->count == 0 && i < inherited && next->count < MOST; i++) {
        int fd = SD_LISTEN_FDS_START + i;
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        uint16_t port;
        free(kb_listen_name(fd, &port));
        add(next, NULL, 0, accepts_of(config, port), fd);
    }
    return true;
}

bool kb_listeners_open(const struct kb_listeners *now, const struct kb_config *config,
                       struct kb_listeners *next, char **error)
{
    *next = (struct kb_listeners){0};
    *error = NULL;
    if (adopt_inherited(now, config, next))
        return true;
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct kb_config_listen *c = &config->listens[i];
        unsigned nth = nth_of(config, i);
        if (keep_entry(now, next, c, nth))
            continue;
        int fds[8];
        size_t room = MOST - next->count;
        size_t count = kb_listen_tcp(c->host, c->port, fds, room < 8 ? room : 8, error);
        if (count == 0) {
            if (!*error)
                *error = kb_printf("more than %zu listening addresses", MOST);
            kb_listeners_finish(next);
            return false;
        }
        for (size_t k = 0; k < count; k++)
            add(next, c->address, nth, c->accept, fds[k]);
    }
    return true;
}

void kb_listeners_apply(struct kb_proxy *p, struct kb_listeners *now, struct kb_listeners *next)
{
    for (size_t i = 0; i < now->count; i++) {
        const struct kb_listener_row *r = &now->rows[i], *kept = heir(next, r);
        if (!kept) {
            kb_log(KB_LOG_INFO, "listener.closed", KB_STR("address", r->name));
            kb_proxy_unlisten(p, r->name);
        } else if (kept->accepts != r->accepts) {
            kb_log(KB_LOG_INFO, "listener.changed", KB_STR("address", r->name));
            kb_proxy_set_accepts(p, r->name, kept->accepts);
        }
    }
    for (size_t i = 0; i < next->count; i++) {
        struct kb_listener_row *r = &next->rows[i];
        if (r->fd < 0)
            continue;
        kb_log(KB_LOG_INFO, "listener.opened", KB_STR("address", r->name));
        kb_proxy_listen(p, r->fd, r->accepts, r->name);
        r->fd = -1;
    }
    kb_listeners_finish(now);
    *now = *next;
    next->count = 0;
}

uint16_t kb_listeners_spice_port(const struct kb_listeners *l)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->rows[i].accepts & KB_ACCEPT_SPICE)
            return l->rows[i].port;
    return 0;
}
