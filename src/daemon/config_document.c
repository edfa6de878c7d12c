/* From bytes to a YAML document that is safe to walk. libyaml's events are looked at first: they
 * tell depth, tags and a second document before a tree of them exists. Main thread. */
#include "daemon/config_document.h"

#include "base/auto.h"
#include "base/mem.h"
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void kb_config_wipe(struct kb_buf *text)
{
    if (text->data)
        kb_wipe(text->data, text->cap);
    kb_buf_finish(text);
}

const char *kb_config_read_file(const char *path, size_t max, bool pipes, struct kb_buf *text)
{
    /* Never wait for a writer, unless asked to. */
    int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | (pipes ? 0 : O_NONBLOCK);
    kb_auto_close int fd = open(path, flags);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return strerrordesc_np(errno);
    if (!S_ISREG(st.st_mode) && !(pipes && S_ISFIFO(st.st_mode)))
        return "it is not a regular file";
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max)
        return "it is too large";
    if (S_ISREG(st.st_mode)) /* growing would leave copies behind */
        kb_buf_reserve(text, (size_t)st.st_size);
    for (;;) {
        uint8_t chunk[4096];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n > 0)
            kb_buf_add(text, chunk, (size_t)n);
        kb_wipe(chunk, sizeof chunk);
        if (n == 0)
            return NULL;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || text->len > max) {
            const char *why = n < 0 ? strerrordesc_np(errno) : "it is too large";
            kb_config_wipe(text);
            return why;
        }
    }
}

/* --- what is refused before parsing ----------------------------------------------------------- */

