/* An inventory service that answers with our record of each console as JSON: the way in for clouds
 * that kerbside has no driver for. docs/sources/http.md says what it must answer,
 * docs/write-a-source.md goes through this file. Threads of calls. */
#include "source/api.h"
#include "source/record.h"

#include "base/log.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>

#define PAGES_MAX 1000

/* --- configuration ---------------------------------------------------------------------------- */

static const struct kb_source_key keys[] = {
    {"url", KB_KEY_URL, .min = 1, .max = 1024, .required = true},
    {"console_url", KB_KEY_TEXT, .max = 1024},
    {"token", KB_KEY_SECRET, .max = 4096},
    {"verify", KB_KEY_VERIFY, .fallback = "true"},
};

/* What calls share: the ETag of the list that was last taken. */
struct directory {
    pthread_mutex_t lock;
    char *etag;
};

static void *http_start(const struct kb_source_config *config)
{
    (void)config;
    struct directory *d = kb_zalloc(sizeof *d);
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

static void http_finish(void *state)
{
    struct directory *d = state;
    pthread_mutex_destroy(&d->lock);
    free(d->etag);
    free(d);
}

/* --- asking ----------------------------------------------------------------------------------- */

/* A GET with the token; etag: only if it is another now. The answer is in a. */
static bool ask(struct kb_source_call *call, const char *what, const char *url, const char *etag,
                struct kb_api *a)
{
    const char *token = kb_setting_secret(call->config, "token");
    kb_auto_free char *condition = etag ? kb_printf("If-None-Match: %s", etag) : NULL;
    struct kb_secret bearer = {*token ? kb_printf("Authorization: Bearer %s", token) : NULL};
    *a = (struct kb_api){
        .what = what,
        .url = url,
        .headers = {"Accept: application/json", bearer.text, condition},
        .wanted = "ETag",
        .no_verify = !kb_setting_flag(call->config, "verify"),
        .max = KB_API_LIST_MAX,
    };
    bool ok = kb_api_ask(call, a);
    memset(a->headers, 0, sizeof a->headers);
    kb_secret_finish(&bearer);
    return ok;
}

/* --- list ------------------------------------------------------------------------------------- */

static void add(struct kb_source_call *call, struct kb_console **map, const json_t *record,
                const char *etag)
{
    const char *why;
    struct kb_console *c = kb_record_read(call->config, record, false, &why);
    if (!c) {
        const char *uuid = kb_json_str(record, "uuid");
        kb_log(KB_LOG_WARNING, "console.left_out", KB_STR("source", call->config->name),
               KB_STR("console", uuid ? uuid : ""), KB_STR("why", why));
        return;
    }
    c->extra = kb_strdup(etag);
    kb_consoles_add(map, c);
}

/* One page: a list of records, or {"consoles": [...], "next": URL or null}. */
static bool add_page(struct kb_source_call *call, struct kb_console **map, const struct kb_api *a,
                     char **next)
{
    const json_t *list = json_is_array(a->json) ? a->json : json_object_get(a->json, "consoles");
    const char *more = kb_json_str(a->json, "next");
    *next = NULL;
    if (a->status != 200 || !json_is_array(list))
        return kb_api_refused(call, a);
    json_t *record;
    size_t i;
    json_array_foreach(list, i, record) add(call, map, record, a->fetch.header);
    if (more && *more) {
        *next = kb_api_next(a->url, more);
        if (!*next)
            return kb_call_failed(call, "listing: next is no URL: %.100s", more);
    }
    return true;
}

/* etag: of the list that is known, or NULL; *now: of this one, to be freed; NULL when it has none
 * or comes in pages. */
static enum kb_listed fetch_list(struct kb_source_call *call, const char *etag,
                                 struct kb_console **map, char **now)
{
    kb_auto_free char *url = kb_strdup(kb_setting_text(call->config, "url"));
    *now = NULL;
    for (unsigned page = 0; page < PAGES_MAX; page++) {
        kb_auto(kb_api_finish) struct kb_api a;
        char *next = NULL;
        if (!ask(call, "listing", url, page ? NULL : etag, &a))
            return KB_LIST_FAILED;
        if (page == 0 && etag && a.status == 304)
            return KB_LISTED_UNCHANGED;
        if (!add_page(call, map, &a, &next))
            return KB_LIST_FAILED;
        if (page == 0 && !next)
            *now = kb_strdup(a.fetch.header);
        if (!next)
            return KB_LISTED;
        free(url);
        url = next;
    }
    kb_call_failed(call, "listing: more than %d pages", PAGES_MAX);
    return KB_LIST_FAILED;
}

static enum kb_listed http_list(struct kb_source_call *call, struct kb_console **map)
{
    struct directory *d = call->state;
    pthread_mutex_lock(&d->lock);
    kb_auto_free char *etag = kb_strdup(d->etag);
    pthread_mutex_unlock(&d->lock);
    char *now;
    enum kb_listed listed = fetch_list(call, call->check ? NULL : etag, map, &now);
    if (listed == KB_LISTED && !call->check) {
        pthread_mutex_lock(&d->lock);
        free(d->etag);
        d->etag = now;
        now = NULL;
        pthread_mutex_unlock(&d->lock);
    }
    free(now);
    return listed;
}

/* --- open ------------------------------------------------------------------------------------- */

static enum kb_reason take_target(struct kb_console *c, struct kb_target **target)
{
    *target = kb_target_ref(c->target);
    return KB_REASON_NONE;
}

/* By a request for this console alone. */
static enum kb_reason open_one(struct kb_source_call *call, const char *pattern, const char *uuid,
                               struct kb_target **target)
{
    kb_auto_free char *escaped = kb_fetch_escape(uuid);
    const char *gap = strstr(pattern, "{uuid}");
    kb_auto_free char *url =
        gap ? kb_printf("%.*s%s%s", (int)(gap - pattern), pattern, escaped, gap + strlen("{uuid}"))
            : kb_printf("%s/%s", pattern, escaped);
    kb_auto(kb_api_finish) struct kb_api a;
    if (!ask(call, "asking for the console", url, NULL, &a))
        return KB_REASON_SOURCE_FAILED;
    if (a.status == 404 || a.status == 410)
        return KB_REASON_CONSOLE_GONE;
    const char *why = "it is another console's";
    struct kb_console *c =
        a.status == 200 ? kb_record_read(call->config, a.json, false, &why) : NULL;
    enum kb_reason reason = KB_REASON_SOURCE_FAILED;
    if (a.status != 200)
        kb_api_refused(call, &a);
    else if (!c || strcmp(c->uuid, uuid) != 0)
        kb_call_failed(call, "asking for the console: the record of %.60s: %s", uuid,
                       c ? "it is another console's" : why);
    else
        reason = take_target(c, target);
    kb_console_destroy(c);
    return reason;
}

/* Where the console was when it was listed may be another one's place by now, so the directory is
 * asked; where it knows ETags that costs next to nothing. */
static enum kb_reason http_open(struct kb_source_call *call, const struct kb_console *console,
                                struct kb_target **target)
{
    const char *pattern = kb_setting_text(call->config, "console_url");
    if (pattern)
        return open_one(call, pattern, console->uuid, target);
    struct kb_console *map = NULL;
    kb_auto_free char *now = NULL;
    enum kb_reason reason = KB_REASON_SOURCE_FAILED;
    enum kb_listed listed = fetch_list(call, console->extra, &map, &now);
    if (listed == KB_LISTED_UNCHANGED) {
        *target = kb_target_ref(console->target);
        reason = KB_REASON_NONE;
    } else if (listed == KB_LISTED) {
        struct kb_console *found = kb_consoles_find(map, console->uuid);
        reason = found ? take_target(found, target) : KB_REASON_CONSOLE_GONE;
    }
    kb_consoles_destroy(&map);
    return reason;
}

/* --- check ------------------------------------------------------------------------------------ */

static bool http_check(struct kb_source_call *call)
{
    const char *url = kb_setting_text(call->config, "url");
    if (!kb_api_check(call, url, !kb_setting_flag(call->config, "verify")))
        return false;
    kb_auto(kb_api_finish) struct kb_api a;
    if (!ask(call, "logging in", url, NULL, &a))
        return kb_check_failed(call, "login", "");
    if (a.status == 401 || a.status == 403) {
        kb_api_refused(call, &a);
        return kb_check_failed(call, "login",
                               a.status == 401 ? "Look at the source's token: it may be absent, "
                                                 "wrong or expired."
                                               : "Give the token the right to read the list.");
    }
    kb_check_ok(call, "login",
                *kb_setting_secret(call->config, "token") ? "the token is taken"
                                                          : "no token is asked for");
    return true;
}

const struct kb_source_driver kb_source_driver_http = {
    .type = "http",
    .keys = keys,
    .key_count = sizeof keys / sizeof keys[0],
    .start = http_start,
    .finish = http_finish,
    .list = http_list,
    .open = http_open,
    .check = http_check,
};
