/* Consoles that stand in a file of their own, or in the files of a folder: read as one list, and
 * watched. Private to the static source. One thread reads while another may wait. */
#ifndef KB_SOURCE_CONSOLE_FILES_H
#define KB_SOURCE_CONSOLE_FILES_H

#include "source/driver.h"

struct kb_console_files;

/* path: a file, or a folder of which every *.yaml and *.yml counts; the caller's, and outlives it.
 * It need not be there yet. */
struct kb_console_files *kb_console_files_create(const char *path);
void kb_console_files_destroy(struct kb_console_files *f); /* takes NULL */

/* Reads all of it into the map. A file that somebody is writing right now is waited for. False with
 * call->why when any part cannot be read: there is no half of a list. What changes after it began
 * is told by kb_console_files_wait. */
bool kb_console_files_read(struct kb_console_files *f, struct kb_source_call *call,
                           struct kb_console **map);
/* Waits up to ms for a change. 1: there was one; 0: none; -1: this machine cannot tell. */
int kb_console_files_wait(struct kb_console_files *f, int ms);

#endif
