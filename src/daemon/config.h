/* The configuration file (YAML) as one immutable struct, with every problem reported, not just the
 * first: "FILE:LINE: path.of.key: what is wrong". What is wrong inside one source costs that source
 * alone; any other error refuses the whole. Relative paths in a file start in that file's folder.
 * Reads the files that it names, the environment and the machine's name; changes nothing. */
#ifndef KB_DAEMON_CONFIG_H
#define KB_DAEMON_CONFIG_H

#include "base/buf.h"
#include "base/log.h"
#include "base/secret.h"
#include "identity/settings.h"
#include "policy/book.h"
#include "source/source.h"

enum { KB_ACCEPT_SPICE = 1, KB_ACCEPT_HTTP = 2, KB_ACCEPT_REDIRECT = 4 };

/* One with an ECDSA key, one with an RSA key. */
#define KB_CONFIG_CERTIFICATES 2

struct kb_config_listen {
    char *address; /* "host:port", "[v6]:port", as written */
    char *host;    /* without brackets; "" means all addresses */
    uint16_t port; /* 0: any free one (tests) */
    unsigned accept;
};

struct kb_config {
    char *file;
    struct kb_config_listen *listens;
    size_t listen_count;
    char *metrics_host; /* NULL: metrics off; "": all addresses */
    uint16_t metrics_port;
    struct {
        char *host;          /* default: the machine's name */
        uint16_t spice_port; /* default: port of the first listener that accepts spice; 0 if
                                that is any free one, to be filled in once it is bound */
        uint16_t plain_port; /* default 0: none */
        char *url;           /* default: https://host:port of the first listener that accepts
                                http; NULL if that is any free one; no slash at the end */
    } public;
    struct {
        /* Paths to PEM, checked; all NULL: self-made. Each key is that of the certificate with its
         * number; a second pair has a key of another kind and the same subject. */
        char *certificate[KB_CONFIG_CERTIFICATES], *key[KB_CONFIG_CERTIFICATES], *ca;
    } tls;
    char *state_dir, *runtime_dir;
    char *store_url;
    char *node_name; /* default: the machine's name */
    unsigned loops;  /* 0: one per core */
    struct {
        int64_t start_within, exchange_within, max_session, idle_timeout; /* ms; 0: none */
        bool reusable;
    } grants;
    struct {
        int64_t audit, sessions; /* ms; 0: kept for ever */
    } retention;
    bool local_logins; /* identity.local.enabled */
    struct kb_identity_config identity;
    struct kb_policy_book *policies; /* never NULL; the daemon refs it */
    struct {
        enum kb_log_format format; /* auto */
        enum kb_log_level level;   /* info */
    } log;
    int64_t drain; /* ms, default 10 s */
    struct {
        int64_t setup;   /* client: TCP accept to ticket, default 10 s */
        int64_t connect; /* hypervisor: each address, default 5 s */
        int64_t link;    /* hypervisor: TLS and link, default 10 s */
        int64_t request; /* HTTP: a request to its answer's begin, default 60 s */
    } timeouts;
    struct {
        unsigned connections;      /* default 10000 */
        unsigned handshakes;       /* under way on one loop, default 2000 */
        unsigned session_channels; /* default 64 */
        unsigned user_sessions;    /* default 0: no limit */
        unsigned address_sessions; /* default 0: no limit */
        unsigned http_requests;    /* a second, default 500; 0: no limit */
    } limits;
    struct kb_source_config *sources;
    size_t source_count;  /* those with `error` set included */
    unsigned bad_sources; /* with something wrong; one without a name of its own is left out */
    unsigned warnings;    /* among the problems */
};

/* NULL if there is an error that is not inside one source. problems gets a line each, sorted by
 * line number: "FILE:LINE: path.of.key: ..." is an error, the same with "source NAME is not
 * loaded:" before the words is one inside a source, "FILE:LINE: warning: path.of.key: ..." a
 * warning. */
struct kb_config *kb_config_load(const char *file, struct kb_buf *problems);
/* The same from text; file is only a name, for messages and for where relative paths start. */
struct kb_config *kb_config_parse(const char *file, struct kb_span text, struct kb_buf *problems);
void kb_config_destroy(struct kb_config *c); /* takes NULL */

#endif
