/* Lays tables out. Main thread. */
#include "cli/table.h"

#include "base/auto.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#define GAP 2
#define LEAST_WIDTH 8 /* what is left of a column that shrinks */

/* Copies s without what a terminal would obey; the number of columns that it takes. */
static unsigned add_printable(struct kb_buf *out, const char *s, unsigned most)
{
    unsigned width = 0;
    mbstate_t state = {0};
    while (*s) {
        wchar_t c;
        size_t n = mbrtowc(&c, s, strlen(s), &state);
        int columns = n == (size_t)-1 || n == (size_t)-2 ? -1 : wcwidth(c);
        if (columns < 0) {
            if (n == (size_t)-1 || n == (size_t)-2) {
                n = 1;
                state = (mbstate_t){0};
            }
            columns = 1;
            c = 0;
        }
        if (width + (unsigned)columns > most)
            return width;
        width += (unsigned)columns;
        kb_buf_add(out, c ? s : "?", c ? n : 1);
        s += n;
    }
    return width;
}

static unsigned width_of(const char *s)
{
    struct kb_buf b = {0};
    unsigned width = add_printable(&b, s, ~0u >> 1);
    kb_buf_finish(&b);
    return width;
}

static char *format_bytes(json_int_t n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)n;
    size_t unit = 0;
    for (; value >= 1024 && unit < 4; unit++)
        value /= 1024;
    return kb_printf(unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static char *format_time(const char *text)
{
    struct tm tm = {0};
    if (!strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
        return kb_strdup(text);
    time_t seconds = timegm(&tm);
    char local[32];
    localtime_r(&seconds, &tm);
    strftime(local, sizeof local, "%Y-%m-%d %H:%M:%S", &tm);
    return kb_strdup(local);
}

static char *format_cell(const json_t *v, enum kb_cell kind)
{
    if (kind == KB_CELL_COUNT)
        return kb_printf("%zu", json_array_size(v));
    if (kind == KB_CELL_BYTES && json_is_integer(v))
        return format_bytes(json_integer_value(v));
    if (kind == KB_CELL_PORT && json_integer_value(v) == 0)
        return kb_strdup("-");
    if (json_is_integer(v))
        return kb_printf("%lld", (long long)json_integer_value(v));
    if (json_is_boolean(v))
        return kb_strdup(json_is_true(v) ? "yes" : "no");
    const char *s = json_string_value(v);
    if (!s || !*s)
        return kb_strdup("-");
    return kind == KB_CELL_TIME ? format_time(s) : kb_strdup(s);
}

static bool is_number(enum kb_cell kind)
{
    return kind == KB_CELL_BYTES || kind == KB_CELL_COUNT || kind == KB_CELL_PORT;
}

static void add_spaces(struct kb_buf *out, unsigned n)
{
    for (; n > 0; n--)
        kb_buf_add(out, " ", 1);
}

/* One cell in its width; the last of a line gets no spaces behind it. */
static void add_cell(struct kb_buf *out, const char *text, unsigned width, bool right, bool last)
{
    struct kb_buf b = {0};
    unsigned full = width_of(text);
    unsigned used = add_printable(&b, text, full > width ? width - 1 : width);
    if (full > width) {
        kb_buf_add_str(&b, MB_CUR_MAX > 1 ? "…" : "~");
        used++;
    }
    if (right)
        add_spaces(out, width - used);
    kb_buf_add(out, b.data, b.len);
    if (!right && !last)
        add_spaces(out, width - used);
    if (!last)
        add_spaces(out, GAP);
    kb_buf_finish(&b);
}

/* A table while it is laid out: cells row by row, the head first; a width of 0 is left out. */
struct layout {
    const struct kb_column *columns;
    size_t count, cell_count;
    char **cells;
    unsigned *widths;
};

/* How wide the table is, or, with least, would be with all cut that may be cut. */
static unsigned total_width(const struct layout *l, bool least)
{
    unsigned all = 0;
    for (size_t i = 0; i < l->count; i++) {
        unsigned w = l->widths[i];
        if (least && l->columns[i].shrinks && w > LEAST_WIDTH)
            w = LEAST_WIDTH;
        if (w)
            all += w + (all ? GAP : 0);
    }
    return all;
}

static void leave_out(struct layout *l, unsigned width, struct kb_buf *names)
{
    while (total_width(l, true) > width) {
        size_t out = l->count;
        for (size_t i = 0; i < l->count; i++)
            if (l->widths[i] && l->columns[i].spare &&
                (out == l->count || l->columns[i].spare > l->columns[out].spare))
                out = i;
        if (out == l->count)
            return;
        l->widths[out] = 0;
        kb_buf_printf(names, "%s%s", names->len ? ", " : "", l->columns[out].title);
    }
}

/* Takes from the widest of the columns that shrink, one by one, until all fit. */
static void shrink(struct layout *l, unsigned width)
{
    while (total_width(l, false) > width) {
        size_t widest = l->count;
        for (size_t i = 0; i < l->count; i++)
            if (l->columns[i].shrinks && l->widths[i] > LEAST_WIDTH &&
                (widest == l->count || l->widths[i] > l->widths[widest]))
                widest = i;
        if (widest == l->count)
            return;
        l->widths[widest]--;
    }
}

static void fill(struct layout *l, const json_t *rows)
{
    l->cell_count = (json_array_size(rows) + 1) * l->count;
    l->cells = kb_calloc(l->cell_count, sizeof *l->cells);
    l->widths = kb_calloc(l->count, sizeof *l->widths);
    for (size_t i = 0; i < l->cell_count; i++) {
        const struct kb_column *c = &l->columns[i % l->count];
        const json_t *row = i < l->count ? NULL : json_array_get(rows, i / l->count - 1);
        l->cells[i] =
            row ? format_cell(json_object_get(row, c->key), c->kind) : kb_strdup(c->title);
        unsigned w = width_of(l->cells[i]);
        if (w > l->widths[i % l->count])
            l->widths[i % l->count] = w;
    }
}

static void add_lines(struct kb_buf *out, const struct layout *l)
{
    size_t last = l->count;
    while (last > 0 && !l->widths[last - 1])
        last--;
    for (size_t i = 0; i < l->cell_count; i++) {
        size_t column = i % l->count;
        if (l->widths[column])
            add_cell(out, l->cells[i], l->widths[column], is_number(l->columns[column].kind),
                     column + 1 == last);
        if (column + 1 == l->count)
            kb_buf_add_str(out, "\n");
        free(l->cells[i]);
    }
}

void kb_table_render(struct kb_buf *out, const struct kb_column *columns, size_t count,
                     const json_t *rows, unsigned width)
{
    struct layout l = {.columns = columns, .count = count};
    kb_auto(kb_buf_finish) struct kb_buf names = {0};
    fill(&l, rows);
    if (width) {
        leave_out(&l, width, &names);
        shrink(&l, width);
    }
    add_lines(out, &l);
    if (names.len) {
        kb_auto_free char *left = kb_buf_steal(&names);
        kb_auto_free char *line = kb_printf("(no room for %s; --json has all)", left);
        add_cell(out, line, width, false, true);
        kb_buf_add_str(out, "\n");
    }
    free(l.cells);
    free(l.widths);
}

void kb_table_render_object(struct kb_buf *out, const struct kb_column *columns, size_t count,
                            const json_t *object)
{
    unsigned width = 0;
    for (size_t i = 0; i < count; i++)
        if (strlen(columns[i].title) > width)
            width = (unsigned)strlen(columns[i].title);
    for (size_t i = 0; i < count; i++) {
        char *text = format_cell(json_object_get(object, columns[i].key), columns[i].kind);
        add_cell(out, columns[i].title, width, false, false);
        add_printable(out, text, ~0u >> 1);
        kb_buf_add_str(out, "\n");
        free(text);
    }
}

static unsigned terminal_width(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col;
}

static void print_json(const json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2));
    putchar('\n');
}

void kb_table_print(const struct kb_column *columns, size_t count, const json_t *rows, bool json)
{
    if (json) {
        print_json(rows);
        return;
    }
    struct kb_buf b = {0};
    kb_table_render(&b, columns, count, rows, terminal_width());
    fwrite(b.data, 1, b.len, stdout);
    kb_buf_finish(&b);
}

void kb_table_print_object(const struct kb_column *columns, size_t count, const json_t *object,
                           bool json)
{
    if (json) {
        print_json(object);
        return;
    }
    struct kb_buf b = {0};
    kb_table_render_object(&b, columns, count, object);
    fwrite(b.data, 1, b.len, stdout);
    kb_buf_finish(&b);
}

void kb_table_print_more(const struct kb_column *columns, size_t count, const json_t *rows)
{
    if (json_array_size(rows) == 0)
        return;
    kb_auto(kb_buf_finish) struct kb_buf b = {0};
    kb_table_render(&b, columns, count, rows, terminal_width());
    kb_buf_add(&b, "", 1);
    /* Behind the head, as many lines as there are rows. */
    const char *line = strchr((const char *)b.data, '\n') + 1;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        size_t len = strcspn(line, "\n") + 1;
        fwrite(line, 1, len, stdout);
        line += len;
    }
}
