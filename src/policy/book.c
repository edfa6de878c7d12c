/* Policies and their attachments: chooses those that hold, and merges them. Pure; any thread. */
#include "policy/book.h"

#include "base/auto.h"
#include "base/glob.h"
#include "base/mem.h"

#include <stdlib.h>

/* --- one policy ------------------------------------------------------------------------------- */

struct kb_policy *kb_policy_create(const char *name)
{
    struct kb_policy *p = kb_zalloc(sizeof *p);
    p->name = kb_strdup(name);
    kb_limits_init(&p->limits);
    return p;
}

static void finish_names(struct kb_names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free((char *)n->entries[i]);
    free((void *)n->entries);
}

void kb_policy_destroy(struct kb_policy *p)
{
    if (!p)
        return;
    free(p->name);
    kb_limits_finish(&p->limits);
    finish_names(&p->files_names);
    finish_names(&p->ports);
    kb_usb_filter_finish(&p->usb_filter);
    kb_hours_finish(&p->hours);
    free(p);
}

void kb_policy_say(struct kb_policy *p, enum kb_field_id f)
{
    const struct kb_names *files_names = &p->files_names, *ports = &p->ports;
    const struct kb_usb_filter *filter = &p->usb_filter;
    const struct kb_hours *hours = &p->hours;
    const struct kb_limits lists = {
        .files_names = {&files_names, 1},
        .ports = {&ports, 1},
        .usb_filters = {&filter, 1},
        .hours = {&hours, 1},
    };
    enum kb_field_kind kind = kb_policy_fields[f].kind;
    bool is_list = kind == KB_FIELD_NAMES || kind == KB_FIELD_FILTER || kind == KB_FIELD_HOURS;
    if (is_list && !(p->says & 1u << f))
        kb_policy_field_merge(f, &p->limits, &lists);
    p->says |= 1u << f;
}

/* --- the book --------------------------------------------------------------------------------- */

struct kb_policy_book *kb_policy_book_create(void)
{
    struct kb_policy_book *b = kb_zalloc(sizeof *b);
    b->refs = 1;
    kb_policy_book_add(b, kb_policy_create("default"));
    return b;
}

struct kb_policy_book *kb_policy_book_ref(struct kb_policy_book *b)
{
    __atomic_fetch_add(&b->refs, 1, __ATOMIC_RELAXED);
    return b;
}

static void finish_attachment(struct kb_attachment *a)
{
    free(a->policy);
    free(a->source);
    free(a->uuid);
    free(a->consoles);
}

