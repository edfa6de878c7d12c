/* The schema walk: a table says which keys a mapping may have and how each is read into a struct;
 * the reader goes through the mapping, finds every problem, and knows the path and line of each. */
#ifndef KB_DAEMON_CONFIG_READER_H
#define KB_DAEMON_CONFIG_READER_H

#include "daemon/config.h"
#include "daemon/config_document.h"

/* Aliases can make a small file say a lot; this is how many values are read before it is refused.
 */
#define KB_CONFIG_BUDGET 2000000u
#define KB_CONFIG_KEYS_MAX 64
#define KB_CONFIG_PATH_SIZE 256

struct kb_config_reader {
    struct kb_config_problems *problems;
    struct kb_config_document *document; /* the one being read */
    size_t documents;                    /* opened so far */
    char path[KB_CONFIG_PATH_SIZE];      /* of what is being read */
    size_t path_len;
    bool in_source;           /* what goes wrong now costs one source, not the configuration */
    const char *source;       /* its name, once known */
    unsigned source_problems; /* in the source being read */
    unsigned sources_skipped;
    unsigned budget;                 /* values left */
    struct kb_policy_book *policies; /* the configuration's, read before all else */
};

struct kb_config_choice {
    const char *word;
    unsigned value;
};

/* A row of a table. A path with a dot lies in a section: "grants.start_within". */
struct kb_config_key {
    const char *path;
    /* Reads a value that is there into base + offset, or reports a problem. */
    void (*read)(struct kb_config_reader *r, const struct kb_config_key *key, yaml_node_t *node,
                 void *base);
    size_t offset;
    const char *fallback; /* the default as one would write it; NULL: what base holds */
    int64_t min, max;     /* of numbers, milliseconds, bytes of a text; max 0: no bound */
    const struct kb_config_choice *choices; /* ended by a NULL word */
    bool required;
};

/* Reads a mapping by the table: sets defaults, then what the file says. node may be NULL. */
void kb_config_read_mapping(struct kb_config_reader *r, yaml_node_t *node,
                            const struct kb_config_key *keys, size_t count, void *base);
/* The value of one key of a mapping, or NULL; for what must be known before the rest is read. */
yaml_node_t *kb_config_peek(struct kb_config_reader *r, yaml_node_t *node, const char *key);

/* Problems at r->path. */
void kb_config_error(struct kb_config_reader *r, const yaml_node_t *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void kb_config_warn(struct kb_config_reader *r, const yaml_node_t *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Extends r->path by ".name" or "[index]"; gives what kb_config_leave wants back. */
size_t kb_config_enter(struct kb_config_reader *r, const char *name);
size_t kb_config_enter_index(struct kb_config_reader *r, size_t index);
void kb_config_leave(struct kb_config_reader *r, size_t before);
/* False when the budget is used up (said once). */
bool kb_config_spend(struct kb_config_reader *r, const yaml_node_t *at);

/* The text of a scalar, or NULL after saying that one is wanted. */
const char *kb_config_scalar(struct kb_config_reader *r, const yaml_node_t *node, const char *want);
/* The items of a list, or false after saying that a list is wanted. */
bool kb_config_items(struct kb_config_reader *r, const yaml_node_t *node, yaml_node_item_t **first,
                     size_t *count);

/* --- readers of values (config_value.c) ------------------------------------------------------- */

typedef void kb_config_read(struct kb_config_reader *r, const struct kb_config_key *key,
                            yaml_node_t *node, void *base);
kb_config_read kb_config_read_text;     /* char *, one line */
kb_config_read kb_config_read_path;     /* char *, relative paths start in the file's folder */
kb_config_read kb_config_read_bool;     /* bool */
kb_config_read kb_config_read_unsigned; /* unsigned */
kb_config_read kb_config_read_port;     /* uint16_t */
kb_config_read kb_config_read_duration; /* int64_t, ms */
kb_config_read kb_config_read_choice;   /* an enum */
kb_config_read kb_config_read_secret;   /* struct kb_secret; plain, {file: PATH} or {env: NAME} */
kb_config_read kb_config_read_ca;       /* char *, PEM; inline or a path */

/* NULL if it is a host name or an address (without brackets), or a static text: "is not ...". */
const char *kb_config_check_host(const char *host);
/* "host:port", "[v6]:port", ":port". NULL, or such a text. Replaces *host. */
const char *kb_config_parse_address(const char *text, char **host, uint16_t *port);
/* A whole number without sign; false if it is none or above max. */
bool kb_config_parse_number(const char *text, uint64_t max, uint64_t *value);
char *kb_config_resolve_path(struct kb_config_reader *r, const char *path);

#endif
