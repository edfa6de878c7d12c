/* What every backend needs and no database does: its list of audit events, and one spelling for
 * addresses. Runs on the backend's thread; no SQL. */
#include "store/backend.h"

#include "base/mem.h"

#include <arpa/inet.h>

void kb_backend_init(struct kb_backend *b, const struct kb_backend_type *type, const char *node)
{
    b->type = type;
    b->node = kb_strdup(node);
}

void kb_backend_finish(struct kb_backend *b)
{
    free(b->node);
    free(b->error);
    free(b->events);
}

struct kb_audit_event *kb_backend_audit(struct kb_backend *b, const char *event)
{
    if (b->event_count == b->event_space) {
        b->event_space = b->event_space ? b->event_space * 2 : 8;
        size_t size;
        if (__builtin_mul_overflow(b->event_space, sizeof *b->events, &size))
            abort();
        b->events = kb_realloc(b->events, size);
    }
    struct kb_audit_event *e = &b->events[b->event_count++];
    *e = (struct kb_audit_event){.time = b->now};
    kb_copy_str(e->event, sizeof e->event, event);
    kb_copy_str(e->node, sizeof e->node, b->node);
    return e;
}

void kb_backend_address(const char *from, char to[64])
{
    struct in6_addr v6;
    struct in_addr v4;
    if (inet_pton(AF_INET6, from, &v6) == 1) {
        if (IN6_IS_ADDR_V4MAPPED(&v6))
            inet_ntop(AF_INET, &v6.s6_addr[12], to, 64);
        else
            inet_ntop(AF_INET6, &v6, to, 64);
    } else if (inet_pton(AF_INET, from, &v4) == 1) {
        inet_ntop(AF_INET, &v4, to, 64);
    } else {
        kb_copy_str(to, 64, from);
    }
}
