/* Reads time zones: the transitions of the file, and after the last of them its footer, a POSIX TZ
 * string (RFC 8536, section 3; POSIX.1-2017, 8.3). Pure; any thread. */
#include "policy/zone.h"

#include "base/mem.h"

#include <stdlib.h>

#define HEADER_SIZE 44
#define DAY 86400

/* When daylight saving begins or ends. */
struct rule {
    char kind; /* 'M': month, week, day of week; 'J': day 1..365, no 29 February; 'D': day 0..365 */
    int month, week, day;
    int32_t seconds; /* of local time, from midnight */
};

struct footer {
    bool there, dst;
    int32_t standard, daylight; /* seconds east */
    struct rule begin, end;
};

struct kb_zone {
    size_t count;
    int64_t *times;
    int32_t *offsets; /* from times[i] on */
    int32_t before;   /* before times[0] */
    struct footer footer;
};

/* --- days ------------------------------------------------------------------------------------- */

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days from 1970-01-01 to the first of January. */
static int64_t year_start(int64_t year)
{
    int64_t y = year - 1; /* whole years of the calendar before it, from the year 1 */
    return 365 * (year - 1970) + (y / 4 - y / 100 + y / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400);
}

static int64_t year_of(int64_t time)
{
    int64_t days = time / DAY, year = 1970 + days / 366;
    while (year_start(year + 1) <= days)
        year++;
    return year;
}

/* Days from 1970-01-01. */
static int64_t rule_day(const struct rule *r, int64_t year)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t first = year_start(year);
    if (r->kind == 'D')
        return first + r->day;
    if (r->kind == 'J')
        return first + r->day - 1 + (is_leap(year) && r->day >= 60);
    int length = 0;
    for (int m = 1; m <= r->month; m++) {
        first += length;
        length = lengths[m - 1] + (m == 2 && is_leap(year));
    }
    int weekday = (int)((first + 4) % 7); /* 1970-01-01 was a Thursday; 0 is Sunday */
    int day = (r->day - weekday + 7) % 7 + 7 * (r->week - 1);
    while (day >= length) /* week 5 is the last one */
        day -= 7;
    return first + day;
}

/* --- the footer ------------------------------------------------------------------------------- */

static bool number(const char **at, int max, int *n)
{
    const char *start = *at;
    for (*n = 0; **at >= '0' && **at <= '9' && *at - start < 4; ++*at)
        *n = *n * 10 + (**at - '0');
    return *at > start && *n <= max;
}

/* [+-]hh[:mm[:ss]] */
static bool clock_time(const char **at, int max_hours, int32_t *seconds)
{
    int sign = **at == '-' ? -1 : 1, h, m = 0, s = 0;
    if (**at == '-' || **at == '+')
        ++*at;
    if (!number(at, max_hours, &h))
        return false;
    if (**at == ':' && (++*at, !number(at, 59, &m)))
        return false;
    if (**at == ':' && (++*at, !number(at, 59, &s)))
        return false;
    *seconds = sign * (h * 3600 + m * 60 + s);
    return true;
}

static bool skip_name(const char **at)
{
    const char *start = *at;
    if (**at == '<') {
        while (**at && **at != '>')
            ++*at;
        return *(*at) && *(*at)++ == '>';
    }
    while ((**at >= 'A' && **at <= 'Z') || (**at >= 'a' && **at <= 'z'))
        ++*at;
    return *at - start >= 3;
}

static bool read_rule(const char **at, struct rule *r)
{
    *r = (struct rule){.kind = 'D', .seconds = 2 * 3600};
    if (*(*at)++ != ',')
        return false;
    if (**at == 'M') {
        ++*at;
        r->kind = 'M';
        if (!number(at, 12, &r->month) || r->month < 1 || *(*at)++ != '.' ||
            !number(at, 5, &r->week) || r->week < 1 || *(*at)++ != '.' || !number(at, 6, &r->day))
            return false;
    } else if (**at == 'J') {
        ++*at;
        r->kind = 'J';
        if (!number(at, 365, &r->day) || r->day < 1)
            return false;
    } else if (!number(at, 365, &r->day)) {
        return false;
    }
    if (**at != '/')
        return true;
    ++*at;
    return clock_time(at, 167, &r->seconds);
}

static bool read_footer(const char *at, struct footer *f)
{
    *f = (struct footer){0};
    if (!*at)
        return true; /* nothing is said of the future */
    f->there = true;
    if (!skip_name(&at) || !clock_time(&at, 24, &f->standard))
        return false;
    f->standard = -f->standard;
    if (!*at)
        return true;
    f->dst = true;
    f->daylight = f->standard + 3600;
    if (!skip_name(&at))
        return false;
    if (*at != ',') {
        if (!clock_time(&at, 24, &f->daylight))
            return false;
        f->daylight = -f->daylight;
    }
    return read_rule(&at, &f->begin) && read_rule(&at, &f->end) && !*at;
}

