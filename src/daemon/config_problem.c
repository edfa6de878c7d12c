/* Collects and prints the problems of a configuration. Knows nothing of YAML. Main thread. */
#include "daemon/config_problem.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void kb_config_problems_finish(struct kb_config_problems *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->list[i].text);
    free(p->list);
    *p = (struct kb_config_problems){0};
}

/* What a file says must not steer the terminal or forge a line of the log. */
static void defuse(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        if (*c < 0x20 || *c == 0x7f)
            *c = '?';
        else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) /* C1 controls, as UTF-8 */
            c[0] = c[1] = '?';
    }
}

/* Where the next one goes; NULL if there is no room for one of its severity. */
static struct kb_config_problem *find_slot(struct kb_config_problems *p,
                                           enum kb_config_severity severity)
{
    if (p->count < KB_CONFIG_PROBLEMS_MAX) {
        if (p->count == p->cap) {
            p->cap = p->cap ? p->cap * 2 : 8;
            p->list = kb_realloc(p->list, p->cap * sizeof *p->list);
        }
        return &p->list[p->count++];
    }
    p->dropped++;
    for (size_t i = p->count; severity == KB_CONFIG_ERROR && i-- > 0;) {
        if (p->list[i].severity != KB_CONFIG_ERROR) {
            free(p->list[i].text);
            return &p->list[i];
        }
    }
    return NULL;
}

void kb_config_problem_add(struct kb_config_problems *p, enum kb_config_severity severity,
                           const char *file, size_t document, size_t line, const char *path,
                           const char *source, const char *text)
{
    if (severity == KB_CONFIG_ERROR)
        p->errors++;
    if (severity == KB_CONFIG_WARNING)
        p->warnings++;
    struct kb_config_problem *slot = find_slot(p, severity);
    p->number++;
    if (!slot)
        return;
    struct kb_buf b = {0};
    kb_buf_add_str(&b, file);
    if (line)
        kb_buf_printf(&b, ":%zu", line);
    kb_buf_add_str(&b, severity == KB_CONFIG_WARNING ? ": warning: " : ": ");
    if (*path)
        kb_buf_printf(&b, "%s: ", path);
    if (severity == KB_CONFIG_SKIPPED)
        kb_buf_printf(&b, "source %s is not loaded: ", source ? source : "without a name");
    kb_buf_add_str(&b, text);
    *slot = (struct kb_config_problem){
        .severity = severity,
        .document = document,
        .line = line,
        .number = p->number,
        .text = kb_buf_steal(&b),
    };
    defuse(slot->text);
}

static int in_order(const void *a, const void *b)
{
    const struct kb_config_problem *x = a, *y = b;
    if (x->document != y->document)
        return x->document < y->document ? -1 : 1;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

void kb_config_problems_print(struct kb_config_problems *p, struct kb_buf *out)
{
    if (p->count)
        qsort(p->list, p->count, sizeof *p->list, in_order);
    for (size_t i = 0; i < p->count; i++)
        kb_buf_printf(out, "%s\n", p->list[i].text);
    if (p->dropped)
        kb_buf_printf(out, "... and %zu more\n", p->dropped);
}
