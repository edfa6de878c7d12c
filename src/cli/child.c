/* Starts, watches and ends one command in a process group of its own. Main thread. */
#include "cli/child.h"

#include "base/auto.h"
#include "base/mem.h"
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_MS 5000
#define STEP_MS 50

extern char **environ;

/* A file in memory; -1 with errno. */
static int make_ticket_file(const char *ticket)
{
    int fd = memfd_create("ticket", MFD_CLOEXEC);
    size_t len = strlen(ticket);
    if (fd >= 0 && write(fd, ticket, len) != (ssize_t)len) {
        close(fd);
        return -1;
    }
    return fd;
}

static char *fill_in(const char *word, int fd)
{
    static const size_t gap_len = sizeof KB_CHILD_TICKET_FILE - 1;
    const char *gap = strstr(word, KB_CHILD_TICKET_FILE);
    if (!gap)
        return kb_strdup(word);
    return kb_printf("%.*s/proc/self/fd/%d%s", (int)(gap - word), word, fd, gap + gap_len);
}

/* This environment with the ticket, and without the key that is not the command's business. */
static char **make_env(const char *name, char *ticket_line)
{
    static const char key[] = "KERBSIDE_API_KEY=";
    size_t count = 0, kept = 0, len = name ? strlen(name) : 0;
    while (environ[count])
        count++;
    char **env = kb_calloc(count + 2, sizeof *env);
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], key, sizeof key - 1) != 0 &&
            !(name && strncmp(environ[i], name, len) == 0 && environ[i][len] == '='))
            env[kept++] = environ[i];
    if (name)
        env[kept] = ticket_line;
    return env;
}

/* In the new process; only what is safe between fork and exec. */
static void become(char **words, char **env, int fd, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(127); /* it ended before the line above */
    if (fd >= 0)
        fcntl(fd, F_SETFD, 0);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvpe(words[0], words, env);
    dprintf(STDERR_FILENO, "kerbside: %s: %s\n", words[0], strerrordesc_np(errno));
    _exit(127);
}

bool kb_child_start(struct kb_child *c, char *const *words, int count, const char *env,
                    const char *ticket)
{
    *c = (struct kb_child){.ticket_fd = make_ticket_file(ticket)};
    if (c->ticket_fd < 0) {
        fprintf(stderr, "kerbside: no file for the ticket can be made: %s\n",
                strerrordesc_np(errno));
        return false;
    }
    char **filled = kb_calloc((size_t)count + 1, sizeof *filled);
    for (int i = 0; i < count; i++)
        filled[i] = fill_in(words[i], c->ticket_fd);
    struct kb_secret line = {env ? kb_printf("%s=%s", env, ticket) : NULL};
    char **environment = make_env(env, line.text);
    pid_t me = getpid();
    c->pid = fork();
    if (c->pid == 0)
        become(filled, environment, c->ticket_fd, me);
    bool ok = c->pid > 0;
    if (ok)
        setpgid(c->pid, c->pid); /* whoever of the two is first */
    else
        fprintf(stderr, "kerbside: %s: %s\n", words[0], strerrordesc_np(errno));
    for (int i = 0; i < count; i++)
        free(filled[i]);
    free(filled);
    free(environment);
    kb_secret_finish(&line);
    if (!ok) {
        close(c->ticket_fd);
        *c = (struct kb_child){.ticket_fd = -1};
    }
    return ok;
}

/* Whether anybody of the group is left after a while. */
static bool linger(pid_t group, pid_t leader, int ms)
{
    for (int waited = 0;; waited += STEP_MS) {
        if (leader && waitpid(leader, NULL, WNOHANG) != 0)
            leader = 0;
        if (kill(-group, 0) != 0)
            return false;
        if (waited >= ms)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000}, NULL);
    }
}

static void end_group(struct kb_child *c, pid_t leader)
{
    kill(-c->pid, SIGTERM);
    if (linger(c->pid, leader, GRACE_MS)) {
        kill(-c->pid, SIGKILL);
        linger(c->pid, leader, GRACE_MS);
    }
    if (c->ticket_fd >= 0)
        close(c->ticket_fd);
    *c = (struct kb_child){.ticket_fd = -1};
}

bool kb_child_ended(struct kb_child *c, int *status)
{
    if (!c->pid || waitpid(c->pid, status, WNOHANG) != c->pid)
        return false;
    end_group(c, 0);
    return true;
}

void kb_child_stop(struct kb_child *c)
{
    if (c->pid)
        end_group(c, c->pid);
}
