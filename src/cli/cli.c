/* The table of subcommands and options, and what the command line means. Main thread. */
#include "cli/cli.h"

#include "base/buf.h"
#include "cli/command.h"

#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* Every subcommand that talks to the daemon takes these. */
#define TALK "cUCj"

static const struct kb_cli_command commands[] = {
    {"status", NULL, "", 0, 0, TALK, "how the daemon is", kb_cmd_status},
    {"version", NULL, "", 0, 0, "", "this program's version", kb_cmd_version},
    {"source", "list", "", 0, 0, TALK, "sources and how they are", kb_cmd_source_list},
    {"source", "refresh", "NAME", 1, 1, TALK, "list a source's consoles again, now",
     kb_cmd_source_refresh},
    {"source", "check", "NAME", 1, 1, TALK, "try a source's configuration, step by step",
     kb_cmd_source_check},
    {"console", "list", "", 0, 0, TALK "qs", "consoles", kb_cmd_console_list},
    {"console", "show", "SOURCE UUID | NAME", 1, 2, TALK, "one console", kb_cmd_console_show},
    {"console", "vv", "SOURCE UUID | NAME", 1, 2, TALK "ouWMARP",
     "a grant for a console, as the .vv file that a viewer opens", kb_cmd_console_vv},
    {"console", "open", "SOURCE UUID | NAME", 1, 2, TALK "uMAP",
     "open a console with remote-viewer", kb_cmd_console_open},
    {"console", "diagnose", "SOURCE UUID | NAME", 1, 2, TALK,
     "why a console does not open, hop by hop", kb_cmd_console_diagnose},
    {"policy", "list", "", 0, 0, TALK, "policies", kb_cmd_policy_list},
    {"policy", "show", "NAME", 1, 1, TALK, "what a policy says and where it is attached",
     kb_cmd_policy_show},
    {"policy", "explain", "USER SOURCE UUID | USER NAME", 2, 3, TALK "GP",
     "what a user's session on a console may carry, and why", kb_cmd_policy_explain},
    {"session", "list", "", 0, 0, TALK "q", "live sessions", kb_cmd_session_list},
    {"session", "show", "ID", 1, 1, TALK, "one session with its channels, live or ended",
     kb_cmd_session_show},
    {"session", "terminate", "[ID]", 0, 1, TALK "rugsk",
     "end a live session, or those of a user, a grant, a source or a console",
     kb_cmd_session_terminate},
    {"audit", NULL, "", 0, 0, TALK "STuksenf", "who did what, oldest first", kb_cmd_audit},
    {"user", "add", "NAME", 1, 1, TALK "lp", "add a local user", kb_cmd_user_add},
    {"user", "list", "", 0, 0, TALK, "local users", kb_cmd_user_list},
    {"user", "passwd", "NAME", 1, 1, TALK "p", "change a user's password", kb_cmd_user_passwd},
    {"user", "role", "NAME ROLE", 2, 2, TALK, "change a user's role, at once", kb_cmd_user_role},
    {"user", "remove", "NAME", 1, 1, TALK, "remove a user, and end its logins", kb_cmd_user_remove},
    {"apikey", "create", "NAME", 1, 1, TALK "lxskD", "make an API key; it is shown once",
     kb_cmd_apikey_create},
    {"apikey", "list", "", 0, 0, TALK, "API keys", kb_cmd_apikey_list},
    {"apikey", "revoke", "ID", 1, 1, TALK, "revoke an API key", kb_cmd_apikey_revoke},
    {"register", NULL, "[-- COMMAND...]", 0, INT_MAX, "UCKsNaHitBOLFEZ",
     "announce this machine's SPICE server as a console, and keep it announced", kb_cmd_register},
};

#define COMMANDS (sizeof commands / sizeof *commands)

