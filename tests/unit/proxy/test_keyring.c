/* The ring renews its key by use, off the loop, and never waits for the new one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proxy/keyring.h"

#include <unistd.h>

struct fixture {
    struct kb_loop *loop;
    struct kb_worker maker;
    struct kb_keyring ring;
    struct kb_ticket_key *first;
};

static int set_up(void **state)
{
    static struct fixture f;
    f.loop = kb_loop_create(0);
    kb_worker_init(&f.maker);
    kb_worker_start(&f.maker, "key-maker");
    f.first = kb_ticket_key_create();
    kb_keyring_init(&f.ring, f.loop, &f.maker, f.first);
    *state = &f;
    return f.first ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    kb_keyring_finish(&f->ring);
    kb_worker_stop(&f->maker);
    kb_loop_destroy(f->loop);
    kb_ticket_key_unref(f->first);
    return 0;
}

/* Takes keys until one is not `old`; the number taken, or 0 if none came after `most`. */
static unsigned take_until_new(struct fixture *f, const struct kb_ticket_key *old, unsigned most,
                               uint64_t now_us)
{
    for (unsigned i = 1; i <= most; i++) {
        struct kb_ticket_key *k = kb_keyring_take(&f->ring, now_us);
        bool is_new = k != old;
        kb_ticket_key_unref(k);
        if (is_new)
            return i;
        if (f->ring.request)
            uv_run(&f->loop->uv, UV_RUN_ONCE); /* the new key comes as a message */
    }
    return 0;
}

static void test_renewed_by_use(void **state)
{
    unsigned taken = take_until_new(*state, ((struct fixture *)*state)->first, 5000, 1);
    assert_in_range(taken, 2000, 2500);
}

static void test_renewed_by_age(void **state)
{
    struct fixture *f = *state;
    struct kb_ticket_key *k = kb_keyring_take(&f->ring, 1);
    kb_ticket_key_unref(k);
    assert_int_equal(take_until_new(f, k, 5, 1000000), 0);
    assert_in_range(take_until_new(f, k, 5, 62000000), 1, 3);
}

static void test_ends_with_a_request_under_way(void **state)
{
    struct fixture *f = *state;
    while (!f->ring.request)
        kb_ticket_key_unref(kb_keyring_take(&f->ring, 1));
}

int main(void)
{
    alarm(120);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_renewed_by_use, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_renewed_by_age, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ends_with_a_request_under_way, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("proxy/keyring", tests, NULL, NULL);
}
