/* The table of reasons. Any thread. */
#include "base/reason.h"

static const struct {
    const char *name;
    unsigned code;
    const char *text;
} reasons[KB_REASON_COUNT] = {
#define X(symbol, name, code, text) [KB_REASON_##symbol] = {name, code, text},
    KB_REASONS(X)
#undef X
};

const char *kb_reason_name(enum kb_reason r)
{
    return reasons[r].name;
}

const char *kb_reason_text(enum kb_reason r)
{
    return reasons[r].text;
}

unsigned kb_reason_link_error(enum kb_reason r)
{
    return reasons[r].code;
}