void kb_policy_book_unref(struct kb_policy_book *b)
{
    if (!b || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    for (size_t i = 0; i < b->count; i++)
        kb_policy_destroy(b->policies[i]);
    for (size_t i = 0; i < b->attachment_count; i++)
        finish_attachment(&b->attachments[i]);
    free(b->policies);
    free(b->attachments);
    free(b);
}

void kb_policy_book_add(struct kb_policy_book *b, struct kb_policy *p)
{
    for (size_t i = 0; i < b->count; i++) {
        if (strcmp(b->policies[i]->name, p->name) == 0) {
            kb_policy_destroy(b->policies[i]);
            b->policies[i] = p;
            return;
        }
    }
    b->policies = kb_realloc(b->policies, (b->count + 1) * sizeof(struct kb_policy *));
    b->policies[b->count++] = p;
}

void kb_policy_book_attach(struct kb_policy_book *b, const char *policy, const char *source,
                           const char *uuid, const char *consoles)
{
    b->attachments = kb_realloc(b->attachments, (b->attachment_count + 1) * sizeof *b->attachments);
    b->attachments[b->attachment_count++] = (struct kb_attachment){
        kb_strdup(policy), kb_strdup(source), kb_strdup(uuid), kb_strdup(consoles)};
}

const struct kb_policy *kb_policy_book_find(const struct kb_policy_book *b, const char *name)
{
    for (size_t i = 0; i < b->count; i++)
        if (strcmp(b->policies[i]->name, name) == 0)
            return b->policies[i];
    return NULL;
}

/* --- which policies hold ---------------------------------------------------------------------- */

const char *kb_because_name(enum kb_because b)
{
    static const char *const names[KB_BECAUSE_COUNT] = {"default", "source", "console",
                                                        "role",    "group",  "grant"};
    return names[b];
}

struct choice {
    const struct kb_policy_book *book;
    struct kb_policy_choice *chosen;
    size_t count;
    char *unknown;
};

static bool choose(struct choice *c, const char *name, enum kb_because because)
{
    const struct kb_policy *p = kb_policy_book_find(c->book, name);
    for (size_t i = 0; p && i < c->count; i++)
        if (c->chosen[i].policy == p)
            return true;
    if (p && c->count < KB_POLICIES_MAX) {
        c->chosen[c->count++] = (struct kb_policy_choice){p, because};
        return true;
    }
    kb_copy_str(c->unknown, KB_POLICY_NAME_SIZE, name);
    return false;
}

static bool choose_names(struct choice *c, const char *names, enum kb_because because)
{
    kb_auto_free char *copy = kb_strdup(names ? names : "");
    char *rest = copy;
    for (char *name; (name = strsep(&rest, " "));)
        if (*name && !choose(c, name, because))
            return false;
    return true;
}

static bool matches(const char *patterns, const char *name)
{
    while (name && *patterns) {
        size_t len = strcspn(patterns, "\n");
        if (len && kb_glob(kb_span(patterns, len), name))
            return true;
        patterns += len + (patterns[len] == '\n');
    }
    return false;
}

static bool choose_attached(struct choice *c, const struct kb_policy_subject *s,
                            enum kb_because because)
{
    for (size_t i = 0; i < c->book->attachment_count; i++) {
        const struct kb_attachment *a = &c->book->attachments[i];
        bool whole = !a->uuid && !a->consoles;
        if (strcmp(a->source, s->source) != 0 || whole != (because == KB_BECAUSE_SOURCE))
            continue;
        if ((whole || (a->uuid && strcmp(a->uuid, s->uuid) == 0) ||
             (a->consoles && matches(a->consoles, s->console))) &&
            !choose(c, a->policy, because))
            return false;
    }
    return true;
}

bool kb_policy_book_choose(const struct kb_policy_book *b, const struct kb_policy_subject *s,
                           struct kb_policy_choice chosen[KB_POLICIES_MAX], size_t *count,
                           char unknown[KB_POLICY_NAME_SIZE])
{
    struct choice c = {.book = b, .chosen = chosen, .unknown = unknown};
    unknown[0] = '\0';
    bool ok = choose(&c, "default", KB_BECAUSE_DEFAULT) &&
              choose_attached(&c, s, KB_BECAUSE_SOURCE) &&
              choose_attached(&c, s, KB_BECAUSE_CONSOLE) &&
              choose_names(&c, s->by_role, KB_BECAUSE_ROLE) &&
              choose_names(&c, s->by_group, KB_BECAUSE_GROUP) &&
              choose_names(&c, s->by_grant, KB_BECAUSE_GRANT);
    *count = c.count;
    return ok;
}

/* --- their sum -------------------------------------------------------------------------------- */

/* The grammar stands by itself: what nobody says is enforce, not the loosest. */
static bool is_grammar_observed(const struct kb_policy_choice *chosen, size_t count)
{
    bool said = false;
    for (size_t i = 0; i < count; i++) {
        const struct kb_policy *p = chosen[i].policy;
        if (!(p->says & 1u << KB_HAS_GRAMMAR))
            continue;
        said = true;
        if (p->limits.grammar == KB_GRAMMAR_ENFORCE && !p->observe)
            return false;
    }
    return said;
}

struct kb_rules *kb_policy_book_merge(struct kb_policy_book *b,
                                      const struct kb_policy_choice *chosen, size_t count)
{
    struct kb_rules *r = kb_rules_create();
    r->book = kb_policy_book_ref(b);
    for (size_t i = 0; i < count; i++) {
        const struct kb_policy *p = chosen[i].policy;
        for (unsigned f = 0; f < KB_FIELD_COUNT; f++) {
            if (!(p->says & 1u << f))
                continue;
            kb_policy_field_merge((enum kb_field_id)f, &r->all, &p->limits);
            if (!p->observe)
                kb_policy_field_merge((enum kb_field_id)f, &r->enforced, &p->limits);
            else if (f != KB_HAS_GRAMMAR)
                r->observing = true;
        }
        char *names = kb_printf("%s%s%s", r->names ? r->names : "", r->names ? " " : "", p->name);
        free(r->names);
        r->names = names;
    }
    r->grammar_observed = is_grammar_observed(chosen, count);
    r->enforced.grammar = r->all.grammar =
        r->grammar_observed ? KB_GRAMMAR_OBSERVE : KB_GRAMMAR_ENFORCE;
    return r;
}

struct kb_rules *kb_policy_book_resolve(struct kb_policy_book *b, const struct kb_policy_subject *s,
                                        char unknown[KB_POLICY_NAME_SIZE])
{
    struct kb_policy_choice chosen[KB_POLICIES_MAX];
    size_t count;
    return kb_policy_book_choose(b, s, chosen, &count, unknown)
               ? kb_policy_book_merge(b, chosen, count)
               : NULL;
}

/* Every policy of the sum that has a list of the kind has a part in it. */
bool kb_policy_decides(const struct kb_policy *p, enum kb_field_id f, const struct kb_rules *r,
                       bool enforced)
{
    if (!(p->says & 1u << f) || (enforced && p->observe))
        return false;
    enum kb_field_kind kind = kb_policy_fields[f].kind;
    return kind == KB_FIELD_NAMES || kind == KB_FIELD_FILTER || kind == KB_FIELD_HOURS ||
           kb_policy_field_equal(f, &p->limits, enforced ? &r->enforced : &r->all);
}
