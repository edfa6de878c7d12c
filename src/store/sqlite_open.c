/* Opens a SQLite database: the checks of directory and file, the pragmas, the migrations and the
 * prepared statements. Runs on the thread that creates the store, or on the store thread when a
 * connection was lost. */
#include "store/sqlite.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/priority.h"
#include "store/migrations.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>
#include <wchar.h>
#include <wctype.h>

/* "kbsd"; tells a database of ours from another program's. */
#define APPLICATION_ID 0x6b627364
#define SCHEMA ((int)(sizeof migrations / sizeof *migrations))
/* Another process (a backup, an operator's shell) may hold the file this long before calls fail. */
#define BUSY_MS 1000
/* Of SQLite's virtual machine, some tens of microseconds. */
#define STEPS 2000

static const char *const sql_texts[KB_SQL_COUNT] = {
#define X(name, connection, sql) [KB_SQL_##name] = sql,
    KB_SQL(X)
#undef X
};
static const char sql_connections[KB_SQL_COUNT] = {
#define X(name, connection, sql) [KB_SQL_##name] = #connection[0],
    KB_SQL(X)
#undef X
};

/* --- the file --------------------------------------------------------------------------------- */

static char *path_of(const struct kb_backend_open *o)
{
    if (o->where[0] == '/' || !o->state_dir)
        return kb_strdup(o->where);
    return kb_printf("%s/%s", o->state_dir, o->where);
}

/* The database's directory, which also gets its -wal and -shm files. */
static char *check_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    kb_auto_free char *dir = slash == path ? kb_strdup("/")
                             : slash       ? kb_printf("%.*s", (int)(slash - path), path)
                                           : kb_strdup(".");
    struct stat st;
    if (stat(dir, &st) != 0)
        return kb_printf("store: the directory %s: %s", dir, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return kb_printf("store: %s is not a directory", dir);
    if (access(dir, R_OK | W_OK | X_OK) != 0)
        return kb_printf("store: the directory %s cannot be written by this user: %s", dir,
                         strerror(errno));
    return NULL;
}

