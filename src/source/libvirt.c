/* libvirt: the domains that run on one host, by the library of libvirt itself. A SPICE server that
 * listens on a port gets a password of its own for each session, which ends soon; one that is on no
 * port is reached by a socket that libvirtd hands over. docs/sources/libvirt.md. Threads of calls,
 * and of the jobs that they wait for (libvirt_host.h). */
#include "source/libvirt_domain.h"
#include "source/libvirt_host.h"

#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <string.h>

#define NO_SUCH_GRAPHICS 1000000u /* an index that no domain has */

static const struct kb_source_key settings[] = {
    {"uri", KB_KEY_TEXT, .max = 1024, .required = true},
    {"username", KB_KEY_TEXT, .max = 255},
    {"password", KB_KEY_SECRET, .max = 1024},
    {"ticket_expiry", KB_KEY_DURATION, .fallback = "60s", .min = 10000, .max = 7200000},
};

static void *libvirt_start(const struct kb_source_config *config)
{
    const char *user = kb_setting_text(config, "username");
    return kb_libvirt_host_create(kb_setting_text(config, "uri"), user ? user : "",
                                  kb_setting_secret(config, "password"));
}

static void libvirt_finish(void *state)
{
    kb_libvirt_host_destroy(state);
}

/* --- a domain --------------------------------------------------------------------------------- */

static const char *state_word(int state)
{
    switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
        return "running";
    case VIR_DOMAIN_PAUSED:
        return "paused";
    case VIR_DOMAIN_SHUTDOWN:
        return "shutting down";
    case VIR_DOMAIN_CRASHED:
        return "crashed";
    case VIR_DOMAIN_PMSUSPENDED:
        return "suspended";
    default:
        return NULL;
    }
}

/* Puts into c where the domain's console is. host: of the connection's URI, or NULL. */
static void place(struct kb_console *c, const struct kb_libvirt_domain *d, const char *host,
                  const char *host_name)
{
    c->owner = kb_strdup(d->owner);
    c->protocol = d->protocol;
    c->hypervisor = kb_strdup(*host_name ? host_name : host);
    c->transport = d->local ? KB_TRANSPORT_SOURCE : KB_TRANSPORT_TCP;
    if (d->local)
        return;
    c->hypervisor_ip = kb_libvirt_dial(host, d->address);
    c->insecure_port = d->port;
    c->secure_port = d->tls_port;
}

