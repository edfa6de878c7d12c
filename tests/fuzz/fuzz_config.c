/* The configuration loader: any bytes give a whole configuration or a reason why not, and what is
 * said about them never steers a terminal. Relative paths lead to a folder that does not exist. */
#include "fuzz.h"

#include "base/secret.h"
#include "daemon/config.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    MUST(kb_secret_start());
    return 0;
}

static void check_source(const struct kb_source_config *s)
{
    MUST(s->name && *s->name);
    MUST(!s->error || s->console_count == 0);
    for (size_t i = 0; i < s->console_count; i++) {
        const struct kb_static_console *c = &s->consoles[i];
        MUST(c->uuid && *c->uuid);
        MUST(c->unix_socket ||
             ((c->hypervisor || c->hypervisor_ip) && (c->insecure_port || c->secure_port)));
        MUST(!c->ticket.text || strlen(c->ticket.text) < 60);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kb_buf problems = {0};
    struct kb_config *c =
        kb_config_parse("/nonexistent/kerbside.yaml", kb_span(data, size), &problems);
    MUST(c || problems.len);
    for (size_t i = 0; i < problems.len; i++)
        MUST(problems.data[i] == '\n' || (problems.data[i] >= 0x20 && problems.data[i] != 0x7f));
    if (c) {
        MUST(c->listen_count && c->public.host && c->state_dir && c->runtime_dir && c->node_name);
        MUST(c->grants.start_within >= 1000 && c->limits.connections > 0 && c->loops <= 256);
        MUST(problems.len || (c->warnings == 0 && c->bad_sources == 0));
        for (size_t i = 0; i < c->source_count; i++)
            check_source(&c->sources[i]);
    }
    kb_config_destroy(c);
    kb_buf_finish(&problems);
    return 0;
}
