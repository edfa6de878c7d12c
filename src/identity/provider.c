/* Names and groups of users that others know. Pure; any thread. */
#include "identity/provider.h"

#include <stdlib.h>

#define NAME_MAX_BYTES 128
#define LINE_MAX_BYTES 512
/* More groups than anybody has; what is beyond gives no role. */
#define GROUPS_MAX_BYTES 65536

void kb_provider_user_finish(struct kb_provider_user *u)
{
    free(u->name);
    free(u->alias);
    free(u->groups);
    *u = (struct kb_provider_user){0};
}

static bool is_line(const char *text, size_t max)
{
    size_t len = strlen(text);
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    return len > 0 && len <= max && kb_utf8_valid(text);
}

bool kb_provider_is_name(const char *text)
{
    return is_line(text, NAME_MAX_BYTES) && !strpbrk(text, "/:");
}

bool kb_provider_is_line(const char *text)
{
    return is_line(text, LINE_MAX_BYTES);
}

void kb_provider_add_group(struct kb_buf *groups, const char *name)
{
    if (!kb_provider_is_line(name) || groups->len + strlen(name) > GROUPS_MAX_BYTES)
        return;
    if (groups->len)
        kb_buf_add_str(groups, "\n");
    kb_buf_add_str(groups, name);
}
