/* kerbside: one program. `serve` and `check` are done here, everything else asks a running daemon.
 */
#include "cli/cli.h"
#include "daemon/check.h"
#include "daemon/daemon.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_CONFIG "/etc/kerbside/kerbside.yaml"

/* The only option of serve and check: -c FILE. NULL when the words are wrong. */
static const char *config_option(int argc, char **argv)
{
    const char *file = DEFAULT_CONFIG;
    for (int i = 2; i < argc; i++) {
        if ((strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0) && i + 1 < argc)
            file = argv[++i];
        else if (strncmp(argv[i], "--config=", 9) == 0)
            file = argv[i] + 9;
        else
            return NULL;
    }
    return file;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    bool serve = strcmp(command, "serve") == 0, check = strcmp(command, "check") == 0;
    if (!serve && !check)
        return kb_cli_main(argc, argv);
    const char *file = config_option(argc, argv);
    if (!file) {
        fprintf(stderr, "usage: kerbside %s [-c FILE]\n", command);
        return 2;
    }
    return serve ? kb_daemon_main(file) : kb_check_main(file);
}
