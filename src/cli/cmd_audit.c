/* audit: the newest events that match, oldest first, as a log is read. Main thread. */
#include "base/clock.h"
#include "base/duration.h"
#include "base/mem.h"
#include "cli/client.h"
#include "cli/table.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FOLLOW_MS 1000

static const struct kb_column columns[] = {
    {"TIME", "time", KB_CELL_TIME, false, 0},
    {"EVENT", "event", KB_CELL_TEXT, false, 0},
    {"ACTOR", "actor", KB_CELL_TEXT, true, 0},
    {"CLIENT", "client_address", KB_CELL_TEXT, false, 3},
    {"SOURCE", "source", KB_CELL_TEXT, true, 6},
    {"CONSOLE", "console_name", KB_CELL_TEXT, true, 0},
    {"USER", "user", KB_CELL_TEXT, true, 2},
    {"CHANNEL", "channel", KB_CELL_TEXT, false, 5},
    {"REASON", "reason", KB_CELL_TEXT, true, 1},
    {"DETAIL", "detail", KB_CELL_TEXT, true, 4},
};

static json_t *reversed(const json_t *items)
{
    json_t *out = json_array();
    for (size_t i = json_array_size(items); i > 0; i--)
        json_array_append(out, json_array_get(items, i - 1));
    return out;
}

/* "2h" is two hours ago; anything else goes to the daemon as it is. */
static char *read_time(const char *text)
{
    int64_t ago;
    if (!text || !kb_duration_parse(text, &ago))
        return kb_strdup(text);
    char *time = kb_zalloc(KB_TIME_TEXT_SIZE);
    kb_clock_format(kb_clock_wall_ms() - ago, time);
    return time;
}

static char *audit_path(const struct kb_cli_options *o, const char *since)
{
    char *path = kb_client_path("/api/v1/audit");
    kb_auto_free char *until = read_time(o->until);
    kb_client_add_query(&path, "since", since);
    kb_client_add_query(&path, "until", until);
    kb_client_add_query(&path, "user", o->user);
    kb_client_add_query(&path, "console", o->console);
    kb_client_add_query(&path, "source", o->source);
    kb_client_add_query(&path, "event", o->event);
    return path;
}

static unsigned long long id_of(const json_t *event)
{
    const char *id = json_string_value(json_object_get(event, "id"));
    return id ? strtoull(id, NULL, 10) : 0;
}

static void print_line(const json_t *event)
{
    json_dumpf(event, stdout, JSON_COMPACT);
    putchar('\n');
}

/* Prints what is newer than *last. */
static void print_new(const json_t *items, unsigned long long *last, bool json)
{
    json_auto_t *rows = json_array();
    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *event = json_array_get(items, i);
        if (id_of(event) <= *last)
            continue;
        *last = id_of(event);
        if (json)
            print_line(event);
        else
            json_array_append(rows, event);
    }
    kb_table_print_more(KB_COLUMNS(columns), rows);
    fflush(stdout);
}

/* Asks again and again from the time of the newest event on, until the reader goes away. */
static int follow(struct kb_client *c, const struct kb_cli_options *o, const json_t *shown)
{
    const json_t *newest = json_array_get(shown, json_array_size(shown) - 1);
    unsigned long long last = newest ? id_of(newest) : 0;
    char now[KB_TIME_TEXT_SIZE];
    kb_clock_format(kb_clock_wall_ms(), now);
    const char *time = json_string_value(json_object_get(newest, "time"));
    kb_auto_free char *since = kb_strdup(time ? time : now);
    while (!ferror(stdout)) {
        struct pollfd reader = {.fd = STDOUT_FILENO};
        poll(&reader, 1, FOLLOW_MS); /* the daemon has no road to tell; a closed pipe ends it */
        if (reader.revents & (POLLERR | POLLNVAL))
            break;
        kb_auto_free char *path = audit_path(o, since);
        json_auto_t *items = NULL;
        int status = kb_client_list(c, path, 0, &items);
        if (status != KB_EXIT_DONE)
            return status;
        json_auto_t *rows = reversed(items);
        print_new(rows, &last, o->json);
        time = json_string_value(
            json_object_get(json_array_get(rows, json_array_size(rows) - 1), "time"));
        if (time) {
            free(since);
            since = kb_strdup(time);
        }
    }
    return KB_EXIT_DONE;
}

int kb_cmd_audit(const struct kb_cli_options *o)
{
    char *end = NULL;
    unsigned long most = 100;
    if (o->limit)
        most = isdigit((unsigned char)*o->limit) ? strtoul(o->limit, &end, 10) : 0;
    if (most == 0 || (end && *end)) {
        fprintf(stderr, "kerbside: --limit wants a number above 0\n");
        return KB_EXIT_USAGE;
    }
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    kb_auto_free char *since = read_time(o->since);
    kb_auto_free char *path = audit_path(o, since);
    json_auto_t *items = NULL;
    status = kb_client_list(c, path, most, &items);
    if (status == KB_EXIT_DONE) {
        json_auto_t *rows = reversed(items);
        if (o->json && o->follow) {
            for (size_t i = 0; i < json_array_size(rows); i++)
                print_line(json_array_get(rows, i));
        } else {
            kb_table_print(KB_COLUMNS(columns), rows, o->json);
        }
        fflush(stdout);
        if (o->follow)
            status = follow(c, o, rows);
    }
    kb_client_destroy(c);
    return status;
}