/* Gives each running domain to take(), until that says no or the job was left behind. */
static bool each_domain(struct kb_libvirt_job *j,
                        bool (*take)(struct kb_libvirt_job *j, virDomainPtr domain))
{
    virDomainPtr *domains = NULL;
    int count =
        j->lib->virConnectListAllDomains(j->conn, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    if (count < 0)
        return kb_libvirt_failed(j, "listing domains");
    bool ok = true;
    for (int i = 0; i < count; i++) {
        ok = ok && !kb_libvirt_left(j) && take(j, domains[i]);
        j->lib->virDomainFree(domains[i]);
    }
    free(domains);
    return ok;
}

/* --- list ------------------------------------------------------------------------------------- */

struct list_job {
    struct kb_libvirt_job job;
    char *host; /* of the URI, or NULL */
    struct kb_console *map;
};

static void list_finish(struct kb_libvirt_job *j)
{
    struct list_job *l = (struct list_job *)j;
    free(l->host);
    kb_consoles_destroy(&l->map);
}

/* A domain that ended meanwhile, or that we may know of but not look at, is not on the list. False:
 * libvirtd did not say what it is. */
static bool add_domain(struct kb_libvirt_job *j, virDomainPtr domain)
{
    struct list_job *l = (struct list_job *)j;
    const struct kb_libvirt *lib = j->lib;
    char uuid[VIR_UUID_STRING_BUFLEN];
    const char *name = lib->virDomainGetName(domain);
    int state = VIR_DOMAIN_NOSTATE, reason;
    char *xml = lib->virDomainGetXMLDesc(domain, 0);
    if (!xml || lib->virDomainGetState(domain, &state, &reason, 0) < 0) {
        free(xml);
        kb_libvirt_failed(j, "asking for a domain");
        return j->error.code == VIR_ERR_NO_DOMAIN || j->error.code == VIR_ERR_ACCESS_DENIED;
    }
    struct kb_libvirt_domain d;
    if (kb_libvirt_domain_read(xml, &d) && lib->virDomainGetUUIDString(domain, uuid) == 0 &&
        state != VIR_DOMAIN_SHUTOFF) {
        struct kb_console *c = kb_console_create(uuid, name && *name ? name : uuid);
        c->state = kb_strdup(state_word(state));
        place(c, &d, l->host, j->host_name);
        kb_consoles_add(&l->map, c);
    }
    kb_libvirt_domain_finish(&d);
    free(xml);
    return true;
}

static bool list_work(struct kb_libvirt_job *j)
{
    struct list_job *l = (struct list_job *)j;
    kb_consoles_destroy(&l->map);
    kb_libvirt_listing(j);
    return each_domain(j, add_domain);
}

static enum kb_listed libvirt_list(struct kb_source_call *call, struct kb_console **map)
{
    struct list_job *l = kb_zalloc(sizeof *l);
    l->job.work = list_work;
    l->job.finish = list_finish;
    l->host = kb_libvirt_host_of(kb_setting_text(call->config, "uri"));
    bool ok = kb_libvirt_run(call, call->state, &l->job);
    if (ok) {
        *map = l->map;
        l->map = NULL;
    }
    kb_libvirt_release(&l->job);
    return ok ? KB_LISTED : KB_LIST_FAILED;
}

static bool libvirt_wait(struct kb_source_call *call)
{
    return kb_libvirt_wait(call, call->state);
}

/* --- one domain, now -------------------------------------------------------------------------- */

/* A question about one console: where it is (and a password for it), or a socket to it. */
struct domain_job {
    struct kb_libvirt_job job;
    char *uuid, *host;
    int64_t expiry; /* ms */
    bool gone;
    struct kb_libvirt_domain domain;
    struct kb_secret ticket;
    int fd;
};

static void domain_finish(struct kb_libvirt_job *j)
{
    struct domain_job *d = (struct domain_job *)j;
    free(d->uuid);
    free(d->host);
    kb_libvirt_domain_finish(&d->domain);
    kb_secret_finish(&d->ticket);
    if (d->fd >= 0)
        close(d->fd);
}

static struct domain_job *domain_job(const struct kb_source_config *config, const char *uuid,
                                     bool (*work)(struct kb_libvirt_job *j))
{
    struct domain_job *d = kb_zalloc(sizeof *d);
    d->job.work = work;
    d->job.finish = domain_finish;
    d->uuid = kb_strdup(uuid);
    d->host = kb_libvirt_host_of(kb_setting_text(config, "uri"));
    d->expiry = kb_setting_number(config, "ticket_expiry");
    d->fd = -1;
    return d;
}

/* The domain, whose XML is in d->domain then; NULL: gone, or the job's why. */
static virDomainPtr find(struct domain_job *d)
{
    struct kb_libvirt_job *j = &d->job;
    virDomainPtr domain = j->lib->virDomainLookupByUUIDString(j->conn, d->uuid);
    char *xml = NULL;
    d->gone = false;
    int active = domain ? j->lib->virDomainIsActive(domain) : -1;
    if (active == 1)
        xml = j->lib->virDomainGetXMLDesc(domain, 0);
    if (active < 0 || (active == 1 && !xml)) {
        kb_libvirt_failed(j, "asking for the domain");
        d->gone = j->error.code == VIR_ERR_NO_DOMAIN;
    }
    kb_libvirt_domain_finish(&d->domain);
    bool ok = xml && kb_libvirt_domain_read(xml, &d->domain);
    if (active == 0 || (xml && !ok)) {
        d->gone = true;
        kb_copy_str(j->error.why, sizeof j->error.why, "the domain has ended");
    }
    free(xml);
    if (!ok && domain)
        j->lib->virDomainFree(domain);
    return ok ? domain : NULL;
}

/* A password of our own for who connects next; who is connected stays. */
static bool mint(struct domain_job *d, virDomainPtr domain)
{
    struct kb_libvirt_job *j = &d->job;
    char password[KB_TOKEN_SIZE];
    kb_token_create(password);
    int64_t until = (kb_clock_wall_ms() + d->expiry + 999) / 1000;
    kb_auto(kb_secret_finish) struct kb_secret xml =
        kb_libvirt_graphics(&d->domain, password, until);
    bool ok = j->lib->virDomainUpdateDeviceFlags(domain, xml.text, VIR_DOMAIN_AFFECT_LIVE) == 0;
    kb_secret_set(&d->ticket, ok ? password : NULL);
    kb_wipe(password, sizeof password);
    if (ok)
        return true;
    kb_libvirt_failed(j, "setting a password");
    /* QEMU itself refuses this when the domain was started without one (whether it was, libvirt
     * tells only those who may read passwords); then it asks for none either. */
    return j->error.code == VIR_ERR_INTERNAL_ERROR && strstr(j->error.why, "'set_password'");
}

/* Whether a connection can be made to it from here at all; false with the job's why. */
static bool reachable(struct domain_job *d)
{
    kb_auto_free char *dialled = kb_libvirt_dial(d->host, d->domain.address);
    kb_auto_free char *why =
        d->domain.local ? kb_strdup("the domain listens on no port, and only the kerbside of its "
                                    "own host can have a socket to it")
                        : kb_printf("the domain listens on %s of its host alone; set spice_listen "
                                    "in the host's qemu.conf",
                                    d->domain.address ? d->domain.address : "an address");
    bool ok = d->domain.local ? !d->host : dialled != NULL;
    if (!ok)
        kb_copy_str(d->job.error.why, sizeof d->job.error.why, why);
    return ok;
}

static bool open_work(struct kb_libvirt_job *j)
{
    struct domain_job *d = (struct domain_job *)j;
    virDomainPtr domain = find(d);
    if (!domain)
        return d->gone;
    bool protected = !d->domain.local && d->domain.protocol == KB_PROTOCOL_SPICE;
    bool ok = reachable(d) && (!protected || (!kb_libvirt_left(j) && mint(d, domain)));
    d->gone = !ok && j->lib->virDomainIsActive(domain) == 0; /* it ended meanwhile */
    j->lib->virDomainFree(domain);
    return ok || d->gone;
}

static enum kb_reason libvirt_open(struct kb_source_call *call, const struct kb_console *console,
                                   struct kb_target **target)
{
    struct domain_job *d = domain_job(call->config, console->uuid, open_work);
    enum kb_reason reason = KB_REASON_SOURCE_FAILED;
    if (kb_libvirt_run(call, call->state, &d->job))
        reason = d->gone ? KB_REASON_CONSOLE_GONE : KB_REASON_NONE;
    if (reason == KB_REASON_NONE) {
        struct kb_console *now = kb_console_create(console->uuid, console->name);
        place(now, &d->domain, d->host, d->job.host_name);
        *target = kb_target_of(call->config, now);
        (*target)->ticket = d->ticket;
        d->ticket = (struct kb_secret){0};
        kb_console_destroy(now);
    }
    kb_libvirt_release(&d->job);
    return reason;
}

/* libvirtd gives one end of a socket pair to QEMU, which asks for no password on it, and the other
 * to us. */
static bool connect_work(struct kb_libvirt_job *j)
{
    struct domain_job *d = (struct domain_job *)j;
    virDomainPtr domain = find(d);
    if (!domain)
        return false;
    d->fd =
        j->lib->virDomainOpenGraphicsFD(domain, d->domain.index, VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH);
    if (d->fd < 0)
        kb_libvirt_failed(j, "asking for a socket to the domain");
    else
        fcntl(d->fd, F_SETFD, FD_CLOEXEC);
    j->lib->virDomainFree(domain);
    return d->fd >= 0;
}

static int libvirt_connect(struct kb_source_call *call, const struct kb_console *console)
{
    struct domain_job *d = domain_job(call->config, console->uuid, connect_work);
    int fd = -1;
    if (kb_libvirt_run(call, call->state, &d->job)) {
        fd = d->fd;
        d->fd = -1;
    }
    kb_libvirt_release(&d->job);
    return fd;
}

/* --- check ------------------------------------------------------------------------------------ */

struct check_job {
    struct kb_libvirt_job job;
    unsigned long library, daemon; /* versions */
    char type[32];
    bool remote;
    unsigned ports, locals; /* domains with SPICE on a port, on none, that were tried */
};

static bool who_work(struct kb_libvirt_job *j)
{
    struct check_job *c = (struct check_job *)j;
    const char *type = j->lib->virConnectGetType(j->conn);
    kb_copy_str(c->type, sizeof c->type, type ? type : "?");
    j->lib->virGetVersion(&c->library, NULL, NULL);
    if (j->lib->virConnectGetLibVersion(j->conn, &c->daemon) < 0)
        return kb_libvirt_failed(j, "asking for the version");
    return true;
}

static bool is_login(int code)
{
    return code == VIR_ERR_AUTH_FAILED || code == VIR_ERR_AUTH_CANCELLED ||
           code == VIR_ERR_AUTH_UNAVAILABLE;
}

/* Asks for what cannot be, so that nothing is changed: libvirtd says whether we may before it looks
 * at what is asked. */
static bool may(struct kb_libvirt_job *j, virDomainPtr domain, bool local)
{
    int result =
        local ? j->lib->virDomainOpenGraphicsFD(domain, NO_SUCH_GRAPHICS, 0)
              : j->lib->virDomainUpdateDeviceFlags(domain, "<nothing/>", VIR_DOMAIN_AFFECT_LIVE);
    if (result >= 0)
        return true;
    kb_libvirt_failed(j, local ? "opening a domain's graphics" : "setting a domain's password");
    int code = j->error.code;
    return code != VIR_ERR_ACCESS_DENIED && code != VIR_ERR_OPERATION_DENIED && !is_login(code);
}

static bool try_domain(struct kb_libvirt_job *j, virDomainPtr domain)
{
    struct check_job *c = (struct check_job *)j;
    struct kb_libvirt_domain d = {0};
    char *xml = j->lib->virDomainGetXMLDesc(domain, 0);
    bool ok = true,
         spice = xml && kb_libvirt_domain_read(xml, &d) && d.protocol == KB_PROTOCOL_SPICE;
    unsigned *tried = d.local ? &c->locals : &c->ports;
    if (spice && !*tried) {
        ++*tried;
        ok = (d.local && c->remote) || may(j, domain, d.local);
    }
    kb_libvirt_domain_finish(&d);
    free(xml);
    return ok;
}

static bool rights_work(struct kb_libvirt_job *j)
{
    struct check_job *c = (struct check_job *)j;
    c->ports = c->locals = 0;
    return each_domain(j, try_domain);
}

static struct check_job *check_job(const struct kb_source_call *call,
                                   bool (*work)(struct kb_libvirt_job *j))
{
    struct check_job *c = kb_zalloc(sizeof *c);
    kb_auto_free char *host = kb_libvirt_host_of(kb_setting_text(call->config, "uri"));
    c->job.work = work;
    c->remote = host != NULL;
    return c;
}

/* What a failure to connect is about. */
static bool connect_failed(struct kb_source_call *call, const struct kb_libvirt_job *j)
{
    const char *why = call->why;
    if (!j->lib)
        return kb_check_failed(call, "library", "Install libvirt0 and restart kerbside.");
    if (is_login(j->said.code))
        return kb_check_failed(call, "login",
                               "Look at username and password; on a local socket let polkit allow "
                               "org.libvirt.unix.manage to kerbside's user.");
    if (strstr(why, "certificate") || strstr(why, "TLS") || j->said.code == VIR_ERR_GNUTLS_ERROR)
        return kb_check_failed(call, "tls",
                               "Look at the CA and client certificate in pkipath (or /etc/pki), "
                               "and whether libvirtd trusts it.");
    if (strstr(why, "Host key") || strstr(why, "publickey"))
        return kb_check_failed(call, "ssh",
                               "kerbside's user needs a key that the host takes and the host's key "
                               "in its known_hosts; nobody is there to be asked.");
    if (strstr(why, "Permission denied"))
        return kb_check_failed(call, "connect",
                               "Let kerbside's user open libvirt's socket: the group libvirt, or "
                               "polkit.");
    if (strstr(why, "No such file") || strstr(why, "refused"))
        return kb_check_failed(
            call, "connect",
            "Start libvirtd there (or libvirtd-tcp.socket, libvirtd-tls.socket), "
            "or look at uri.");
    return kb_check_failed(call, "connect", "Look at uri; virsh -c URI list says the same.");
}

static bool check_connect(struct kb_source_call *call)
{
    struct check_job *c = check_job(call, who_work);
    bool ok = kb_libvirt_run(call, call->state, &c->job);
    if (!ok) {
        connect_failed(call, &c->job);
    } else {
        kb_check_ok(call, "library", "libvirt %lu.%lu.%lu", c->library / 1000000,
                    c->library / 1000 % 1000, c->library % 1000);
        kb_check_ok(call, "connect", "%s on %.100s, libvirt %lu.%lu.%lu", c->type, c->job.host_name,
                    c->daemon / 1000000, c->daemon / 1000 % 1000, c->daemon % 1000);
        kb_check_ok(call, "events", "%s",
                    c->job.events ? "changes are told at once"
                                  : "none: changes are seen when the list is due");
    }
    kb_libvirt_release(&c->job);
    return ok;
}

static bool check_rights(struct kb_source_call *call)
{
    struct check_job *c = check_job(call, rights_work);
    bool ok = kb_libvirt_run(call, call->state, &c->job);
    if (!ok && c->job.said.code == VIR_ERR_OPERATION_DENIED)
        kb_check_failed(call, "rights",
                        "The connection is read-only: use libvirt-sock, not libvirt-sock-ro.");
    else if (!ok)
        kb_check_failed(call, "rights",
                        "Allow domain write and open-graphics; the source's page in docs/sources "
                        "has the polkit rule.");
    else if (c->ports || c->locals)
        kb_check_ok(call, "rights", "%s%s%s", c->ports ? "passwords may be set" : "",
                    c->ports && c->locals ? "; " : "",
                    !c->locals  ? ""
                    : c->remote ? "what is on no port opens on its own host alone"
                                : "sockets may be had");
    else
        kb_check_ok(call, "rights", "no SPICE domain runs to try them with");
    kb_libvirt_release(&c->job);
    return ok;
}

static bool libvirt_check(struct kb_source_call *call)
{
    return check_connect(call) && check_rights(call);
}

const struct kb_source_driver kb_source_driver_libvirt = {
    .type = "libvirt",
    .keys = settings,
    .key_count = sizeof settings / sizeof settings[0],
    .start = libvirt_start,
    .finish = libvirt_finish,
    .list = libvirt_list,
    .open = libvirt_open,
    .connect = libvirt_connect,
    .wait = libvirt_wait,
    .check = libvirt_check,
};
