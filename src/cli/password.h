/* Asks a person for a new password, or reads it from a pipe. */
#ifndef KB_CLI_PASSWORD_H
#define KB_CLI_PASSWORD_H

#include "base/secret.h"

/* from_stdin: one line of standard input; else twice from the terminal, unseen. False: said why. */
bool kb_password_ask(bool from_stdin, struct kb_secret *password);

#endif
