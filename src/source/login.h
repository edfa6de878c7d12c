/* A login that the calls of one source share: made when it is needed, by one of them while the
 * others wait for it, dropped when the cloud refuses it. In memory only, and wiped. */
#ifndef KB_SOURCE_LOGIN_H
#define KB_SOURCE_LOGIN_H

#include "source/driver.h"

#include <pthread.h>

struct kb_login {
    pthread_mutex_t lock;
    struct kb_secret token; /* none: not logged in */
    struct kb_secret more;  /* what came with it: an endpoint, a second token; or none */
    uint64_t until_us;      /* monotonic: to be made anew from then on; 0: until it is refused */
};

struct kb_login *kb_login_create(void);
void kb_login_destroy(struct kb_login *l); /* takes NULL */

/* A copy for one call. */
struct kb_pass {
    struct kb_secret token, more;
};
void kb_pass_finish(struct kb_pass *p);

/* make: logs in and sets token, more and until_us; false with call->why. */
bool kb_login_get(struct kb_login *l, struct kb_source_call *call,
                  bool (*make)(struct kb_source_call *call, struct kb_login *l),
                  struct kb_pass *pass);
/* The cloud refused this one: forgotten, unless another call has a newer one already. */
void kb_login_drop(struct kb_login *l, const struct kb_pass *pass);

#endif