/* letter: how commands[] names the option, and its short form where is_short. */
static const struct option_spec {
    char letter;
    bool is_short;
    const char *name, *value; /* value NULL: a switch */
    const char *help;
    size_t offset;
} options[] = {
#define AT(field) offsetof(struct kb_cli_options, field)
    {'c', true, "config", "FILE", "the daemon's configuration, to find its admin socket",
     AT(config)},
    {'U', false, "url", "URL", "a remote daemon; KERBSIDE_API_KEY must hold an API key", AT(url)},
    {'C', false, "cacert", "FILE", "with --url: the CA of the daemon's certificate", AT(cacert)},
    {'j', false, "json", NULL, "JSON in place of tables", AT(json)},
    {'h', true, "help", NULL, "this text", AT(help)},
    {'o', true, "output", "FILE", "write there (mode 0600) in place of standard output",
     AT(output)},
    {'q', false, "query", "TEXT", "only what has TEXT in its name", AT(query)},
    {'s', false, "source", "NAME", "of this source; apikey create: a list with commas", AT(source)},
    {'r', false, "reason", "TEXT", "why; the session's user and the audit are told", AT(reason)},
    {'S', false, "since", "TIME", "from then on: 2026-11-20T18:00:00Z, or 2h for two hours ago",
     AT(since)},
    {'T', false, "until", "TIME", "up to then", AT(until)},
    {'u', false, "user", "NAME", "the user", AT(user)},
    {'k', false, "console", "UUID", "of this console; apikey create: patterns of names",
     AT(console)},
    {'g', false, "grant", "ID", "the grant", AT(grant)},
    {'G', false, "groups", "NAMES", "the user's groups, a list with commas", AT(groups)},
    {'P', false, "policy", "NAME", "a policy that the grant names", AT(policy)},
    {'e', false, "event", "NAME", "only this event, such as session.started", AT(event)},
    {'n', true, "limit", "N", "the newest N (100)", AT(limit)},
    {'f', false, "follow", NULL, "go on with what comes", AT(follow)},
    {'l', false, "role", "ROLE", "admin, operator, auditor, broker, user, agent or none", AT(role)},
    {'p', false, "password-stdin", NULL, "read the password from standard input",
     AT(password_stdin)},
    {'x', false, "expires-in", "TIME", "the key's life, such as 720h; default: for ever",
     AT(expires_in)},
    {'D', false, "cidr", "NETWORKS", "where the key may be used from; default: everywhere",
     AT(cidr)},
    {'W', false, "start-within", "TIME", "how long the file is good for starting a session",
     AT(start_within)},
    {'M', false, "max-session", "TIME", "the session's longest time", AT(max_session)},
    {'A', false, "client-address", "ADDRESS", "only from this address", AT(client_address)},
    {'K', false, "key-file", "FILE", "the API key is in it; default: KERBSIDE_API_KEY",
     AT(key_file)},
    {'N', false, "name", "NAME", "the machine's; default: its host name", AT(name)},
    {'a', false, "address", "ADDRESS", "where it is; default: where kerbside sees it come from",
     AT(address)},
    {'H', false, "hostname", "NAME", "a name that its certificate may have", AT(hostname)},
    {'i', false, "port", "PORT", "the SPICE server's plain port", AT(port)},
    {'t', false, "tls-port", "PORT", "the SPICE server's TLS port", AT(tls_port)},
    {'B', false, "host-subject", "SUBJECT", "the subject that its certificate has",
     AT(host_subject)},
    {'O', false, "owner", "NAME", "whom the machine belongs to", AT(owner)},
    {'L', false, "lease", "TIME", "for how long it is announced each time (60s)", AT(lease)},
    {'F', false, "ticket-file", "FILE", "the SPICE password of a server that has one already",
     AT(ticket_file)},
    {'E', false, "ticket-env", "NAME", "tell the command its ticket in this variable",
     AT(ticket_env)},
    {'Z', false, "restart", NULL, "start the command again when it ends", AT(restart)},
    {'R', false, "reusable", NULL, "more than one session, one after the other", AT(reusable)},
#undef AT
};

#define OPTIONS (sizeof options / sizeof *options)

static bool takes(const struct kb_cli_command *c, char letter)
{
    return letter == 'h' || strchr(c->options, letter);
}

static void print_overview(FILE *f, const char *group)
{
    fprintf(f, "usage: kerbside %s [options]\n\n", group ? group : "COMMAND");
    if (!group) {
        fprintf(f, "  %-20s %s\n", "serve", "run the daemon");
        fprintf(f, "  %-20s %s\n", "check", "look for mistakes in the configuration");
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct kb_cli_command *c = &commands[i];
        if (group && strcmp(group, c->group) != 0)
            continue;
        char words[40];
        snprintf(words, sizeof words, "%s%s%s", c->group, c->verb ? " " : "",
                 c->verb ? c->verb : "");
        fprintf(f, "  %-20s %s\n", words, c->summary);
    }
    fprintf(f, "\n`kerbside COMMAND --help` tells more; so does the manual page kerbside(8).\n");
}

