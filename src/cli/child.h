/* A command that is run under watch, with a ticket that it alone is told: through an environment
 * variable, or a file that has no name on any disk. Never on its command line, which everybody on
 * the machine may read. */
#ifndef KB_CLI_CHILD_H
#define KB_CLI_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

/* In a word of the command it stands for the path of a file with the ticket. */
#define KB_CHILD_TICKET_FILE "{ticket_file}"

struct kb_child {
    pid_t pid;     /* also of its process group; 0: none runs */
    int ticket_fd; /* of the file; -1: none */
};

/* Runs words[0..count-1], found in PATH, with no signal blocked. env: the name of the variable for
 * the ticket, or NULL. It hears of this process's end as SIGTERM. False, said on stderr. */
bool kb_child_start(struct kb_child *c, char *const *words, int count, const char *env,
                    const char *ticket);
/* True when it has ended, *status as of waitpid; then what it left behind is ended too. */
bool kb_child_ended(struct kb_child *c, int *status);
/* Ends it and all that it started: asks, and kills who has not gone within some seconds. */
void kb_child_stop(struct kb_child *c);

#endif