/* The length of the UTF-8 character at s (RFC 3629), 0 if it is none. */
static size_t utf8_len(const uint8_t *s, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s[0] < 0x80)
        return 1;
    size_t n = (s[0] & 0xe0) == 0xc0   ? 2
               : (s[0] & 0xf0) == 0xe0 ? 3
               : (s[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    if (!n || n > left)
        return 0;
    uint32_t c = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

/* NULL, or what is wrong on *line. */
static const char *check_bytes(struct kb_span text, size_t *line)
{
    *line = 1;
    for (size_t i = 0, n; i < text.len; i += n) {
        uint8_t c = text.data[i];
        n = utf8_len(text.data + i, text.len - i);
        if (n == 0)
            return "the file is not UTF-8";
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f)
            return "there is a control character here";
        if (c == '\n')
            ++*line;
    }
    return NULL;
}

static void wipe_parser(yaml_parser_t *p)
{
    /* Its buffers held the file's text, tickets included. */
    if (p->buffer.start)
        kb_wipe(p->buffer.start, (size_t)(p->buffer.end - p->buffer.start));
    if (p->raw_buffer.start)
        kb_wipe(p->raw_buffer.start, (size_t)(p->raw_buffer.end - p->raw_buffer.start));
    yaml_parser_delete(p);
}

static void start_parser(yaml_parser_t *p, struct kb_span text)
{
    if (!yaml_parser_initialize(p))
        abort(); /* out of memory */
    yaml_parser_set_encoding(p, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(p, text.data, text.len);
}

static char *parser_words(const yaml_parser_t *p, size_t *line)
{
    if (p->error == YAML_MEMORY_ERROR)
        abort();
    *line = p->problem_mark.line + 1;
    const char *problem = p->problem ? p->problem : "it cannot be read";
    if (p->context && p->context_mark.line != p->problem_mark.line)
        return kb_printf("not valid YAML: %s (%s that begins on line %zu)", problem, p->context,
                         p->context_mark.line + 1);
    return kb_printf("not valid YAML: %s", problem);
}

/* The tags of plain YAML say nothing that we do not know; any other wants a program to run. */
static bool tag_is_plain(const yaml_char_t *tag)
{
    static const char core[] = "tag:yaml.org,2002:";
    static const char *const plain[] = {"str", "int", "bool", "null", "float", "map", "seq"};
    const char *t = (const char *)tag;
    if (!t || strcmp(t, "!") == 0)
        return true;
    if (strncmp(t, core, sizeof core - 1) != 0)
        return false;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (strcmp(t + sizeof core - 1, plain[i]) == 0)
            return true;
    return false;
}

struct event_check {
    unsigned depth, documents;
    bool done;
};

/* NULL, or what is wrong with the event. */
static const char *check_event(struct event_check *c, const yaml_event_t *e)
{
    const yaml_char_t *tag = NULL;
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        return c->documents++ ? "a second document begins here; only one is read" : NULL;
    case YAML_SCALAR_EVENT:
        tag = e->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        tag = e->data.sequence_start.tag;
        c->depth++;
        break;
    case YAML_MAPPING_START_EVENT:
        tag = e->data.mapping_start.tag;
        c->depth++;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        c->depth--;
        break;
    case YAML_STREAM_END_EVENT:
        c->done = true;
        break;
    default:
        break;
    }
    if (c->depth > KB_CONFIG_DEPTH_MAX)
        return "lists and mappings are nested too deeply here";
    return tag_is_plain(tag) ? NULL : "tags are not supported";
}

static void wipe_event(yaml_event_t *e)
{
    if (e->type == YAML_SCALAR_EVENT)
        kb_wipe(e->data.scalar.value, e->data.scalar.length);
    yaml_event_delete(e);
}

/* NULL, or what is wrong on *line, to be freed. */
static char *check_events(struct kb_span text, size_t *line)
{
    yaml_parser_t p;
    struct event_check check = {0};
    char *words = NULL;
    start_parser(&p, text);
    while (!words && !check.done) {
        yaml_event_t e;
        if (!yaml_parser_parse(&p, &e)) {
            words = parser_words(&p, line);
            break;
        }
        *line = e.start_mark.line + 1;
        words = kb_strdup(check_event(&check, &e));
        wipe_event(&e);
    }
    wipe_parser(&p);
    return words;
}

/* --- the document ----------------------------------------------------------------------------- */

static char *folder_of(const char *file)
{
    const char *slash = strrchr(file, '/');
    if (!slash)
        return kb_strdup(".");
    if (slash == file)
        return kb_strdup("/");
    return kb_printf("%.*s", (int)(slash - file), file);
}

static char *load(struct kb_config_document *d, struct kb_span text, size_t *line)
{
    const char *bad = check_bytes(text, line);
    if (bad)
        return kb_strdup(bad);
    char *words = check_events(text, line);
    if (words)
        return words;
    yaml_parser_t p;
    start_parser(&p, text);
    d->loaded = yaml_parser_load(&p, &d->yaml);
    if (!d->loaded) /* what only the composer sees: an alias to nowhere, an anchor given twice */
        words = parser_words(&p, line);
    wipe_parser(&p);
    return words;
}

bool kb_config_document_parse(struct kb_config_document *d, const char *file, size_t number,
                              struct kb_span text, struct kb_config_problems *problems)
{
    *d = (struct kb_config_document){
        .file = kb_strdup(file), .folder = folder_of(file), .number = number};
    size_t line = 0;
    kb_auto_free char *words =
        text.len > KB_CONFIG_FILE_MAX ? kb_strdup("it is too large") : load(d, text, &line);
    if (words)
        kb_config_problem_add(problems, KB_CONFIG_ERROR, file, number, line, "", NULL, words);
    return !words;
}

void kb_config_document_finish(struct kb_config_document *d)
{
    if (d->loaded) {
        for (yaml_node_t *n = d->yaml.nodes.start; n < d->yaml.nodes.top; n++)
            if (n->type == YAML_SCALAR_NODE)
                kb_wipe(n->data.scalar.value, n->data.scalar.length);
        yaml_document_delete(&d->yaml);
    }
    free(d->file);
    free(d->folder);
    *d = (struct kb_config_document){0};
}

yaml_node_t *kb_config_document_root(struct kb_config_document *d)
{
    return yaml_document_get_root_node(&d->yaml);
}

bool kb_config_is_empty(const yaml_node_t *node)
{
    static const char *const nulls[] = {"~", "null", "Null", "NULL"};
    if (!node)
        return true;
    if (node->type != YAML_SCALAR_NODE)
        return false;
    if (node->data.scalar.length == 0)
        return true;
    if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++)
        if (strcmp((const char *)node->data.scalar.value, nulls[i]) == 0)
            return true;
    return false;
}
