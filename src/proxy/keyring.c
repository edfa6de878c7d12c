/* Renewing the ticket keys. A ring belongs to its loop; the making of a key happens on the maker's
 * thread and comes back as a message. */
#include "proxy/keyring.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/priority.h"

#include <stdlib.h>

/* A ticket inside TLS gains nothing from a key of its own; the bounds only keep a key that leaked
 * from opening old recordings of anything for long. Making one takes 12 ms: over 2048 uses that is
 * nothing, over 128 it was a tenth of what a channel costs. */
#define KEY_USES 2048
#define KEY_AGE_US (60 * 1000000ull)

struct kb_key_request {
    struct kb_message message;
    struct kb_loop *loop;
    struct kb_keyring *ring; /* NULL: it went away meanwhile; the loop's thread only */
    struct kb_ticket_key *key;
};

void kb_keyring_init(struct kb_keyring *r, struct kb_loop *l, struct kb_worker *maker,
                     struct kb_ticket_key *first)
{
    *r = (struct kb_keyring){.loop = l, .maker = maker, .key = kb_ticket_key_ref(first)};
}

static void key_came(struct kb_message *m)
{
    struct kb_key_request *q = (struct kb_key_request *)m;
    if (q->ring && q->key) {
        kb_ticket_key_unref(q->ring->key);
        q->ring->key = q->key;
        q->ring->uses = 0;
        q->ring->since_us = 0;
        q->key = NULL;
    } else if (!q->key) {
        kb_log(KB_LOG_ERROR, "key.failed", KB_STR("what", "OpenSSL cannot make an RSA-1024 key"));
    }
    if (q->ring)
        q->ring->request = NULL;
    kb_ticket_key_unref(q->key);
    free(q);
}

static void make_key(struct kb_message *m)
{
    struct kb_key_request *q = (struct kb_key_request *)m;
    kb_thread_give_way(); /* the old key is good meanwhile, and a loop may want this core */
    q->key = kb_ticket_key_create();
    q->message.run = key_came;
    kb_loop_post(q->loop, &q->message);
}

struct kb_ticket_key *kb_keyring_take(struct kb_keyring *r, uint64_t now_us)
{
    if (r->since_us == 0)
        r->since_us = now_us;
    r->uses++;
    if (!r->request && (r->uses > KEY_USES || now_us - r->since_us > KEY_AGE_US)) {
        r->request = kb_zalloc(sizeof *r->request);
        r->request->message.run = make_key;
        r->request->loop = r->loop;
        r->request->ring = r;
        kb_mailbox_post(&r->maker->box, &r->request->message);
    }
    return kb_ticket_key_ref(r->key);
}

void kb_keyring_finish(struct kb_keyring *r)
{
    if (r->request)
        r->request->ring = NULL;
    kb_ticket_key_unref(r->key);
    *r = (struct kb_keyring){0};
}
