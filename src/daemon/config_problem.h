/* What is wrong with a configuration: all of it, in the order of the file, a line each. */
#ifndef KB_DAEMON_CONFIG_PROBLEM_H
#define KB_DAEMON_CONFIG_PROBLEM_H

#include "base/buf.h"

enum kb_config_severity {
    KB_CONFIG_WARNING, /* it is odd, but means something */
    KB_CONFIG_SKIPPED, /* this source is left out, the rest stands */
    KB_CONFIG_ERROR,   /* the configuration as a whole is refused */
};

/* No more than this are kept, errors before others; whoever has so many has one mistake that looks
 * like many. */
#define KB_CONFIG_PROBLEMS_MAX 100

struct kb_config_problem {
    enum kb_config_severity severity;
    size_t document; /* which file, counted in the order of opening */
    size_t line;     /* from 1; 0: the file as a whole */
    size_t number;   /* in the order of finding */
    char *text;
};

struct kb_config_problems {
    struct kb_config_problem *list;
    size_t count, cap, number, dropped, errors, warnings;
};

void kb_config_problems_finish(struct kb_config_problems *p);
/* path: of the key, "" for the file as a whole. source: NULL, or the source that is being read. */
void kb_config_problem_add(struct kb_config_problems *p, enum kb_config_severity severity,
                           const char *file, size_t document, size_t line, const char *path,
                           const char *source, const char *text);
/* Sorted by line, one line each: "FILE:LINE: path: text". Control characters become '?'. */
void kb_config_problems_print(struct kb_config_problems *p, struct kb_buf *out);

#endif
