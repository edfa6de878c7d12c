/* Hints to the scheduler. See priority.h. */
#include "base/priority.h"

#include "base/clock.h"

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* sched_attr of sched_setattr(2): glibc has it since 2.41, and the kernel's header beside glibc's
 * older ones clashes. */
struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

/* Where both are busy, about a third of what a thread of data gets. */
#define GIVE_WAY_NICE 5

/* A thread of data that was just ahead of its share does not end the slice of another when it is
 * woken; the other has to offer. */
#define OFFER_US 200

/* The shortest that the kernel takes. A woken thread ends another's slice before its time only if
 * its own slice is the shorter one; else it waits for the clock tick: every 4 ms with HZ=250. */
#define PROMPT_SLICE_NS 100000

void kb_thread_be_prompt(void)
{
    struct attr attr = {.size = sizeof attr};
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) != 0)
        return;
    attr.runtime = PROMPT_SLICE_NS;
    syscall(SYS_sched_setattr, 0, &attr, 0);
}

static _Thread_local uint64_t ran_since_us;

void kb_thread_give_way(void)
{
    if (ran_since_us == 0) {
        /* On Linux a thread has a nice value of its own (sched(7)). */
        int nice = getpriority(PRIO_PROCESS, 0) + GIVE_WAY_NICE;
        setpriority(PRIO_PROCESS, 0, nice < 19 ? nice : 19);
    }
    ran_since_us = kb_clock_us();
}

void kb_thread_offer(void)
{
    uint64_t now = kb_clock_us();
    if (now - ran_since_us < OFFER_US)
        return;
    sched_yield();
    ran_since_us = now;
}
