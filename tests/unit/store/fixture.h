/* A store in a directory of its own, a clock that the test sets, and short names for the calls that
 * every test makes. */
#ifndef KB_TEST_STORE_FIXTURE_H
#define KB_TEST_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "store/backend.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

static _Atomic int64_t test_now = 1000000000000;

static inline int64_t test_clock(void)
{
    return atomic_load(&test_now);
}

struct fixture {
    char dir[64];
    struct kb_store *store;
};

static inline struct kb_store *open_store(struct fixture *f)
{
    char *error = NULL;
    struct kb_store *s = kb_store_create("sqlite:k.db", f->dir, "node-1", &error);
    if (!s)
        fail_msg("%s", error);
    kb_store_set_clock(s, test_clock);
    f->store = s;
    return s;
}

static inline void make_dir(struct fixture *f)
{
    kb_copy_str(f->dir, sizeof f->dir, "/tmp/kb-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
}

static inline char *in_dir(const struct fixture *f, const char *name)
{
    return kb_printf("%s/%s", f->dir, name);
}

static inline void remove_dir(struct fixture *f)
{
    DIR *d = opendir(f->dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(f->dir);
}

static inline int setup(void **state)
{
    assert_true(kb_secret_start());
    atomic_store(&test_now, 1000000000000);
    struct fixture *f = kb_zalloc(sizeof *f);
    make_dir(f);
    open_store(f);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    kb_store_destroy(f->store);
    remove_dir(f);
    free(f);
    return 0;
}

/* --- calls ------------------------------------------------------------------------------------ */

#define RUN(f, c) kb_store_run((f)->store, &(c).call)

static inline void sync_one(struct fixture *f, const char *source, const char *uuid,
                            const char *name)
{
    struct kb_console_row row = {.uuid = (char *)(uintptr_t)uuid,
                                 .name = (char *)(uintptr_t)name,
                                 .hypervisor = (char *)(uintptr_t) "hv1",
                                 .insecure_port = 5900};
    struct kb_store_sync_consoles c = {
        .call.verb = KB_STORE_SYNC_CONSOLES, .source = source, .rows = &row, .count = 1};
    assert_int_equal(RUN(f, c), KB_STORE_OK);
}

static inline struct kb_hash hash_of(const char *text)
{
    return kb_hash_of(text, strlen(text));
}

static inline struct kb_store_create_grant grant_call(const char *token)
{
    return (struct kb_store_create_grant){
        .call.verb = KB_STORE_CREATE_GRANT,
        .source = "lab",
        .uuid = "u1",
        .user = "alice",
        .created_by = "broker",
        .hash = hash_of(token),
        .start_within = 60000,
        .exchange_within = 300000,
        .max_session = 7200000,
        .idle_timeout = 900000,
    };
}

/* Makes the grant; its id is in id. */
static inline void create_grant(struct fixture *f, struct kb_store_create_grant c,
                                char id[KB_ID_SIZE])
{
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    if (id)
        memcpy(id, c.row.id, KB_ID_SIZE);
    kb_grant_row_finish(&c.row);
}

static inline struct kb_store_redeem_grant redeem(struct fixture *f, const char *token,
                                                  const char *address)
{
    struct kb_store_redeem_grant c = {.call.verb = KB_STORE_REDEEM_GRANT,
                                      .token_hash = hash_of(token)};
    kb_copy_str(c.client_address, sizeof c.client_address, address);
    RUN(f, c);
    return c;
}

static inline void assert_denied(struct fixture *f, const char *token, const char *address,
                                 enum kb_reason reason)
{
    struct kb_store_redeem_grant c = redeem(f, token, address);
    assert_int_equal(c.call.status, KB_STORE_DENIED);
    assert_string_equal(kb_reason_name(c.reason), kb_reason_name(reason));
    assert_string_equal(c.session.id, "");
}

static inline enum kb_store_status end_session(struct fixture *f, const char *id)
{
    struct kb_store_end_session c = {.call.verb = KB_STORE_END_SESSION,
                                     .actor = "root",
                                     .reason = KB_REASON_TERMINATED,
                                     .bytes_from_client = 11,
                                     .bytes_from_server = 22};
    kb_copy_str(c.id, sizeof c.id, id);
    return RUN(f, c);
}

/* The newest audit events of a name, newest first; to be finished. kb_store_audit only posts, so a
 * ping goes first: the writing thread keeps the order. */
static inline struct kb_store_list_audit events(struct fixture *f, const char *event)
{
    struct kb_store_ping ping = {.call.verb = KB_STORE_PING};
    assert_int_equal(RUN(f, ping), KB_STORE_OK);
    struct kb_store_list_audit c = {
        .call.verb = KB_STORE_LIST_AUDIT, .event = event, .limit = 1000};
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    return c;
}

static inline size_t count_events(struct fixture *f, const char *event)
{
    struct kb_store_list_audit c = events(f, event);
    size_t n = c.count;
    kb_store_list_audit_finish(&c);
    return n;
}

/* The one event of that name. */
static inline struct kb_audit_event only_event(struct fixture *f, const char *event)
{
    struct kb_store_list_audit c = events(f, event);
    if (c.count != 1)
        fail_msg("%zu events %s, not one", c.count, event);
    struct kb_audit_event e = c.rows[0];
    kb_store_list_audit_finish(&c);
    return e;
}

#endif
