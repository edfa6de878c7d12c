/* OpenNebula: virtual machines with a SPICE display, over the front-end's XML-RPC. A machine's
 * password is set once and for all when it is made, and there is no TLS to its display.
 * docs/sources/opennebula.md. Threads of calls. */
#include "source/api.h"
#include "source/one_rpc.h"

#include "base/mem.h"

#include <string.h>

/* A page of the pool is one text of the answer, and libxml2 takes 10 MB of those. */
#define PAGE 200
#define PAGES_MAX 5000
#define ROUNDS_MAX 3
#define TICKET_MAX_BYTES 59 /* SPICE_MAX_PASSWORD_LENGTH (60) with its NUL */

enum { FILTER_ALL = -2, STATE_ACTIVE = 3 }; /* of one.vmpool.info */

static const struct kb_source_key keys[] = {
    {"url", KB_KEY_URL, .max = 1024, .required = true},
    {"username", KB_KEY_TEXT, .max = 256, .required = true},
    {"password", KB_KEY_SECRET, .max = 1024, .required = true},
    {"owner", KB_KEY_TEXT, .max = 256},
    {"verify", KB_KEY_VERIFY, .fallback = "true"},
};

/* --- asking ----------------------------------------------------------------------------------- */

static char *url_of(const struct kb_source_config *c)
{
    static const char tail[] = "/RPC2";
    const char *url = kb_setting_text(c, "url");
    size_t len = strlen(url), end = strlen(tail);
    bool has = len > end && strcmp(url + len - end, tail) == 0;
    return kb_printf("%s%s", url, has ? "" : tail);
}

/* One call; the answer may be a refusal. False with call->why: there is none. */
static bool ask(struct kb_source_call *call, const char *what, const char *method,
                const int *numbers, size_t count, struct kb_one_answer *answer)
{
    const struct kb_source_config *c = call->config;
    kb_auto_free char *url = url_of(c);
    kb_auto(kb_secret_finish) struct kb_secret session = {
        kb_printf("%s:%s", kb_setting_text(c, "username"), kb_setting_secret(c, "password"))};
    kb_auto(kb_secret_finish) struct kb_secret body =
        kb_one_call(method, session.text, numbers, count);
    kb_auto(kb_api_finish) struct kb_api a = {
        .what = what,
        .url = url,
        .headers = {"Content-Type: text/xml"},
        .body = body.text,
        .no_verify = !kb_setting_flag(c, "verify"),
        .no_json = true,
        .max = KB_API_LIST_MAX,
    };
    *answer = (struct kb_one_answer){0};
    if (!kb_api_ask(call, &a))
        return false;
    if (a.status == 200 && kb_one_answer_read(a.fetch.answer.data, a.fetch.answer.len, answer))
        return true;
    kb_one_answer_finish(answer);
    return kb_api_refused(call, &a);
}

static bool refused(struct kb_source_call *call, const char *what, const struct kb_one_answer *a)
{
    char words[160];
    kb_api_copy_words(words, sizeof words, kb_secret_text(&a->text));
    return kb_call_failed(call, "%s: %s (error 0x%04llx)", what, words,
                          (unsigned long long)a->code & 0xffffffff);
}

/* --- machines --------------------------------------------------------------------------------- */

/* Whom a machine belongs to here: its user there by the key `owner`; nobody without it, because the
 * same name may be somebody else's. To be freed. */
static char *owner_of(const struct kb_source_config *c, const char *user)
{
    const char *pattern = kb_setting_text(c, "owner");
    const char *gap = pattern ? strstr(pattern, "%u") : NULL;
    if (!gap || !user || !*user)
        return NULL;
    return kb_printf("%.*s%s%s", (int)(gap - pattern), pattern, user, gap + 2);
}

static void read_vm(const struct kb_source_config *c, const xmlNode *vm, struct kb_one_vm *v)
{
    kb_one_vm_read(vm, v);
    if (!v->console)
        return;
    char *owner = owner_of(c, v->console->owner);
    free(v->console->owner);
    v->console->owner = owner;
}

/* --- list ------------------------------------------------------------------------------------- */

struct pages {
    int offset;
    char *last;   /* the id of the last machine so far; NULL: none yet */
    bool shifted; /* a page does not join the one before: machines came or went meanwhile */
    bool end;
};

/* A page begins with the last machine of the one before, so that a shift between them is seen:
 * pages are counted by number, and a machine that went would make another fall in between. */
static void take_page(const struct kb_source_config *c, const xmlNode *pool, struct pages *p,
                      struct kb_console **map)
{
    int count = 0;
    for (const xmlNode *vm = kb_xml_child(pool, "VM"); vm; vm = kb_xml_next(vm, "VM"), count++) {
        kb_auto(kb_one_vm_finish) struct kb_one_vm v;
        read_vm(c, vm, &v);
        if (count == 0 && p->last && (!v.id || strcmp(v.id, p->last) != 0)) {
            p->shifted = true;
            return;
        }
        if (v.id) {
            free(p->last);
            p->last = kb_strdup(v.id);
        }
        if (v.console)
            kb_consoles_add(map, v.console);
        v.console = NULL;
    }
    p->shifted = p->last && !count;
    p->end = count < PAGE;
    p->offset += count - 1;
}

