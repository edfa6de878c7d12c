/* JSON in and out: reads the fields of a request's body against a table, and makes the values that
 * answers are built of. Pure; any thread. Does not know requests. */
#include "base/clock.h"
#include "base/duration.h"
#include "http/request.h"
#include "http/text.h"

#include <stdio.h>

static bool complain(char *problem, size_t size, const char *name, const char *what)
{
    /* The name may come from the client. */
    struct kb_buf b = {0};
    kb_buf_add_json(&b, name);
    kb_auto_free char *quoted = kb_buf_steal(&b);
    snprintf(problem, size, "%.80s %s", quoted, what);
    return false;
}

static bool complain_of_field(char *problem, size_t size, const char *name,
                              const struct kb_json_field *fields, size_t count)
{
    kb_auto(kb_buf_finish) struct kb_buf b = {0};
    kb_buf_add_str(&b, count ? "is not a known field; there are" : "is not a known field");
    for (size_t i = 0; i < count; i++)
        kb_buf_printf(&b, "%s %s", i ? "," : "", fields[i].name);
    kb_buf_add(&b, "", 1);
    return complain(problem, size, name, (const char *)b.data);
}

static bool read_text(json_t *v, const struct kb_json_field *f, const char **problem)
{
    *problem = "must be a text";
    if (!json_is_string(v))
        return false;
    const char *s = json_string_value(v);
    if (f->kind == KB_JSON_SECRET) {
        *problem = "is empty or too long";
        if (json_string_length(v) == 0 || json_string_length(v) > f->max)
            return false;
    } else {
        *problem = "is empty, too long, or holds control characters or spaces at its ends";
        if (!kb_text_is_name(s, f->max))
            return false;
    }
    *(const char **)f->to = s;
    return true;
}

#define TEXTS_MAX 64

static bool read_texts(json_t *v, const struct kb_json_field *f, const char **problem)
{
    struct kb_buf b = {0};
    size_t count = json_is_array(v) ? json_array_size(v) : 1;
    bool good = count <= TEXTS_MAX;
    *problem = "must be a text or a list of at most 64 texts";
    for (size_t i = 0; good && i < count; i++) {
        const char *text = NULL;
        struct kb_json_field one = {.kind = KB_JSON_TEXT, .max = f->max, .to = &text};
        good = read_text(json_is_array(v) ? json_array_get(v, i) : v, &one, problem);
        if (good && b.len)
            kb_buf_add_str(&b, "\n");
        if (good)
            kb_buf_add_str(&b, text);
    }
    if (good) {
        free(*(char **)f->to);
        *(char **)f->to = kb_buf_steal(&b);
    }
    kb_buf_finish(&b);
    return good;
}

static bool read_value(json_t *v, const struct kb_json_field *f, const char **problem)
{
    switch (f->kind) {
    case KB_JSON_TEXT:
    case KB_JSON_SECRET:
        return read_text(v, f, problem);
    case KB_JSON_BOOL:
        *problem = "must be true or false";
        if (!json_is_boolean(v))
            return false;
        *(bool *)f->to = json_is_true(v);
        return true;
    case KB_JSON_PORT:
        *problem = "must be a port, 1 to 65535";
        if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > 65535)
            return false;
        *(uint16_t *)f->to = (uint16_t)json_integer_value(v);
        return true;
    case KB_JSON_TEXTS:
        return read_texts(v, f, problem);
    case KB_JSON_DURATION:
        *problem = "must be a duration such as \"60s\" (units: ms, s, m, h, d)";
        return json_is_string(v) && kb_duration_parse(json_string_value(v), f->to);
    case KB_JSON_TIME:
        *problem = "must be a time such as \"2026-11-20T18:00:00Z\"";
        return json_is_string(v) && kb_time_parse(json_string_value(v), f->to);
    }
    return false;
}

bool kb_json_read(json_t *object, const struct kb_json_field *fields, size_t count, char *problem,
                  size_t problem_size)
{
    if (!json_is_object(object)) {
        snprintf(problem, problem_size, "the body must be a JSON object");
        return false;
    }
    const char *key, *why = "";
    json_t *v;
    json_object_foreach(object, key, v)
    {
        size_t i = 0;
        while (i < count && strcmp(fields[i].name, key) != 0)
            i++;
        if (i == count)
            return complain_of_field(problem, problem_size, key, fields, count);
        if (!json_is_null(v) && !read_value(v, &fields[i], &why))
            return complain(problem, problem_size, key, why);
    }
    for (size_t i = 0; i < count; i++) {
        v = json_object_get(object, fields[i].name);
        if (fields[i].required && (!v || json_is_null(v)))
            return complain(problem, problem_size, fields[i].name, "is missing");
    }
    return true;
}

json_t *kb_json_text(const char *s)
{
    if (!s || !*s)
        return json_null();
    if (kb_utf8_valid(s))
        return json_string_nocheck(s);
    struct kb_buf b = {0};
    kb_buf_add_utf8(&b, s);
    json_t *j = json_stringn_nocheck((const char *)b.data, b.len);
    kb_buf_finish(&b);
    return j;
}

json_t *kb_json_list(const char *lines)
{
    json_t *list = json_array();
    while (lines && *lines) {
        size_t len = strcspn(lines, "\n");
        kb_auto_free char *line = kb_printf("%.*s", (int)len, lines);
        if (len)
            json_array_append_new(list, kb_json_text(line));
        lines += len + (lines[len] == '\n');
    }
    return list;
}

json_t *kb_json_time(int64_t wall_ms)
{
    if (wall_ms == 0)
        return json_null();
    char text[KB_TIME_TEXT_SIZE];
    kb_clock_format(wall_ms, text);
    return json_string_nocheck(text);
}

json_t *kb_json_duration(int64_t ms)
{
    char text[KB_DURATION_TEXT_SIZE];
    kb_duration_format(ms, text);
    return json_string_nocheck(text);
}

json_t *kb_json_uint(uint64_t n)
{
    return json_integer((json_int_t)n);
}
