/* The same binary's other subcommands: a client of the daemon's HTTP API, through the admin socket
 * or a URL. Tables for people, --json for programs. */
#ifndef KB_CLI_CLI_H
#define KB_CLI_CLI_H

/* Every subcommand but serve and check; argv as main got it. Returns the exit status: 0 done, 1 the
 * daemon said no, 2 wrong usage or configuration, 3 the daemon cannot be reached. */
int kb_cli_main(int argc, char **argv);

#endif
