/* Cleanup by scope, in place of goto chains. */
#ifndef KB_BASE_AUTO_H
#define KB_BASE_AUTO_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void kb_auto_free_(void *p)
{
    free(*(void **)p);
}

static inline void kb_auto_close_(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void kb_auto_fclose_(FILE **f)
{
    if (*f)
        fclose(*f);
}

#define kb_auto_free __attribute__((cleanup(kb_auto_free_)))
#define kb_auto_close __attribute__((cleanup(kb_auto_close_)))
#define kb_auto_fclose __attribute__((cleanup(kb_auto_fclose_)))
/* kb_auto(kb_buf_finish) struct kb_buf b = {0}; the function takes a pointer to the variable. */
#define kb_auto(finish) __attribute__((cleanup(finish)))

#define KB_MUST_CHECK __attribute__((warn_unused_result))

#endif
