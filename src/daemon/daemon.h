/* The daemon: puts the rooms together, and takes them apart in the right order. Main thread. */
#ifndef KB_DAEMON_DAEMON_H
#define KB_DAEMON_DAEMON_H

/* Runs until it is told to stop. The exit code: 0, or 2 when the configuration or the machine does
 * not let it start. */
int kb_daemon_main(const char *config_file);

#endif
