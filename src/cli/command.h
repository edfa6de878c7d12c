/* A subcommand: its words, what it takes, and the function that does it. */
#ifndef KB_CLI_COMMAND_H
#define KB_CLI_COMMAND_H

#include <stdbool.h>

enum {
    KB_EXIT_DONE = 0,
    KB_EXIT_REFUSED = 1,     /* the daemon said no */
    KB_EXIT_USAGE = 2,       /* wrong usage or configuration */
    KB_EXIT_UNREACHABLE = 3, /* no daemon */
};

/* What the command line said; NULL: not given. Texts belong to argv or the environment. */
struct kb_cli_options {
    const char *config, *url, *cacert;
    const char *output, *role, *since, *until, *console, *user, *event, *source, *reason, *limit;
    const char *expires_in, *cidr, *query, *start_within, *max_session, *client_address;
    const char *grant, *groups, *policy;
    const char *key_file, *name, *address, *hostname, *port, *tls_port, *host_subject, *owner;
    const char *lease, *ticket_file, *ticket_env;
    bool json, password_stdin, follow, reusable, restart, help;
    char **args;
    int arg_count;
};

struct kb_cli_command {
    const char *group, *verb; /* "console", "list"; verb NULL for a command of one word */
    const char *arguments;    /* "SOURCE UUID | NAME", "" for none */
    int least, most;          /* how many */
    const char *options;      /* the letters of the options it takes, see cli.c */
    const char *summary;      /* one line */
    int (*run)(const struct kb_cli_options *o);
};

int kb_cmd_status(const struct kb_cli_options *o);
int kb_cmd_version(const struct kb_cli_options *o);
int kb_cmd_source_list(const struct kb_cli_options *o);
int kb_cmd_source_refresh(const struct kb_cli_options *o);
int kb_cmd_source_check(const struct kb_cli_options *o);
int kb_cmd_console_list(const struct kb_cli_options *o);
int kb_cmd_console_show(const struct kb_cli_options *o);
int kb_cmd_console_vv(const struct kb_cli_options *o);
int kb_cmd_console_open(const struct kb_cli_options *o);
int kb_cmd_console_diagnose(const struct kb_cli_options *o);
int kb_cmd_policy_list(const struct kb_cli_options *o);
int kb_cmd_policy_show(const struct kb_cli_options *o);
int kb_cmd_policy_explain(const struct kb_cli_options *o);
int kb_cmd_session_list(const struct kb_cli_options *o);
int kb_cmd_session_show(const struct kb_cli_options *o);
int kb_cmd_session_terminate(const struct kb_cli_options *o);
int kb_cmd_audit(const struct kb_cli_options *o);
int kb_cmd_user_add(const struct kb_cli_options *o);
int kb_cmd_user_list(const struct kb_cli_options *o);
int kb_cmd_user_passwd(const struct kb_cli_options *o);
int kb_cmd_user_role(const struct kb_cli_options *o);
int kb_cmd_user_remove(const struct kb_cli_options *o);
int kb_cmd_apikey_create(const struct kb_cli_options *o);
int kb_cmd_apikey_list(const struct kb_cli_options *o);
int kb_cmd_apikey_revoke(const struct kb_cli_options *o);
int kb_cmd_register(const struct kb_cli_options *o);

#endif
