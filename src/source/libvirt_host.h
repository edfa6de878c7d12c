/* A connection to one libvirtd, shared by the calls of a source, and questions to it that can be
 * left behind. libvirt's library blocks for as long as it pleases and cannot be interrupted, so
 * each question is a job on a thread of its own: the call waits for it no longer than it may, and a
 * job that nobody waits for any more ends when libvirt lets it
 * (docs/decisions/0062-libvirt-is-asked-from-threads-that-can-be-left.md). */
#ifndef KB_SOURCE_LIBVIRT_HOST_H
#define KB_SOURCE_LIBVIRT_HOST_H

#include "source/driver.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

/* --- the library ------------------------------------------------------------------------------ */

/* Loaded when the first source needs it, so that a machine without libvirt runs kerbside and one
 * that does not use it does not pay for it. */
#define KB_LIBVIRT_CALLS(X)                                                                        \
    X(virInitialize)                                                                               \
    X(virSetErrorFunc)                                                                             \
    X(virGetLastError)                                                                             \
    X(virResetLastError)                                                                           \
    X(virGetVersion)                                                                               \
    X(virEventRegisterDefaultImpl)                                                                 \
    X(virEventRunDefaultImpl)                                                                      \
    X(virConnectOpenAuth)                                                                          \
    X(virConnectRef)                                                                               \
    X(virConnectClose)                                                                             \
    X(virConnectIsAlive)                                                                           \
    X(virConnectSetKeepAlive)                                                                      \
    X(virConnectRegisterCloseCallback)                                                             \
    X(virConnectUnregisterCloseCallback)                                                           \
    X(virConnectDomainEventRegisterAny)                                                            \
    X(virConnectDomainEventDeregisterAny)                                                          \
    X(virConnectGetHostname)                                                                       \
    X(virConnectGetType)                                                                           \
    X(virConnectGetLibVersion)                                                                     \
    X(virConnectListAllDomains)                                                                    \
    X(virDomainLookupByUUIDString)                                                                 \
    X(virDomainGetName)                                                                            \
    X(virDomainGetUUIDString)                                                                      \
    X(virDomainGetState)                                                                           \
    X(virDomainIsActive)                                                                           \
    X(virDomainGetXMLDesc)                                                                         \
    X(virDomainUpdateDeviceFlags)                                                                  \
    X(virDomainOpenGraphicsFD)                                                                     \
    X(virDomainFree)

struct kb_libvirt {
#define KB_LIBVIRT_MEMBER(name) __typeof__(name) *name;
    KB_LIBVIRT_CALLS(KB_LIBVIRT_MEMBER)
#undef KB_LIBVIRT_MEMBER
};
/* The same for all; NULL with *why, a text that stays, when it cannot be loaded. */
const struct kb_libvirt *kb_libvirt_load(const char **why);

/* --- the host --------------------------------------------------------------------------------- */

struct kb_libvirt_host;

/* Asks nobody; the texts are copied, user and password may be "". */
struct kb_libvirt_host *kb_libvirt_host_create(const char *uri, const char *user,
                                               const char *password);
/* Ends the connection; jobs that still run keep what they need. */
void kb_libvirt_host_destroy(struct kb_libvirt_host *h);

/* Waits until something of its domains or of the connection has changed since the last
 * kb_libvirt_listing (true), or for the call's end (false). False with call->why: libvirtd sends no
 * events. */
bool kb_libvirt_wait(struct kb_source_call *call, struct kb_libvirt_host *h);

/* --- questions -------------------------------------------------------------------------------- */

struct kb_libvirt_error {
    int code; /* libvirt's (virterror.h), or 0 */
    char why[256];
};

/* The first member of a job's own struct, which is zeroed memory from malloc. */
struct kb_libvirt_job {
    /* The caller's: on the job's thread, with lib and conn; false with kb_libvirt_failed. It may
     * run again when the connection was lost under it, and reaches nothing but the job. */
    bool (*work)(struct kb_libvirt_job *j);
    void (*finish)(struct kb_libvirt_job *j); /* frees what is its own, not the job; or NULL */
    /* work's */
    const struct kb_libvirt *lib;
    virConnectPtr conn;
    char host_name[256];           /* the hypervisor's own name for itself, or "" */
    bool events;                   /* the connection tells of changes */
    struct kb_libvirt_error error; /* the last */
    /* the caller's, after kb_libvirt_run: the job's error, if it has ended */
    struct kb_libvirt_error said;
    /* kb_libvirt_run's */
    struct kb_libvirt_host *host;
    unsigned refs;
    bool ok, done;
    atomic_bool left;           /* nobody waits any more: work may give up */
    _Atomic uint64_t answer_us; /* monotonic: when libvirt last answered */
};

/* Runs the job and waits for it, as long as libvirt answers at least once in the source's timeout.
 * False with call->why. Either way release it then; what work wrote is the caller's to read only
 * after true. */
KB_MUST_CHECK bool kb_libvirt_run(struct kb_source_call *call, struct kb_libvirt_host *h,
                                  struct kb_libvirt_job *j);
void kb_libvirt_release(struct kb_libvirt_job *j);

/* For work: libvirt's last error goes into the job as "WHAT: its words"; returns false. */
bool kb_libvirt_failed(struct kb_libvirt_job *j, const char *what);
/* For work: a list begins here, so changes from now on are news. */
void kb_libvirt_listing(struct kb_libvirt_job *j);
/* For work, between two questions; true: nobody waits any more. */
bool kb_libvirt_left(struct kb_libvirt_job *j);

#endif
