/* Allocation that ends the program instead of returning NULL; see mem.h for why. Any thread. */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_die(void *p)
{
    if (!p) {
        fputs("kerbside: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *kb_zalloc(size_t n)
{
    return or_die(calloc(1, n ? n : 1));
}

void *kb_calloc(size_t count, size_t size)
{
    return or_die(calloc(count ? count : 1, size ? size : 1));
}

void *kb_realloc(void *p, size_t n)
{
    return or_die(realloc(p, n ? n : 1));
}

char *kb_strdup(const char *s)
{
    return s ? or_die(strdup(s)) : NULL;
}

char *kb_printf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *s = NULL;
    if (vasprintf(&s, format, args) < 0)
        s = NULL;
    va_end(args);
    return or_die(s);
}

int kb_copy_str(char *to, size_t size, const char *from)
{
    size_t n = from ? strlen(from) : 0;
    int whole = n < size;
    if (!whole) {
        n = size - 1;
        /* Not inside a UTF-8 character; one that is not UTF-8 is cut where it is. */
        size_t back = 0;
        while (back < 3 && back < n && ((unsigned char)from[n - back] & 0xc0) == 0x80)
            back++;
        if (((unsigned char)from[n - back] & 0xc0) != 0x80)
            n -= back;
    }
    if (n)
        memcpy(to, from, n);
    to[n] = '\0';
    return whole;
}
