/* What a kind of source must be able to do. A new cloud is one file and one row in driver.c.
 *
 * Both verbs run on the sources thread and answer by calling a function, now or later, so that a
 * driver may ask a cloud without holding up the other sources. */
#ifndef KB_SOURCE_DRIVER_H
#define KB_SOURCE_DRIVER_H

#include "source/inventory.h"

struct kb_source_driver {
    const char *type;
    /* Lists all consoles of a source; answers with kb_source_listed or kb_source_failed. The
     * configuration is the driver's to read and to take from. */
    void (*list)(struct kb_sources *s, struct kb_source *source);
    /* Lists them again, because somebody asked; answers in the same way. */
    void (*refresh)(struct kb_sources *s, struct kb_source *source);
    /* Says how to reach a console now; answers with kb_source_opened. */
    void (*open)(struct kb_sources *s, struct kb_source *source, struct kb_console *console,
                 struct kb_source_open *o);
};

/* NULL if this version has none for the type. */
const struct kb_source_driver *kb_source_driver_find(const char *type);

extern const struct kb_source_driver kb_source_driver_static;

/* --- a driver's answers ----------------------------------------------------------------------- */

/* The source's consoles are exactly these; takes the map over. */
void kb_source_listed(struct kb_sources *s, struct kb_source *source, struct kb_console *consoles);
/* The source's consoles are what they were. */
void kb_source_unchanged(struct kb_sources *s, struct kb_source *source);
/* The source cannot be listed: it keeps what it had. why is copied. */
void kb_source_failed(struct kb_sources *s, struct kb_source *source, const char *why);
/* reason NONE comes with a target, whose reference goes along; any other with NULL. */
void kb_source_opened(struct kb_source_open *o, enum kb_reason reason, struct kb_target *target);

#endif
