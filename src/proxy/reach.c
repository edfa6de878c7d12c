/* How a target is to be reached, and whether who answers there is who it should be. Pure; any
 * thread, but for kb_reach_dial, which is a loop's. Linking is approach.c's, and diagnose.c's. */
#include "proxy/reach.h"

#include "spice/host_subject.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>

/* A unix socket never leaves the machine and spice-server takes no TLS on it. Otherwise the source
 * decides; `prefer` takes TLS where it can prove who answers, or where there is nothing else. */
bool kb_reach_begins_with_tls(const struct kb_target *t)
{
    if (t->unix_socket || t->tls == KB_TLS_PLAIN)
        return false;
    if (t->tls == KB_TLS_PREFER)
        return t->tls_port && (t->ca_pem || t->host_subject || !t->port);
    return true;
}

bool kb_reach_may_redirect(const struct kb_target *t, enum kb_reason reason)
{
    return reason == KB_REASON_SERVER_NEEDS_TLS && t->tls == KB_TLS_PREFER && t->tls_port;
}

struct kb_dial *kb_reach_dial(const struct kb_target *t, bool tls, struct kb_loop *l,
                              struct kb_worker *resolver, uint64_t each_ms,
                              void (*done)(void *arg, const struct kb_dial_result *r), void *arg,
                              enum kb_reason *reason, const char **detail)
{
    uint16_t port = tls ? t->tls_port : t->port;
    *reason = KB_REASON_SERVER_NO_ADDRESS;
    *detail = NULL;
    if (t->protocol != KB_PROTOCOL_SPICE) {
        *reason = KB_REASON_SERVER_NOT_SPICE;
        return NULL;
    }
    if (t->transport == KB_TRANSPORT_UNIX)
        return kb_dial_unix(l, t->unix_socket, each_ms, done, arg);
    if (tls && !port)
        *reason = KB_REASON_SERVER_NO_TLS_PORT;
    else if (t->transport == KB_TRANSPORT_WEBSOCKET)
        *detail = "this version does not open consoles behind a WebSocket";
    else if (!t->host || !port || (t->transport == KB_TRANSPORT_CONNECT && !t->proxy_host))
        ;
    else if (t->transport == KB_TRANSPORT_CONNECT)
        return kb_dial_tunnel(l, resolver, t->proxy_host, t->proxy_port, t->host, port, each_ms,
                              done, arg);
    else
        return kb_dial_tcp(l, resolver, t->host, port, each_ms, done, arg);
    return NULL;
}

const char *kb_reach_sni(const struct kb_target *t)
{
    bool name = t->transport == KB_TRANSPORT_TCP && !kb_reach_is_address(t->host);
    return name ? t->host : NULL;
}

void kb_reach_describe(const struct kb_target *t, struct kb_buf *out)
{
    const char *host = t->unix_socket ? t->unix_socket : t->host ? t->host : "its source";
    bool v6 = strchr(host, ':');
    kb_buf_printf(out, "%s%s%s", v6 ? "[" : "", host, v6 ? "]" : "");
    if (t->host)
        kb_buf_printf(out, ":%u", kb_reach_begins_with_tls(t) ? t->tls_port : t->port);
}

bool kb_reach_is_address(const char *host)
{
    uint8_t raw[16];
    return inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1;
}

static bool certificate_names(X509 *x, const char *host)
{
    return host && (kb_reach_is_address(host) ? X509_check_ip_asc(x, host, 0) == 1
                                              : X509_check_host(x, host, 0, 0, NULL) == 1);
}

/* The chain is proved by now. A pinned subject takes the place of the host's name, as in SPICE
 * clients (spice-common, ssl_verify.c). */
enum kb_reason kb_reach_check(const struct kb_target *t, X509 *x, struct kb_buf *detail)
{
    if (!x)
        return KB_REASON_SERVER_TLS_FAILED;
    if (t->host_subject) {
        if (kb_host_subject_matches(t->host_subject, X509_get_subject_name(x)))
            return KB_REASON_NONE;
        kb_buf_printf(detail, "expected \"%s\", got \"", t->host_subject);
        if (!kb_host_subject_format(detail, X509_get_subject_name(x)))
            kb_buf_add_str(detail, "a subject that no pin can say");
        kb_buf_add_str(detail, "\"");
        return KB_REASON_SERVER_SUBJECT;
    }
    if (certificate_names(x, t->host) || certificate_names(x, t->tls_name))
        return KB_REASON_NONE;
    kb_buf_printf(detail, "it is not for %s%s%s", t->host, t->tls_name ? " or " : "",
                  t->tls_name ? t->tls_name : "");
    return KB_REASON_SERVER_NAME;
}
