/* Hints to the scheduler: of one thread each, and none undoes another. */
#include "base/priority.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

/* sched_attr of sched_setattr(2): glibc has it since 2.41, and the kernel's header beside glibc's
 * older ones clashes. */
struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

struct seen {
    void (*hint)(void);
    struct attr before, after;
};

static struct attr now(void)
{
    struct attr attr = {.size = sizeof attr};
    assert_int_equal(syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0), 0);
    return attr;
}

static void *take_hint(void *arg)
{
    struct seen *s = arg;
    s->before = now();
    s->hint();
    s->hint();
    s->after = now();
    return NULL;
}

static struct seen in_a_thread(void (*hint)(void))
{
    struct seen s = {.hint = hint};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take_hint, &s), 0);
    pthread_join(thread, NULL);
    return s;
}

static void prompt(void **state)
{
    (void)state;
    struct seen s = in_a_thread(kb_thread_be_prompt);
    /* A kernel before 6.12 says 0 before and after. */
    assert_int_equal(s.after.runtime, s.before.runtime ? 100000 : 0);
    assert_int_equal(s.after.nice, s.before.nice);
    assert_int_equal(s.after.policy, s.before.policy);
}

static void gives_way(void **state)
{
    (void)state;
    int mine = getpriority(PRIO_PROCESS, 0);
    struct seen s = in_a_thread(kb_thread_give_way);
    assert_int_equal(s.after.nice, mine + 5 < 19 ? mine + 5 : 19);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), mine);
}

static void give_way_and_offer(void)
{
    kb_thread_give_way();
    kb_thread_offer();
}

/* It goes on, and is no lower for it. */
static void offers(void **state)
{
    (void)state;
    struct seen once = in_a_thread(kb_thread_give_way);
    struct seen s = in_a_thread(give_way_and_offer);
    assert_int_equal(s.after.nice, once.after.nice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompt),
        cmocka_unit_test(gives_way),
        cmocka_unit_test(offers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
