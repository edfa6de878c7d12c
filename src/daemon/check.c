/* `kerbside check`: loads a configuration as the daemon would and says what it found. Touches
 * nothing else. Main thread. */
#include "daemon/check.h"

#include "base/auto.h"
#include "daemon/config.h"

#include <stdio.h>

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

int kb_check_main(const char *file)
{
    kb_auto(kb_buf_finish) struct kb_buf problems = {0};
    struct kb_config *c = kb_config_load(file, &problems);
    if (problems.len)
        fwrite(problems.data, 1, problems.len, stderr);
    if (!c) {
        fprintf(stderr, "%s: refused\n", file);
        return 2;
    }
    size_t consoles = 0;
    unsigned bad = c->bad_sources;
    for (size_t i = 0; i < c->source_count; i++) {
        size_t in_files;
        char why[256];
        if (!kb_source_files_check(&c->sources[i], &in_files, why)) {
            fprintf(stderr, "%s (source %s)\n", why, c->sources[i].name);
            bad++;
        }
        consoles += c->sources[i].console_count + in_files;
    }
    if (bad)
        fprintf(stderr, "%s: would be taken, but without %u source%s\n", file, bad, plural(bad));
    else
        printf("ok: %s: %zu listener%s, %zu source%s, %zu console%s, %u warning%s\n", file,
               c->listen_count, plural(c->listen_count), c->source_count, plural(c->source_count),
               consoles, plural(consoles), c->warnings, plural(c->warnings));
    kb_config_destroy(c);
    return bad ? 2 : 0;
}
