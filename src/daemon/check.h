/* `kerbside check`: everything that is wrong with a configuration. */
#ifndef KB_DAEMON_CHECK_H
#define KB_DAEMON_CHECK_H

/* Problems go to stderr, a summary of a good configuration to stdout. The exit code: 0, also with
 * warnings, or 2 when something is wrong, be it in one source only. */
int kb_check_main(const char *file);

#endif