/* Of the machines that the account may use, those that are active. */
static bool list_page(struct kb_source_call *call, struct pages *p, struct kb_console **map)
{
    static const char what[] = "listing machines";
    const int numbers[] = {FILTER_ALL, p->offset, -PAGE, STATE_ACTIVE};
    kb_auto(kb_one_answer_finish) struct kb_one_answer a;
    if (!ask(call, what, "one.vmpool.info", numbers, 4, &a))
        return false;
    if (!a.ok)
        return refused(call, what, &a);
    const char *text = kb_secret_text(&a.text);
    kb_auto(kb_xml_finish) xmlDoc *doc = kb_xml_parse(text, strlen(text));
    const xmlNode *pool = kb_xml_root(doc, "VM_POOL");
    if (!pool)
        return kb_call_failed(call, "%s: the answer is no VM_POOL", what);
    take_page(call->config, pool, p, map);
    return true;
}

static bool list_all(struct kb_source_call *call, struct kb_console **map, bool *shifted)
{
    struct pages p = {0};
    bool ok = true;
    for (int page = 0; ok && !p.end && !p.shifted; page++)
        ok = page < PAGES_MAX ? list_page(call, &p, map)
                              : kb_call_failed(call, "listing machines: the pages have no end");
    *shifted = p.shifted;
    free(p.last);
    return ok;
}

static enum kb_listed one_list(struct kb_source_call *call, struct kb_console **map)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        bool shifted;
        if (!list_all(call, map, &shifted))
            return KB_LIST_FAILED;
        if (!shifted)
            return KB_LISTED;
        kb_consoles_destroy(map);
    }
    kb_call_failed(call, "listing machines: they come and go faster than they can be listed");
    return KB_LIST_FAILED;
}

/* --- open ------------------------------------------------------------------------------------- */

static enum kb_reason make_target(struct kb_source_call *call, struct kb_one_vm *v,
                                  struct kb_target **target)
{
    static const char what[] = "opening";
    if (v->unreachable)
        kb_call_failed(call,
                       "%s: the machine's display listens on %.60s's own loopback address alone; "
                       "give its GRAPHICS a LISTEN that kerbside can reach, such as 0.0.0.0",
                       what, v->console->hypervisor);
    else if (strlen(kb_secret_text(&v->ticket)) > TICKET_MAX_BYTES)
        kb_call_failed(call, "%s: the machine's PASSWD is longer than the %d bytes of SPICE", what,
                       TICKET_MAX_BYTES);
    else
        *target = kb_target_of(call->config, v->console);
    if (!*target)
        return KB_REASON_SOURCE_FAILED;
    (*target)->ticket = v->ticket;
    v->ticket = (struct kb_secret){0};
    return KB_REASON_NONE;
}

static enum kb_reason read_answer(struct kb_source_call *call, const struct kb_console *console,
                                  const struct kb_one_answer *a, struct kb_target **target)
{
    const char *text = kb_secret_text(&a->text);
    kb_auto(kb_xml_finish) xmlDoc *doc = kb_xml_parse(text, strlen(text));
    kb_auto(kb_one_vm_finish) struct kb_one_vm v;
    read_vm(call->config, kb_xml_root(doc, "VM"), &v);
    if (!v.id || strcmp(v.id, console->uuid) != 0) {
        kb_call_failed(call, "asking for the machine: the answer is not machine %.20s",
                       console->uuid);
        return KB_REASON_SOURCE_FAILED;
    }
    return v.console ? make_target(call, &v, target) : KB_REASON_CONSOLE_GONE;
}

/* Where the machine is now and with which password: it may have moved since it was listed. Numbers
 * are never used again. */
static enum kb_reason one_open(struct kb_source_call *call, const struct kb_console *console,
                               struct kb_target **target)
{
    static const char what[] = "asking for the machine";
    long id = strtol(console->uuid, NULL, 10);
    const int number = id <= INT32_MAX ? (int)id : -1;
    kb_auto(kb_one_answer_finish) struct kb_one_answer a;
    *target = NULL;
    if (!ask(call, what, "one.vm.info", &number, 1, &a))
        return KB_REASON_SOURCE_FAILED;
    if (a.ok)
        return read_answer(call, console, &a, target);
    if (a.code == KB_ONE_NO_EXISTS)
        return KB_REASON_CONSOLE_GONE;
    refused(call, what, &a);
    return KB_REASON_SOURCE_FAILED;
}

/* --- check ------------------------------------------------------------------------------------ */

static bool one_check(struct kb_source_call *call)
{
    static const char what[] = "logging in";
    kb_auto_free char *url = url_of(call->config);
    kb_auto(kb_one_answer_finish) struct kb_one_answer a = {0};
    if (!kb_api_check(call, url, !kb_setting_flag(call->config, "verify")))
        return false;
    if (!ask(call, what, "one.system.version", NULL, 0, &a))
        return kb_check_failed(call, "login",
                               "Look whether url is that of oned: http://FRONTEND:2633/RPC2, or "
                               "that of the TLS proxy in front of it.");
    if (!a.ok) {
        refused(call, what, &a);
        return kb_check_failed(call, "login",
                               a.code == KB_ONE_AUTHENTICATION
                                   ? "Look at username and password; a login token has an end."
                                   : "Look at oned's log.");
    }
    char version[24];
    kb_api_copy_words(version, sizeof version, kb_secret_text(&a.text));
    kb_check_ok(call, "login", "as %.100s, version %s", kb_setting_text(call->config, "username"),
                version);
    return true;
}

const struct kb_source_driver kb_source_driver_opennebula = {
    .type = "opennebula",
    .keys = keys,
    .key_count = sizeof keys / sizeof keys[0],
    .list = one_list,
    .open = one_open,
    .check = one_check,
};
