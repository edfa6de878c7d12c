/* Merges what policies say, field by field. Pure; any thread. */
#include "policy/field.h"

#include "base/mem.h"

#include <stdlib.h>

const struct kb_policy_field kb_policy_fields[KB_FIELD_COUNT] = {
#define X(symbol, key, kind, member) {key, KB_FIELD_##kind, offsetof(struct kb_limits, member)},
    KB_FIELDS(X)
#undef X
};

/* The three kinds of lists are one shape to whoever joins them. */
struct list {
    const void **items;
    size_t count;
};
_Static_assert(sizeof(struct list) == sizeof(struct kb_names_lists) &&
                   sizeof(struct list) == sizeof(struct kb_usb_filters) &&
                   sizeof(struct list) == sizeof(struct kb_hours_lists),
               "lists have one shape");

static const void *at(const struct kb_limits *l, enum kb_field_id f)
{
    return (const char *)l + kb_policy_fields[f].offset;
}

static void *at_mutable(struct kb_limits *l, enum kb_field_id f)
{
    return (char *)l + kb_policy_fields[f].offset;
}

enum kb_field_id kb_policy_field_find(const char *key)
{
    unsigned f = 0;
    while (f < KB_FIELD_COUNT && strcmp(kb_policy_fields[f].key, key) != 0)
        f++;
    return (enum kb_field_id)f;
}

/* As bytes, because each struct has a type of its own. */
static void join(void *to, const void *from)
{
    struct list l, more;
    memcpy(&l, to, sizeof l);
    memcpy(&more, from, sizeof more);
    l.items = kb_realloc(l.items, (l.count + more.count) * sizeof *l.items + 1);
    for (size_t i = 0; i < more.count; i++)
        l.items[l.count++] = more.items[i];
    memcpy(to, &l, sizeof l);
}

#define LOWER_LIMIT(type, to, from)                                                                \
    do {                                                                                           \
        type *limit_ = (to);                                                                       \
        const type *other_ = (from);                                                               \
        if (*other_ && (!*limit_ || *other_ < *limit_))                                            \
            *limit_ = *other_;                                                                     \
    } while (0)

void kb_policy_field_merge(enum kb_field_id f, struct kb_limits *to, const struct kb_limits *from)
{
    void *mine = at_mutable(to, f);
    const void *other = at(from, f);
    switch (kb_policy_fields[f].kind) {
    case KB_FIELD_ALLOW:
        *(bool *)mine = *(bool *)mine && *(const bool *)other;
        return;
    case KB_FIELD_FORBID:
        *(bool *)mine = *(bool *)mine || *(const bool *)other;
        return;
    case KB_FIELD_LEVEL:
        if (*(const uint8_t *)other < *(uint8_t *)mine)
            *(uint8_t *)mine = *(const uint8_t *)other;
        return;
    case KB_FIELD_NUMBER:
        LOWER_LIMIT(uint32_t, mine, other);
        return;
    case KB_FIELD_SIZE:
    case KB_FIELD_RATE:
        LOWER_LIMIT(uint64_t, mine, other);
        return;
    case KB_FIELD_DURATION:
        LOWER_LIMIT(int64_t, mine, other);
        return;
    case KB_FIELD_NAMES:
    case KB_FIELD_FILTER:
    case KB_FIELD_HOURS:
        join(mine, other);
        return;
    }
}

bool kb_policy_field_equal(enum kb_field_id f, const struct kb_limits *a, const struct kb_limits *b)
{
    switch (kb_policy_fields[f].kind) {
    case KB_FIELD_ALLOW:
    case KB_FIELD_FORBID:
        return *(const bool *)at(a, f) == *(const bool *)at(b, f);
    case KB_FIELD_LEVEL:
        return *(const uint8_t *)at(a, f) == *(const uint8_t *)at(b, f);
    case KB_FIELD_NUMBER:
        return *(const uint32_t *)at(a, f) == *(const uint32_t *)at(b, f);
    case KB_FIELD_SIZE:
    case KB_FIELD_RATE:
        return *(const uint64_t *)at(a, f) == *(const uint64_t *)at(b, f);
    case KB_FIELD_DURATION:
        return *(const int64_t *)at(a, f) == *(const int64_t *)at(b, f);
    case KB_FIELD_NAMES:
    case KB_FIELD_FILTER:
    case KB_FIELD_HOURS:
        return false;
    }
    return false;
}

void kb_limits_finish(struct kb_limits *l)
{
    free(l->files_names.lists);
    free(l->ports.lists);
    free(l->usb_filters.filters);
    free(l->hours.lists);
    *l = (struct kb_limits){0};
}
