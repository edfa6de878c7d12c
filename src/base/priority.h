/* Who has a core first where threads of data and of HTTP want the same one. Hints to the scheduler:
 * where one is not known or not allowed, the thread goes on as it was. For the calling thread.
 *
 * Source: sched(7), sched_setattr(2); normal threads have slices of their own since Linux 6.12. */
#ifndef KB_BASE_PRIORITY_H
#define KB_BASE_PRIORITY_H

/* Threads that move data, once: woken, they have the core at once, for short pieces. */
void kb_thread_be_prompt(void);
/* Threads whose work may take a little longer (HTTP, questions to clouds, the making of keys): at
 * the beginning of each piece of it. */
void kb_thread_give_way(void);
/* The same threads in the midst of what may take a millisecond: lets others go first if it has run
 * for 0.2 ms. Cheap: a look at the clock. */
void kb_thread_offer(void);

#endif
