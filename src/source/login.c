/* The shared login. Threads of drivers; the lock is held while one of them logs in, so that ten
 * calls that find it expired do not log in ten times. */
#include "source/login.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct kb_login *kb_login_create(void)
{
    struct kb_login *l = kb_zalloc(sizeof *l);
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

static void forget(struct kb_login *l)
{
    kb_secret_finish(&l->token);
    kb_secret_finish(&l->more);
    l->until_us = 0;
}

void kb_login_destroy(struct kb_login *l)
{
    if (!l)
        return;
    forget(l);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void kb_pass_finish(struct kb_pass *p)
{
    kb_secret_finish(&p->token);
    kb_secret_finish(&p->more);
}

bool kb_login_get(struct kb_login *l, struct kb_source_call *call,
                  bool (*make)(struct kb_source_call *call, struct kb_login *l),
                  struct kb_pass *pass)
{
    pthread_mutex_lock(&l->lock);
    if (l->until_us && kb_clock_us() >= l->until_us)
        forget(l);
    bool ok = l->token.text || make(call, l);
    kb_pass_finish(pass);
    if (ok) {
        kb_secret_set(&pass->token, kb_secret_text(&l->token));
        kb_secret_set(&pass->more, kb_secret_text(&l->more));
    } else {
        forget(l);
    }
    pthread_mutex_unlock(&l->lock);
    return ok;
}

void kb_login_drop(struct kb_login *l, const struct kb_pass *pass)
{
    pthread_mutex_lock(&l->lock);
    if (strcmp(kb_secret_text(&l->token), kb_secret_text(&pass->token)) == 0)
        forget(l);
    pthread_mutex_unlock(&l->lock);
}