static void print_help(FILE *f, const struct kb_cli_command *c)
{
    fprintf(f, "usage: kerbside %s%s%s%s%s [options]\n\n%s\n\n", c->group, c->verb ? " " : "",
            c->verb ? c->verb : "", *c->arguments ? " " : "", c->arguments, c->summary);
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct option_spec *o = &options[i];
        if (!takes(c, o->letter))
            continue;
        char left[40];
        snprintf(left, sizeof left, "%s%c%s--%s%s%s", o->is_short ? "-" : " ",
                 o->is_short ? o->letter : ' ', o->is_short ? ", " : "  ", o->name,
                 o->value ? " " : "", o->value ? o->value : "");
        fprintf(f, "  %-30s %s\n", left, o->help);
    }
}

static int misused(const char *problem, const char *what)
{
    fprintf(stderr, "kerbside: %s%s%s; see `kerbside --help`\n", problem, *what ? " " : "", what);
    return KB_EXIT_USAGE;
}

/* The command that the first words name; *used: how many of them. */
static const struct kb_cli_command *find_command(int count, char **words, int *used)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct kb_cli_command *c = &commands[i];
        *used = c->verb ? 2 : 1;
        if (count >= *used && strcmp(words[0], c->group) == 0 &&
            (!c->verb || strcmp(words[1], c->verb) == 0))
            return c;
    }
    return NULL;
}

static bool is_group(const char *word)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].group, word) == 0)
            return true;
    return false;
}

static void set_option(struct kb_cli_options *to, const struct option_spec *o, const char *value)
{
    char *field = (char *)to + o->offset;
    if (o->value)
        memcpy(field, &value, sizeof value);
    else
        *(bool *)(void *)field = true;
}

/* Fills o in and reorders argv so that o->args are the words. *used: letters of the options given.
 */
static bool read_options(int argc, char **argv, struct kb_cli_options *o, struct kb_buf *used)
{
    struct option longs[OPTIONS + 1] = {0};
    char shorts[2 * OPTIONS + 1] = "";
    size_t n = 0;
    for (size_t i = 0; i < OPTIONS; i++) {
        longs[i] =
            (struct option){options[i].name, options[i].value ? required_argument : no_argument,
                            NULL, options[i].letter};
        if (!options[i].is_short)
            continue;
        shorts[n++] = options[i].letter;
        if (options[i].value)
            shorts[n++] = ':';
    }
    optind = 1;
    for (int letter; (letter = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        size_t i = 0;
        while (i < OPTIONS && options[i].letter != letter)
            i++;
        if (i == OPTIONS)
            return false; /* getopt has said why */
        set_option(o, &options[i], optarg);
        kb_buf_add(used, &options[i].letter, 1);
    }
    o->args = argv + optind;
    o->arg_count = argc - optind;
    return true;
}

static int run(struct kb_cli_options *o, const char *used)
{
    int words;
    if (o->arg_count == 0 || strcmp(o->args[0], "help") == 0) {
        bool asked = o->help || o->arg_count > 0;
        const struct kb_cli_command *about =
            o->arg_count > 1 ? find_command(o->arg_count - 1, o->args + 1, &words) : NULL;
        if (about)
            print_help(stdout, about);
        else
            print_overview(asked ? stdout : stderr, NULL);
        return asked ? KB_EXIT_DONE : KB_EXIT_USAGE;
    }
    const struct kb_cli_command *c = find_command(o->arg_count, o->args, &words);
    if (!c && is_group(o->args[0])) {
        print_overview(o->help ? stdout : stderr, o->args[0]);
        return o->help ? KB_EXIT_DONE : KB_EXIT_USAGE;
    }
    if (!c)
        return misused("there is no command", o->args[0]);
    if (o->help) {
        print_help(stdout, c);
        return KB_EXIT_DONE;
    }
    for (size_t i = 0; i < OPTIONS; i++)
        if (strchr(used, options[i].letter) && !takes(c, options[i].letter))
            return misused("this command does not take", options[i].name);
    o->args += words;
    o->arg_count -= words;
    if (o->arg_count < c->least)
        return misused("this command needs", c->arguments);
    if (o->arg_count > c->most)
        return misused("this command knows nothing to do with", o->args[c->most]);
    return c->run(o);
}

int kb_cli_main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    struct kb_cli_options o = {0};
    struct kb_buf used = {0};
    int status = KB_EXIT_USAGE;
    if (read_options(argc, argv, &o, &used)) {
        kb_buf_add(&used, "", 1);
        status = run(&o, (const char *)used.data);
    }
    kb_buf_finish(&used);
    if (fflush(stdout) != 0 && status == KB_EXIT_DONE) {
        perror("kerbside: standard output");
        status = KB_EXIT_REFUSED;
    }
    return status;
}
