/* Reads a password without showing or leaving it. Main thread. */
#include "cli/password.h"

#include "base/auto.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>

#define LINE_MAX_BYTES 1026

static bool read_line(FILE *f, struct kb_secret *out)
{
    char line[LINE_MAX_BYTES];
    setvbuf(f, NULL, _IONBF, 0); /* a buffer would keep a copy */
    bool good = fgets(line, sizeof line, f);
    if (good) {
        line[strcspn(line, "\r\n")] = '\0';
        good = *line;
    }
    if (good)
        kb_secret_set(out, line);
    kb_wipe(line, sizeof line);
    return good;
}

static bool prompt(FILE *terminal, const char *text, struct kb_secret *out)
{
    struct termios seen, unseen;
    if (tcgetattr(fileno(terminal), &seen) != 0)
        return false;
    unseen = seen;
    unseen.c_lflag &= ~(tcflag_t)ECHO;
    fputs(text, terminal);
    fflush(terminal);
    tcsetattr(fileno(terminal), TCSAFLUSH, &unseen);
    bool good = read_line(terminal, out);
    tcsetattr(fileno(terminal), TCSAFLUSH, &seen);
    fputs("\n", terminal);
    return good;
}

bool kb_password_ask(bool from_stdin, struct kb_secret *password)
{
    if (from_stdin) {
        if (read_line(stdin, password))
            return true;
        fprintf(stderr, "kerbside: standard input holds no password\n");
        return false;
    }
    kb_auto_fclose FILE *terminal = fopen("/dev/tty", "r+e");
    if (!terminal) {
        fprintf(stderr, "kerbside: there is no terminal to ask on; use --password-stdin\n");
        return false;
    }
    kb_auto(kb_secret_finish) struct kb_secret again = {0};
    if (!prompt(terminal, "New password: ", password) || !prompt(terminal, "Again: ", &again)) {
        fprintf(stderr, "kerbside: no password was given\n");
        return false;
    }
    if (strcmp(kb_secret_text(password), kb_secret_text(&again)) == 0)
        return true;
    fprintf(stderr, "kerbside: the two are not the same\n");
    return false;
}
