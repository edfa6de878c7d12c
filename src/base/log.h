/* The log: one event, one line, key=value. Any thread; a line is formatted where it is written and
 * handed to a writer thread, so that a slow disk or terminal never holds a loop. When the writer
 * cannot keep up, lines are dropped and counted.
 *
 *     kb_log(KB_LOG_INFO, "config.reloaded", KB_STR("file", path), KB_UINT("sources", n));
 *
 * kb_log wants one field at least. There is no field type for a secret. */
#ifndef KB_BASE_LOG_H
#define KB_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum kb_log_level { KB_LOG_ERROR, KB_LOG_WARNING, KB_LOG_INFO, KB_LOG_DEBUG };
enum kb_log_format {
    KB_LOG_AUTO, /* journal when stderr is the journal's, text on a terminal, else JSON */
    KB_LOG_TEXT,
    KB_LOG_JSON,    /* one object a line: time, level, event, then the fields */
    KB_LOG_JOURNAL, /* MESSAGE, PRIORITY, KERBSIDE_EVENT and one upper-case field each */
};

struct kb_field {
    const char *key; /* NULL ends a list */
    enum { KB_FIELD_STR, KB_FIELD_UINT, KB_FIELD_INT } kind;
    const char *str; /* NULL: the field is left out */
    uint64_t u;
    int64_t i;
};

#define KB_STR(k, v)                                                                               \
    {                                                                                              \
        .key = (k), .kind = KB_FIELD_STR, .str = (v)                                               \
    }
#define KB_UINT(k, v)                                                                              \
    {                                                                                              \
        .key = (k), .kind = KB_FIELD_UINT, .u = (uint64_t)(v)                                      \
    }
#define KB_INT(k, v)                                                                               \
    {                                                                                              \
        .key = (k), .kind = KB_FIELD_INT, .i = (int64_t)(v)                                        \
    }

#define kb_log(level, event, ...)                                                                  \
    kb_log_fields((level), (event), (const struct kb_field[]){__VA_ARGS__, {0}})

void kb_log_fields(enum kb_log_level level, const char *event, const struct kb_field *fields);

/* Before kb_log_start and after kb_log_stop lines are written by the caller itself. */
void kb_log_start(enum kb_log_format format, enum kb_log_level least);
void kb_log_set_level(enum kb_log_level least);
void kb_log_stop(void); /* writes out what is queued */
uint64_t kb_log_dropped(void);

#endif
