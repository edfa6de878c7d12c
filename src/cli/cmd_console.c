/* console list, show, diagnose, vv, open. Main thread. */
#include "base/mem.h"
#include "base/secret.h"
#include "cli/show.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int kb_cmd_console_list(const struct kb_cli_options *o)
{
    static const struct kb_column columns[] = {
        {"NAME", "name", KB_CELL_TEXT, true, 0},
        {"SOURCE", "source", KB_CELL_TEXT, true, 0},
        {"UUID", "uuid", KB_CELL_TEXT, false, 0},
        {"HYPERVISOR", "hypervisor", KB_CELL_TEXT, true, 1},
        {"LAST SEEN", "last_seen", KB_CELL_TIME, false, 2},
    };
    kb_auto_free char *path = kb_client_path("/api/v1/consoles");
    kb_client_add_query(&path, "q", o->query);
    kb_client_add_query(&path, "source", o->source);
    return kb_show_list(o, path, KB_COLUMNS(columns));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

/* The consoles whose name or uuid is the word itself, case and all. */
static json_t *exact(const json_t *items, const char *word)
{
    json_t *found = json_array();
    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *v = json_array_get(items, i);
        if (strcmp(text_of(v, "name"), word) == 0 || strcmp(text_of(v, "uuid"), word) == 0)
            json_array_append(found, v);
    }
    return found;
}

char *kb_client_console_path(struct kb_client *c, char **args, int count, int *status)
{
    if (count == 2)
        return kb_client_path("/api/v1/consoles/%s/%s", args[0], args[1]);
    char *path = kb_client_path("/api/v1/consoles?q=%s", args[0]);
    json_auto_t *items = NULL;
    *status = kb_client_list(c, path, 0, &items);
    free(path);
    if (*status != KB_EXIT_DONE)
        return NULL;
    json_auto_t *found = exact(items, args[0]);
    size_t hits = json_array_size(found);
    if (hits == 1)
        return kb_client_path("/api/v1/consoles/%s/%s", text_of(json_array_get(found, 0), "source"),
                              text_of(json_array_get(found, 0), "uuid"));
    fprintf(stderr,
            hits ? "kerbside: %zu consoles have this name; say which:\n"
                 : "kerbside: no console has this name\n",
            hits);
    for (size_t i = 0; i < hits; i++)
        fprintf(stderr, "    %s %s\n", text_of(json_array_get(found, i), "source"),
                text_of(json_array_get(found, i), "uuid"));
    *status = KB_EXIT_REFUSED;
    return NULL;
}

int kb_cmd_console_show(const struct kb_cli_options *o)
{
    static const struct kb_column columns[] = {
        {"name", "name", KB_CELL_TEXT, false, 0},
        {"source", "source", KB_CELL_TEXT, false, 0},
        {"uuid", "uuid", KB_CELL_TEXT, false, 0},
        {"project", "project", KB_CELL_TEXT, false, 0},
        {"state", "state", KB_CELL_TEXT, false, 0},
        {"protocol", "protocol", KB_CELL_TEXT, false, 0},
        {"transport", "transport", KB_CELL_TEXT, false, 0},
        {"hypervisor", "hypervisor", KB_CELL_TEXT, false, 0},
        {"hypervisor ip", "hypervisor_ip", KB_CELL_TEXT, false, 0},
        {"insecure port", "insecure_port", KB_CELL_PORT, false, 0},
        {"secure port", "secure_port", KB_CELL_PORT, false, 0},
        {"unix socket", "unix_socket", KB_CELL_TEXT, false, 0},
        {"host subject", "host_subject", KB_CELL_TEXT, false, 0},
        {"first seen", "first_seen", KB_CELL_TIME, false, 0},
        {"last seen", "last_seen", KB_CELL_TIME, false, 0},
    };
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    kb_auto_free char *path = kb_client_console_path(c, o->args, o->arg_count, &status);
    json_auto_t *answer = NULL;
    if (path)
        status = kb_client_call(c, "GET", path, NULL, &answer);
    if (answer && status == KB_EXIT_DONE)
        kb_table_print_object(KB_COLUMNS(columns), answer, o->json);
    kb_client_destroy(c);
    return status;
}

static void print_advice(const json_t *hops)
{
    for (size_t i = 0; i < json_array_size(hops); i++) {
        const json_t *hop = json_array_get(hops, i);
        if (strcmp(text_of(hop, "result"), "failed") != 0)
            continue;
        printf("\n%s: %s\n%s\n", text_of(hop, "hop"), text_of(hop, "text"), text_of(hop, "advice"));
    }
}

