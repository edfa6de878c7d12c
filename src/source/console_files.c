/* Reads the file or the folder that a static source names, and watches it with inotify. Knows
 * nothing of YAML: the configuration's own reader is handed in with the configuration. Threads of
 * calls. */
#include "source/console_files.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

#define QUIET_MS 500      /* a file that was written less long ago may not be done */
#define PATIENCE_MS 10000 /* with a file that is written again and again */

struct kb_console_files {
    const char *path;
    char *folder;     /* that path lies in */
    const char *name; /* path without it */
    int inotify;      /* -1: there is none to be had */
    pthread_mutex_t lock;
    int around, inside; /* watches: of folder, and of path where that is one; -1: none */
};

/* --- watching --------------------------------------------------------------------------------- */

struct kb_console_files *kb_console_files_create(const char *path)
{
    struct kb_console_files *f = kb_zalloc(sizeof *f);
    const char *slash = strrchr(path, '/');
    f->path = path;
    f->name = slash ? slash + 1 : path;
    f->folder = !slash          ? kb_strdup(".")
                : slash == path ? kb_strdup("/")
                                : kb_printf("%.*s", (int)(slash - path), path);
    f->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    f->around = f->inside = -1;
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

void kb_console_files_destroy(struct kb_console_files *f)
{
    if (!f)
        return;
    if (f->inotify >= 0)
        close(f->inotify);
    pthread_mutex_destroy(&f->lock);
    free(f->folder);
    free(f);
}

/* Before reading, so that what changes meanwhile is not missed. A folder that was replaced is a
 * new one to watch; one that is watched already stays as it is. */
static void watch(struct kb_console_files *f)
{
    const uint32_t mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE;
    if (f->inotify < 0)
        return;
    pthread_mutex_lock(&f->lock);
    f->around = inotify_add_watch(f->inotify, f->folder, mask | IN_ONLYDIR);
    f->inside = inotify_add_watch(f->inotify, f->path, mask | IN_ONLYDIR);
    pthread_mutex_unlock(&f->lock);
}

/* In the folder around it only its own name counts, and that of the link by which Kubernetes
 * changes all files of a volume at once. */
static bool is_ours(struct kb_console_files *f, const struct inotify_event *e)
{
    pthread_mutex_lock(&f->lock);
    bool inside = e->wd == f->inside, around = e->wd == f->around;
    pthread_mutex_unlock(&f->lock);
    if (e->mask & IN_Q_OVERFLOW || inside)
        return true;
    return around && e->len && (strcmp(e->name, f->name) == 0 || strcmp(e->name, "..data") == 0);
}

static bool drain(struct kb_console_files *f)
{
    _Alignas(struct inotify_event) char raw[4096];
    bool changed = false;
    for (ssize_t n; (n = read(f->inotify, raw, sizeof raw)) > 0;) {
        for (char *at = raw; at < raw + n;) {
            const struct inotify_event *e = (const struct inotify_event *)(void *)at;
            changed = is_ours(f, e) || changed;
            at += sizeof *e + e->len;
        }
    }
    return changed;
}

int kb_console_files_wait(struct kb_console_files *f, int ms)
{
    struct pollfd p = {.fd = f->inotify, .events = POLLIN};
    if (f->inotify < 0)
        return -1;
    return poll(&p, 1, ms) > 0 && drain(f);
}

/* --- which files there are -------------------------------------------------------------------- */

struct names {
    char **list; /* paths */
    size_t count;
};

static void names_finish(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->list[i]);
    free(n->list);
    *n = (struct names){0};
}

static int counts(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');
    return e->d_name[0] != '.' && dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

/* In the order of their names. False with errno. */
static bool find_names(const char *path, struct names *n)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return false;
    if (!S_ISDIR(st.st_mode)) {
        n->list = kb_calloc(1, sizeof *n->list);
        n->list[n->count++] = kb_strdup(path);
        return true;
    }
    struct dirent **found;
    int count = scandir(path, &found, counts, alphasort);
    if (count < 0)
        return false;
    n->list = kb_calloc((size_t)count, sizeof *n->list);
    for (int i = 0; i < count; i++) {
        n->list[n->count++] = kb_printf("%s/%s", path, found[i]->d_name);
        free(found[i]);
    }
    free(found);
    return true;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Whether one of them was written a moment ago. */
static bool is_fresh(const struct names *n)
{
    int64_t now = kb_clock_wall_ms();
    for (size_t i = 0; i < n->count; i++) {
        struct stat st;
        if (stat(n->list[i], &st) < 0)
            continue;
        int64_t age = now - ((int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
        if (age >= 0 && age < QUIET_MS)
            return true;
    }
    return false;
}

/* Another one whenever a file has changed. */
static struct kb_hash stamp_of(const struct names *n)
{
    struct kb_buf b = {0};
    for (size_t i = 0; i < n->count; i++) {
        struct stat st;
        if (stat(n->list[i], &st) < 0)
            st = (struct stat){0};
        kb_buf_printf(&b, "%s %ju %ju %jd.%09ld\n", n->list[i], (uintmax_t)st.st_ino,
                      (uintmax_t)st.st_size, (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    }
    struct kb_hash h = kb_hash_of(b.data, b.len);
    kb_buf_finish(&b);
    return h;
}

/* What is written in pieces is read when no piece has come for a while: a list that was cut between
 * two lines is YAML too. */
static bool settle(struct kb_console_files *f, struct kb_source_call *call, struct names *n,
                   uint64_t until_us)
{
    for (;;) {
        names_finish(n);
        if (!find_names(f->path, n))
            return kb_call_failed(call, "%s: %s", f->path, strerrordesc_np(errno));
        if (!is_fresh(n) || kb_clock_us() >= until_us || kb_call_stopped(call))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 50 * 1000000}, NULL);
    }
}

static bool read_one(struct kb_source_call *call, const char *path, struct kb_console **map)
{
    struct kb_static_console *list = NULL;
    size_t count = 0;
    kb_auto_free char *why = NULL;
    if (!call->config->read_file(path, &list, &count, &why))
        return kb_call_failed(call, "%s", why);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        if (kb_consoles_find(*map, list[i].uuid))
            ok = kb_call_failed(call, "%s: uuid %.64s is there twice", path, list[i].uuid);
        else
            kb_consoles_add(map, kb_console_of(call->config, &list[i]));
    }
    kb_static_consoles_finish(list, count);
    return ok;
}

bool kb_console_files_read(struct kb_console_files *f, struct kb_source_call *call,
                           struct kb_console **map)
{
    uint64_t until = kb_clock_us() + PATIENCE_MS * UINT64_C(1000);
    kb_auto(names_finish) struct names names = {0};
    watch(f);
    for (;;) {
        bool ok = true;
        if (!settle(f, call, &names, until))
            return false;
        struct kb_hash before = stamp_of(&names);
        for (size_t i = 0; i < names.count && ok; i++)
            ok = read_one(call, names.list[i], map);
        struct kb_hash after = stamp_of(&names);
        if (kb_hash_equal(&before, &after) || kb_clock_us() >= until)
            return ok;
        kb_consoles_destroy(map); /* it changed under our eyes */
        *call->why = '\0';
    }
}
