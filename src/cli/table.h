/* Tables for people: columns that fit their longest cell, and the terminal. Pure but for print. */
#ifndef KB_CLI_TABLE_H
#define KB_CLI_TABLE_H

#include "base/buf.h"

#include <jansson.h>

enum kb_cell {
    KB_CELL_TEXT,  /* a string, a number, yes or no */
    KB_CELL_TIME,  /* "2026-11-20T18:00:00.123Z", shown in the local time */
    KB_CELL_BYTES, /* a number, shown as "1.5 MiB" */
    KB_CELL_COUNT, /* an array, shown as how many */
    KB_CELL_PORT,  /* "-" for 0 and null */
};

struct kb_column {
    const char *title, *key;
    enum kb_cell kind;
    bool shrinks; /* may be cut, with an ellipsis, when the terminal is narrow */
    /* 0: always shown. Else it is left out when cutting is not enough, the highest first. */
    unsigned spare;
};
/* An array of columns, as two arguments. */
#define KB_COLUMNS(array) (array), sizeof(array) / sizeof *(array)

/* Rows are objects; null, absent and "" become "-". Control characters in cells become "?": names
 * come from clouds, and a terminal obeys them. width: columns of the terminal; 0: no limit. What
 * was left out for it is said in the last line. */
void kb_table_render(struct kb_buf *out, const struct kb_column *columns, size_t count,
                     const json_t *rows, unsigned width);
/* One object, a line each: title and value. */
void kb_table_render_object(struct kb_buf *out, const struct kb_column *columns, size_t count,
                            const json_t *object);

/* To standard output: as a table, or as JSON. */
void kb_table_print(const struct kb_column *columns, size_t count, const json_t *rows, bool json);
/* More rows of a table whose head was printed before; never JSON. */
void kb_table_print_more(const struct kb_column *columns, size_t count, const json_t *rows);
void kb_table_print_object(const struct kb_column *columns, size_t count, const json_t *object,
                           bool json);

#endif
