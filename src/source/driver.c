/* The table of drivers. Any thread; it never changes. */
#include "source/driver.h"

#include <string.h>

static const struct kb_source_driver *const drivers[] = {
    &kb_source_driver_static,
};

const struct kb_source_driver *kb_source_driver_find(const char *type)
{
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++)
        if (strcmp(drivers[i]->type, type) == 0)
            return drivers[i];
    return NULL;
}

bool kb_source_type_known(const char *type)
{
    return kb_source_driver_find(type) != NULL;
}
