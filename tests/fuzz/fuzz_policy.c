/* What a policy is read from below YAML: filters of USB devices, hours, time zones, sizes. Input: a
 * letter, then what it stands for. */
#include "fuzz.h"

#include "base/size.h"
#include "policy/hours.h"
#include "policy/usb_filter.h"

#include <string.h>

/* What was read is written, and read again as the same. */
static void try_filter(const char *text)
{
    struct kb_usb_filter f, again;
    const char *why = kb_usb_filter_parse(text, &f);
    MUST(!why == (f.count > 0));
    if (why)
        return;
    char *written = kb_usb_filter_format(&f);
    MUST(!kb_usb_filter_parse(written, &again));
    MUST(f.count == again.count && memcmp(f.rules, again.rules, f.count * sizeof *f.rules) == 0);
    free(written);
    kb_usb_filter_finish(&f);
    kb_usb_filter_finish(&again);
}

static void try_hours(const char *text)
{
    struct kb_hours h = {0};
    int64_t left, minute = 60000, week = KB_WEEK_MINUTES;
    if (!kb_hours_add(&h, text)) {
        bool ever = false;
        for (int64_t m = 0; m < week; m++) {
            if (!kb_hours_open(&h, m * minute, &left))
                continue;
            ever = true;
            MUST(left > 0 && (left == INT64_MAX || left <= week * minute));
            /* It stays open for so long, and is closed then. */
            int64_t after;
            MUST(left == INT64_MAX || (kb_hours_open(&h, m * minute + left - 1, &after) &&
                                       !kb_hours_open(&h, m * minute + left, &after)));
        }
        MUST(ever);
    }
    kb_hours_finish(&h);
}

static void try_zone(struct kb_span file)
{
    static const int64_t times[] = {INT64_MIN / 2, -1, 0, 1, 1700000000, 4102444800, 32503680000};
    struct kb_zone *z = kb_zone_parse(file);
    for (size_t i = 0; z && i < sizeof times / sizeof *times; i++)
        kb_zone_offset(z, times[i]);
    kb_zone_destroy(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    char *text = calloc(size, 1);
    MUST(text);
    memcpy(text, data + 1, size - 1);
    uint64_t bytes = 7;
    switch (data[0]) {
    case 'u':
        try_filter(text);
        break;
    case 'h':
        try_hours(text);
        break;
    case 'z':
        try_zone(kb_span(data + 1, size - 1));
        break;
    case 's':
        MUST(kb_size_parse(text, size % 2, &bytes) ? bytes <= KB_SIZE_MAX : bytes == 7);
        break;
    }
    free(text);
    return 0;
}