/* Makes the file before SQLite does, for its mode; the -wal and -shm files get the same one. */
static char *check_file(struct kb_sqlite *db, const char *path, bool again)
{
    int flags = O_RDWR | O_CLOEXEC | (again ? 0 : O_CREAT);
    kb_auto_close int fd = open(path, flags, 0600);
    if (fd < 0)
        return kb_printf("store: the database %s: %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return kb_printf("store: the database %s is not a regular file", path);
    if ((st.st_mode & 077) && fchmod(fd, 0600) != 0)
        return kb_printf("store: the database %s must have mode 0600: %s", path, strerror(errno));
    db->device = st.st_dev;
    db->inode = st.st_ino;
    return NULL;
}

/* SQLite does not notice in WAL mode that its file was removed or replaced (a restore): it would
 * write on into a file without a name. */
bool kb_sqlite_present(struct kb_backend *b)
{
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    struct stat st;
    if (stat(db->path, &st) == 0 && st.st_dev == db->device && st.st_ino == db->inode)
        return true;
    /* Its -wal belongs to whoever has the name now. */
    sqlite3_db_config(db->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return false;
}

/* --- the schema ------------------------------------------------------------------------------- */

static bool pragma_number(sqlite3 *db, const char *sql, int64_t *value)
{
    sqlite3_stmt *st = NULL;
    bool ok =
        sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW;
    if (ok)
        *value = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return ok;
}

static char *said(sqlite3 *db, const char *path, const char *doing)
{
    return kb_printf("store: %s: %s: %s (%d)", path, doing, sqlite3_errmsg(db),
                     sqlite3_extended_errcode(db));
}

static char *check_schema(sqlite3 *db, const char *path, int64_t *version)
{
    int64_t application, tables;
    if (!pragma_number(db, "PRAGMA application_id", &application) ||
        !pragma_number(db, "PRAGMA user_version", version) ||
        !pragma_number(db, "SELECT count(*) FROM sqlite_schema", &tables))
        return said(db, path, "reading the schema");
    if (application != APPLICATION_ID && (application != 0 || tables != 0))
        return kb_printf("store: %s is a database of another program", path);
    if (*version > SCHEMA)
        return kb_printf("store: %s has schema %d, which is newer than the %d that this kerbside "
                         "knows; use the newer kerbside or restore an older backup",
                         path, (int)*version, SCHEMA);
    return NULL;
}

static bool apply(sqlite3 *db, int64_t version)
{
    kb_auto_free char *end = kb_printf("PRAGMA application_id = %d; PRAGMA user_version = %d",
                                       APPLICATION_ID, (int)version);
    return sqlite3_exec(db, migrations[version - 1], NULL, NULL, NULL) == SQLITE_OK &&
           sqlite3_exec(db, end, NULL, NULL, NULL) == SQLITE_OK;
}

/* All missing migrations are one transaction: a start that is killed leaves the old schema
 * whole. */
static char *migrate(sqlite3 *db, const char *path)
{
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return said(db, path, "locking the database");
    int64_t version = 0;
    char *error = check_schema(db, path, &version);
    int64_t from = version;
    while (!error && version < SCHEMA)
        if (!apply(db, ++version))
            error = said(db, path, "applying a migration");
    if (!error && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        error = said(db, path, "committing a migration");
    if (error)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    else if (from < SCHEMA)
        kb_log(KB_LOG_INFO, "store.migrated", KB_STR("database", path), KB_INT("from", from),
               KB_INT("to", SCHEMA));
    return error;
}

/* --- the connection --------------------------------------------------------------------------- */

static void free_fold_locale(void *locale)
{
    if (locale)
        freelocale(locale);
}

/* Most names, and much faster than by the locale. False: it is more than ASCII. */
static bool fold_ascii(sqlite3_context *context, const char *text)
{
    char low[KB_NAME_SIZE];
    size_t n = 0;
    for (; text[n]; n++) {
        if (n == sizeof low || (unsigned char)text[n] >= 0x80)
            return false;
        low[n] = (char)(text[n] >= 'A' && text[n] <= 'Z' ? text[n] + ('a' - 'A') : text[n]);
    }
    sqlite3_result_text(context, low, (int)n, SQLITE_TRANSIENT);
    return true;
}

/* fold(text): lower case, for looking without case. SQLite's own lower() knows only ASCII. */
static void fold(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    locale_t locale = sqlite3_user_data(context);
    const char *text = (const char *)sqlite3_value_text(values[0]);
    if (!text) {
        sqlite3_result_null(context);
        return;
    }
    if (fold_ascii(context, text))
        return;
    struct kb_buf out = {0};
    locale_t before = locale ? uselocale(locale) : NULL;
    mbstate_t in_state = {0}, out_state = {0};
    for (size_t n; *text; text += n) {
        wchar_t c;
        char raw[MB_LEN_MAX];
        n = mbrtowc(&c, text, strlen(text), &in_state);
        if (n == 0 || n > MB_LEN_MAX) { /* not in this locale: as it is */
            n = 1;
            in_state = (mbstate_t){0};
            kb_buf_add(&out, text, 1);
            continue;
        }
        size_t len = wcrtomb(raw, (wchar_t)towlower((wint_t)c), &out_state);
        kb_buf_add(&out, len == (size_t)-1 ? text : raw, len == (size_t)-1 ? n : len);
    }
    if (locale)
        uselocale(before);
    sqlite3_result_text(context, kb_buf_steal(&out), -1, free);
}

/* Of the connection that reads: a search through all consoles takes milliseconds. */
static int between_steps(void *nothing)
{
    (void)nothing;
    kb_thread_offer();
    return 0;
}

static char *configure(sqlite3 *db, const char *path, bool reader)
{
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_MS);
    if (reader)
        sqlite3_progress_handler(db, STEPS, between_steps, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
    /* FULL: what was answered survives a power cut too, see
     * docs/decisions/0020-sqlite-and-two-threads.md. */
    const char *sql = reader ? "PRAGMA query_only = ON; PRAGMA cache_size = -8192;"
                               "PRAGMA temp_store = MEMORY;"
                             : "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                               "PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;"
                               "PRAGMA journal_size_limit = 67108864;";
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return said(db, path, "configuring the database");
    locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
    if (sqlite3_create_function_v2(db, "fold", 1,
                                   SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, locale,
                                   fold, NULL, NULL, free_fold_locale) != SQLITE_OK)
        return said(db, path, "configuring the database");
    return NULL;
}

static char *prepare(struct kb_sqlite *db, const char *path, bool reader)
{
    for (int i = 0; i < KB_SQL_COUNT; i++) {
        if (sql_connections[i] == (reader ? 'W' : 'R'))
            continue;
        if (sqlite3_prepare_v3(db->db, sql_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &db->statements[i], NULL) != SQLITE_OK)
            return said(db->db, path, sql_texts[i]);
    }
    return NULL;
}

static char *open_at(struct kb_sqlite *db, const char *path, const struct kb_backend_open *o)
{
    char *error = o->reader ? NULL : check_directory(path);
    if (!error)
        error = check_file(db, path, o->again || o->reader);
    if (error)
        return error;
    /* NOMUTEX: one thread per connection. */
    if (sqlite3_open_v2(path, &db->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        return said(db->db, path, "opening the database");
    /* Before configure, which would turn another program's database into WAL. */
    int64_t version;
    error = check_schema(db->db, path, &version);
    if (!error)
        error = configure(db->db, path, o->reader);
    if (!error && !o->reader)
        error = migrate(db->db, path);
    if (!error)
        error = prepare(db, path, o->reader);
    return error;
}

struct kb_backend *kb_sqlite_open(const struct kb_backend_open *o, char **error)
{
    struct kb_sqlite *db = kb_zalloc(sizeof *db);
    db->path = path_of(o);
    kb_backend_init(&db->base, &kb_sqlite_type, o->node);
    *error = open_at(db, db->path, o);
    if (!*error)
        return &db->base;
    kb_sqlite_close(&db->base);
    return NULL;
}

void kb_sqlite_close(struct kb_backend *b)
{
    struct kb_sqlite *db = (struct kb_sqlite *)b;
    for (int i = 0; i < KB_SQL_COUNT; i++)
        sqlite3_finalize(db->statements[i]);
    sqlite3_close(db->db);
    kb_backend_finish(b);
    free(db->path);
    free(db);
}