static int32_t footer_offset(const struct footer *f, int64_t time)
{
    if (!f->dst || time < 0)
        return f->standard;
    int64_t year = year_of(time + f->standard > 0 ? time + f->standard : 0);
    int64_t begin = rule_day(&f->begin, year) * DAY + f->begin.seconds - f->standard;
    int64_t end = rule_day(&f->end, year) * DAY + f->end.seconds - f->daylight;
    bool summer =
        begin < end ? time >= begin && time < end : !(time >= end && time < begin); /* south */
    return summer ? f->daylight : f->standard;
}

/* --- the file --------------------------------------------------------------------------------- */

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t get_i64(const uint8_t *p)
{
    return (int64_t)((uint64_t)get_u32(p) << 32 | get_u32(p + 4));
}

struct counts {
    uint32_t utc, standard, leap, times, types, chars;
};

/* Also bounds the counts, so that no product below overflows. */
static bool take_header(struct kb_span *file, struct counts *c, uint8_t *version)
{
    struct kb_span h;
    if (!kb_span_take(file, HEADER_SIZE, &h) || memcmp(h.data, "TZif", 4) != 0)
        return false;
    *version = h.data[4];
    *c = (struct counts){get_u32(h.data + 20), get_u32(h.data + 24), get_u32(h.data + 28),
                         get_u32(h.data + 32), get_u32(h.data + 36), get_u32(h.data + 40)};
    return c->utc <= 4096 && c->standard <= 4096 && c->leap <= 4096 && c->times <= 65536 &&
           c->types >= 1 && c->types <= 256 && c->chars <= 4096;
}

static size_t body_size(const struct counts *c, size_t time_size)
{
    return c->times * (time_size + 1) + c->types * (size_t)6 + c->chars +
           c->leap * (time_size + 4) + c->standard + c->utc;
}

static bool read_body(struct kb_zone *z, const struct counts *c, struct kb_span body)
{
    const uint8_t *times = body.data, *index = times + c->times * (size_t)8;
    const uint8_t *types = index + c->times;
    z->count = c->times;
    z->times = kb_calloc(c->times + 1, sizeof *z->times);
    z->offsets = kb_calloc(c->times + 1, sizeof *z->offsets);
    z->before = (int32_t)get_u32(types);
    for (size_t i = 0; i < z->count; i++) {
        z->times[i] = get_i64(times + 8 * i);
        if (index[i] >= c->types || (i && z->times[i] <= z->times[i - 1]))
            return false;
        z->offsets[i] = (int32_t)get_u32(types + (size_t)6 * index[i]);
    }
    return true;
}

static bool read_file(struct kb_zone *z, struct kb_span file)
{
    struct counts c;
    struct kb_span body, line;
    uint8_t version;
    if (!take_header(&file, &c, &version) || version < '2' ||
        !kb_span_take(&file, body_size(&c, 4), &body) || !take_header(&file, &c, &version) ||
        !kb_span_take(&file, body_size(&c, 8), &body) || !read_body(z, &c, body))
        return false;
    char text[128] = "";
    if (file.len < 2 || file.len - 2 >= sizeof text || file.data[0] != '\n' ||
        file.data[file.len - 1] != '\n')
        return false;
    line = kb_span(file.data + 1, file.len - 2);
    memcpy(text, line.data, line.len);
    return read_footer(text, &z->footer);
}

struct kb_zone *kb_zone_parse(struct kb_span file)
{
    struct kb_zone *z = kb_zalloc(sizeof *z);
    if (read_file(z, file))
        return z;
    kb_zone_destroy(z);
    return NULL;
}

void kb_zone_destroy(struct kb_zone *z)
{
    if (!z)
        return;
    free(z->times);
    free(z->offsets);
    free(z);
}

int32_t kb_zone_offset(const struct kb_zone *z, int64_t time)
{
    if (z->count && time < z->times[0])
        return z->before;
    if (z->footer.there && (!z->count || time >= z->times[z->count - 1]))
        return footer_offset(&z->footer, time);
    if (!z->count)
        return z->before;
    size_t low = 0, high = z->count; /* times[low] <= time < times[high] */
    while (high - low > 1) {
        size_t mid = (low + high) / 2;
        if (z->times[mid] <= time)
            low = mid;
        else
            high = mid;
    }
    return z->offsets[low];
}
