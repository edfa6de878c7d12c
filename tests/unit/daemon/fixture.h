/* What the tests of the configuration share: a folder of their own, files in it, certificates. */
#ifndef KB_TEST_DAEMON_FIXTURE_H
#define KB_TEST_DAEMON_FIXTURE_H

#include "base/auto.h"
#include "base/mem.h"
#include "daemon/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

struct fixture {
    char folder[64];
    char *file;             /* folder/kerbside.yaml, written by load() */
    struct kb_buf problems; /* of the last load */
};

int setup(void **state);
int teardown(void **state); /* removes the folder and all files in it */
/* folder/name, to be freed; writes text to it unless that is NULL. */
char *put(struct fixture *f, const char *name, const char *text);
char *slurp(const char *path); /* to be freed; fails the test if it cannot be read */
/* Writes the text as folder/kerbside.yaml and loads that. The text may hold "@", for the folder. */
struct kb_config *load(struct fixture *f, const char *text);
/* What the last load found is exactly this; "@" stands for the folder. */
void assert_problems(struct fixture *f, const char *expected);
char *expand(const struct fixture *f, const char *text); /* "@" by the folder; to be freed */

/* A self-signed certificate (PEM) and its key, ECDSA or RSA, to be freed; days: until it expires,
 * may be negative. */
void make_certificate(const char *name, long days, char **certificate, char **key);
void make_rsa_certificate(const char *name, long days, char **certificate, char **key);

#endif
