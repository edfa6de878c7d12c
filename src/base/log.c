/* Log lines: formatted by the thread that has something to say, written by a thread of their own.
 * Does not rotate or open files: stderr or the journal is the service manager's business. */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mailbox.h"
#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>
#include <unistd.h>

/* Lines waiting for the writer at most; at some 300 bytes a line about 2.5 MiB. */
#define QUEUE_LIMIT 8192

struct line {
    struct kb_message message;
    struct kb_buf text; /* text, JSON: the line; journal: fields, each ended by NUL */
};

static struct kb_worker writer;
static atomic_bool running;
static _Atomic enum kb_log_level least_level = KB_LOG_INFO;
static enum kb_log_format format = KB_LOG_TEXT;
static bool colour;
static atomic_uint queued;
static _Atomic uint64_t dropped;

static const char *const level_names[] = {"error", "warning", "info", "debug"};

static void add_field_value(struct kb_buf *b, const struct kb_field *f)
{
    if (f->kind == KB_FIELD_UINT)
        kb_buf_printf(b, "%" PRIu64, f->u);
    else if (f->kind == KB_FIELD_INT)
        kb_buf_printf(b, "%" PRId64, f->i);
    else
        kb_buf_add_json(b, f->str);
}

static bool is_plain(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (!isgraph((unsigned char)*s) || *s == '"' || *s == '=' || *s == '\\')
            return false;
    return true;
}

static bool is_absent(const struct kb_field *f)
{
    return f->kind == KB_FIELD_STR && !f->str;
}

static void format_text(struct kb_buf *b, enum kb_log_level level, const char *event,
                        const struct kb_field *fields, const char *when)
{
    static const char *const paint[] = {"\033[31m", "\033[33m", "\033[1m", "\033[2m"};
    kb_buf_printf(b, "%s %-7s %s%s%s", when, level_names[level], colour ? paint[level] : "", event,
                  colour ? "\033[0m" : "");
    for (const struct kb_field *f = fields; f->key; f++) {
        if (is_absent(f))
            continue;
        kb_buf_printf(b, " %s=", f->key);
        if (f->kind == KB_FIELD_STR && is_plain(f->str))
            kb_buf_add_str(b, f->str);
        else
            add_field_value(b, f);
    }
    kb_buf_add_str(b, "\n");
}

static void format_json(struct kb_buf *b, enum kb_log_level level, const char *event,
                        const struct kb_field *fields, const char *when)
{
    kb_buf_printf(b, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"", when, level_names[level],
                  event);
    for (const struct kb_field *f = fields; f->key; f++) {
        if (is_absent(f))
            continue;
        kb_buf_printf(b, ",\"%s\":", f->key);
        add_field_value(b, f);
    }
    kb_buf_add_str(b, "}\n");
}

/* Fields for sd_journal_sendv, each ended by NUL; MESSAGE is the readable form. */
static void format_journal(struct kb_buf *b, enum kb_log_level level, const char *event,
                           const struct kb_field *fields)
{
    static const int priority[] = {3, 4, 6, 7};
    kb_buf_printf(b, "PRIORITY=%d%cKERBSIDE_EVENT=%s%cMESSAGE=%s", priority[level], 0, event, 0,
                  event);
    for (const struct kb_field *f = fields; f->key; f++) {
        if (is_absent(f))
            continue;
        kb_buf_printf(b, " %s=", f->key);
        add_field_value(b, f);
    }
    kb_buf_add(b, "", 1);
    for (const struct kb_field *f = fields; f->key; f++) {
        if (is_absent(f))
            continue;
        for (const char *c = f->key; *c; c++) {
            char upper = (char)toupper((unsigned char)*c);
            kb_buf_add(b, &upper, 1);
        }
        kb_buf_add_str(b, "=");
        if (f->kind == KB_FIELD_STR)
            kb_buf_add_str(b, f->str);
        else
            add_field_value(b, f);
        kb_buf_add(b, "", 1);
    }
}

static void write_line(const struct kb_buf *b)
{
    if (format == KB_LOG_JOURNAL) {
        struct iovec parts[32];
        int n = 0;
        for (size_t at = 0; at < b->len && n < 32; n++) {
            char *field = (char *)b->data + at;
            parts[n] = (struct iovec){.iov_base = field, .iov_len = strlen(field)};
            at += parts[n].iov_len + 1;
        }
        sd_journal_sendv(parts, n);
        return;
    }
    for (size_t at = 0; at < b->len;) {
        ssize_t n = write(STDERR_FILENO, b->data + at, b->len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nobody reads stderr any more; there is no better place to say so */
        at += (size_t)n;
    }
}

static void write_message(struct kb_message *m)
{
    struct line *l = (struct line *)m;
    write_line(&l->text);
    atomic_fetch_sub(&queued, 1);
    kb_buf_finish(&l->text);
    free(l);
}

void kb_log_fields(enum kb_log_level level, const char *event, const struct kb_field *fields)
{
    if (level > atomic_load_explicit(&least_level, memory_order_relaxed))
        return;
    bool queue = atomic_load(&running);
    if (queue && atomic_fetch_add(&queued, 1) >= QUEUE_LIMIT) {
        atomic_fetch_sub(&queued, 1);
        atomic_fetch_add(&dropped, 1);
        return;
    }
    char when[KB_TIME_TEXT_SIZE];
    kb_clock_format(kb_clock_wall_ms(), when);
    struct kb_buf b = {0};
    if (format == KB_LOG_JOURNAL)
        format_journal(&b, level, event, fields);
    else if (format == KB_LOG_JSON)
        format_json(&b, level, event, fields, when);
    else
        format_text(&b, level, event, fields, when);
    if (!queue) {
        write_line(&b);
        kb_buf_finish(&b);
        return;
    }
    struct line *l = kb_zalloc(sizeof *l);
    l->message.run = write_message;
    l->text = b;
    kb_mailbox_post(&writer.box, &l->message);
}

/* systemd sets JOURNAL_STREAM to the device and inode of the stderr it gave us (systemd.exec). */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    if (!stream || fstat(STDERR_FILENO, &st) != 0)
        return false;
    unsigned long long dev, ino;
    return sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && dev == st.st_dev && ino == st.st_ino;
}

void kb_log_start(enum kb_log_format wanted, enum kb_log_level least)
{
    bool terminal = isatty(STDERR_FILENO);
    if (wanted == KB_LOG_AUTO)
        wanted = stderr_is_journal() ? KB_LOG_JOURNAL : terminal ? KB_LOG_TEXT : KB_LOG_JSON;
    format = wanted;
    colour = terminal && !getenv("NO_COLOR");
    kb_log_set_level(least);
    kb_worker_init(&writer);
    kb_worker_start(&writer, "log");
    atomic_store(&running, true);
}

void kb_log_set_level(enum kb_log_level least)
{
    atomic_store(&least_level, least);
}

void kb_log_stop(void)
{
    if (!atomic_exchange(&running, false))
        return;
    kb_worker_stop(&writer);
}

uint64_t kb_log_dropped(void)
{
    return atomic_load(&dropped);
}
