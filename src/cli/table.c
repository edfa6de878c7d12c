/* Lays tables out. Main thread. */
#include "cli/table.h"

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

/* Takes from the widest of the columns that shrink, one by one, until all fit. */
static void shrink(const struct kb_column *columns, unsigned *widths, size_t count, unsigned width)
{
    for (;;) {
        unsigned all = (unsigned)(count - 1) * GAP;
        size_t widest = count;
        for (size_t i = 0; i < count; i++) {
            all += widths[i];
            if (columns[i].shrinks && widths[i] > LEAST_WIDTH &&
                (widest == count || widths[i] > widths[widest]))
                widest = i;
        }
        if (all <= width || widest == count)
            return;
        widths[widest]--;
    }
}

void kb_table_render(struct kb_buf *out, const struct kb_column *columns, size_t count,
                     const json_t *rows, unsigned width)
{
    size_t row_count = json_array_size(rows), cell_count = (row_count + 1) * count;
    char **cells = kb_calloc(cell_count, sizeof *cells);
    unsigned *widths = kb_calloc(count, sizeof *widths);
    for (size_t i = 0; i < cell_count; i++) {
        const struct kb_column *c = &columns[i % count];
        const json_t *row = i < count ? NULL : json_array_get(rows, i / count - 1);
        cells[i] = row ? format_cell(json_object_get(row, c->key), c->kind) : kb_strdup(c->title);
        unsigned w = width_of(cells[i]);
        if (w > widths[i % count])
            widths[i % count] = w;
    }
    if (width)
        shrink(columns, widths, count, width);
    for (size_t i = 0; i < cell_count; i++) {
        bool last = i % count == count - 1;
        add_cell(out, cells[i], widths[i % count], is_number(columns[i % count].kind), last);
        if (last)
            kb_buf_add_str(out, "\n");
        free(cells[i]);
    }
    free(cells);
    free(widths);
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