/* Exits with 1 when the console would not open, so that scripts can ask. */
int kb_cmd_console_diagnose(const struct kb_cli_options *o)
{
    static const struct kb_column columns[] = {
        {"HOP", "hop", KB_CELL_TEXT, false, 0},      {"RESULT", "result", KB_CELL_TEXT, false, 0},
        {"MS", "ms", KB_CELL_TEXT, false, 0},        {"REASON", "reason", KB_CELL_TEXT, false, 0},
        {"DETAIL", "detail", KB_CELL_TEXT, true, 0},
    };
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    kb_auto_free char *console = kb_client_console_path(c, o->args, o->arg_count, &status);
    json_auto_t *answer = NULL;
    if (console) {
        kb_auto_free char *path = kb_printf("%s/diagnosis", console);
        status = kb_client_call(c, "GET", path, NULL, &answer);
    }
    if (answer && status == KB_EXIT_DONE) {
        const json_t *hops = json_object_get(answer, "hops");
        if (o->json)
            kb_show_json(answer);
        else
            kb_table_print(KB_COLUMNS(columns), hops, false);
        if (!o->json)
            print_advice(hops);
        if (!json_is_true(json_object_get(answer, "ok")))
            status = KB_EXIT_REFUSED;
    }
    kb_client_destroy(c);
    return status;
}

static bool write_all(int fd, const struct kb_buf *b)
{
    for (size_t at = 0; at < b->len;) {
        ssize_t n = write(fd, b->data + at, b->len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

/* The file holds a secret: it is never there with a wider mode, and a viewer never sees half of it.
 */
static int write_file(const char *path, const struct kb_buf *b)
{
    kb_auto_free char *scratch = kb_printf("%s.XXXXXX", path);
    int fd = mkostemp(scratch, O_CLOEXEC); /* mode 0600 */
    bool good = fd >= 0 && write_all(fd, b);
    if (fd >= 0)
        good = close(fd) == 0 && good;
    if (good && rename(scratch, path) == 0)
        return KB_EXIT_DONE;
    fprintf(stderr, "kerbside: %s: %s\n", path, strerror(errno));
    if (fd >= 0)
        unlink(scratch);
    return KB_EXIT_REFUSED;
}

static json_t *grant_body(const struct kb_cli_options *o)
{
    json_t *body = json_object();
    const struct {
        const char *key, *value;
    } texts[] = {{"user", o->user},
                 {"start_within", o->start_within},
                 {"max_session", o->max_session},
                 {"client_address", o->client_address},
                 {"policy", o->policy}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].value)
            json_object_set_new(body, texts[i].key, json_string(texts[i].value));
    if (o->reusable)
        json_object_set_new(body, "reusable", json_true());
    return body;
}

/* A fresh .vv file for the console that the words name. Wipe and finish it. */
static int fetch(const struct kb_cli_options *o, struct kb_buf *file)
{
    int status;
    struct kb_client *c = kb_client_create(o, &status);
    if (!c)
        return status;
    kb_auto_free char *console = kb_client_console_path(c, o->args, o->arg_count, &status);
    if (console) {
        kb_auto_free char *path = kb_printf("%s/grants", console);
        status = kb_client_fetch_vv(c, path, grant_body(o), file);
    }
    kb_client_destroy(c);
    return status;
}

static void forget(struct kb_buf *file)
{
    if (file->data)
        kb_wipe(file->data, file->cap);
    kb_buf_finish(file);
}

int kb_cmd_console_vv(const struct kb_cli_options *o)
{
    struct kb_buf file = {0};
    int status = fetch(o, &file);
    if (status == KB_EXIT_DONE && o->output && strcmp(o->output, "-") != 0)
        status = write_file(o->output, &file);
    else if (status == KB_EXIT_DONE)
        fwrite(file.data, 1, file.len, stdout);
    forget(&file);
    return status;
}

/* The viewer takes this process's place, and removes the file as it opens it (delete-this-file). */
int kb_cmd_console_open(const struct kb_cli_options *o)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");
    kb_auto_free char *path = kb_printf("%s/kerbside-XXXXXX.vv", dir && *dir ? dir : "/tmp");
    struct kb_buf file = {0};
    int status = fetch(o, &file);
    if (status == KB_EXIT_DONE) {
        int fd = mkostemps(path, 3, O_CLOEXEC); /* mode 0600 */
        if (fd < 0 || !write_all(fd, &file) || close(fd) != 0) {
            fprintf(stderr, "kerbside: %s: %s\n", path, strerror(errno));
            status = KB_EXIT_REFUSED;
        }
    }
    forget(&file);
    if (status != KB_EXIT_DONE)
        return status;
    execlp("remote-viewer", "remote-viewer", path, (char *)NULL);
    fprintf(stderr, "kerbside: remote-viewer: %s; is the package virt-viewer installed?\n",
            strerror(errno));
    unlink(path);
    return KB_EXIT_USAGE;
}
