/* Reads hours of the week and says whether they are open. Pure; any thread. */
#include "policy/hours.h"

#include "base/mem.h"

#include <stdlib.h>

#define DAY_MINUTES (24 * 60)

static bool day(const char **at, int *n)
{
    static const char names[] = "montuewedthufrisatsun";
    for (*n = 0; *n < 7; ++*n) {
        if (strncmp(*at, names + 3 * (size_t)*n, 3) == 0) {
            *at += 3;
            return true;
        }
    }
    return false;
}

/* hh:mm, up to 24:00 */
static bool minutes(const char **at, int *n)
{
    const char *t = *at;
    for (int i = 0; i < 5; i++)
        if (i == 2 ? t[i] != ':' : t[i] < '0' || t[i] > '9')
            return false;
    int hour = (t[0] - '0') * 10 + (t[1] - '0'), minute = (t[3] - '0') * 10 + (t[4] - '0');
    *at += 5;
    *n = hour * 60 + minute;
    return minute < 60 && *n <= DAY_MINUTES;
}

static bool add_window(struct kb_hours *h, int from, int to)
{
    if (h->count == KB_HOURS_WINDOWS)
        return false;
    h->windows = kb_realloc(h->windows, (h->count + 1) * sizeof *h->windows);
    h->windows[h->count++] = (struct kb_window){(uint16_t)from, (uint16_t)to};
    return true;
}

static void remember(struct kb_hours *h, const char *text)
{
    char *longer = kb_printf("%s%s%s", h->text ? h->text : "", h->text ? ", " : "", text);
    free(h->text);
    h->text = longer;
}

const char *kb_hours_add(struct kb_hours *h, const char *text)
{
    const char *whole = text;
    int first, last, from, to;
    if (!day(&text, &first))
        return "begins with a day: mon, tue, wed, thu, fri, sat or sun";
    last = first;
    if (*text == '-' && (text++, !day(&text, &last)))
        return "has no day behind the dash";
    if (*text++ != ' ' || !minutes(&text, &from) || *text++ != '-' || !minutes(&text, &to) || *text)
        return "must be like mon-fri 08:00-18:00";
    if (from == DAY_MINUTES || from == to)
        return "is no time at all; a whole day is 00:00-24:00";
    for (int d = first;; d = (d + 1) % 7) {
        int start = d * DAY_MINUTES + from, end = d * DAY_MINUTES + to;
        if (to < from)
            end += DAY_MINUTES;
        bool wraps = end > KB_WEEK_MINUTES; /* Sunday night */
        if (!add_window(h, start, wraps ? KB_WEEK_MINUTES : end) ||
            (wraps && !add_window(h, 0, end - KB_WEEK_MINUTES)))
            return "is too much: 128 windows a week are enough";
        if (d == last)
            break;
    }
    remember(h, whole);
    return NULL;
}

void kb_hours_finish(struct kb_hours *h)
{
    free(h->windows);
    free(h->text);
    free(h->zone_name);
    kb_zone_destroy(h->zone);
    *h = (struct kb_hours){0};
}

/* The end of a window that holds the minute, or -1. */
static int end_of(const struct kb_hours *h, int minute)
{
    int end = -1;
    for (size_t i = 0; i < h->count; i++)
        if (h->windows[i].from <= minute && minute < h->windows[i].to && h->windows[i].to > end)
            end = h->windows[i].to;
    return end;
}

bool kb_hours_open(const struct kb_hours *h, int64_t wall_ms, int64_t *left_ms)
{
    int64_t local = wall_ms / 1000 + (h->zone ? kb_zone_offset(h->zone, wall_ms / 1000) : 0);
    /* 1970-01-01 was a Thursday. */
    int64_t second = (local + INT64_C(3) * 86400) % (7 * 86400);
    if (second < 0)
        second += INT64_C(7) * 86400;
    int now = (int)(second / 60), at = now, total = 0;
    for (int end; (end = end_of(h, at)) >= 0; at = end % KB_WEEK_MINUTES) {
        total += end - at;
        if (total >= KB_WEEK_MINUTES) {
            *left_ms = INT64_MAX;
            return true;
        }
    }
    *left_ms = (int64_t)total * 60000 - second % 60 * 1000 - wall_ms % 1000;
    return total > 0;
}
