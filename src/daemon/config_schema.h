/* The tables of all keys. */
#ifndef KB_DAEMON_CONFIG_SCHEMA_H
#define KB_DAEMON_CONFIG_SCHEMA_H

#include "daemon/config_reader.h"

struct kb_config_table {
    const struct kb_config_key *keys;
    size_t count;
};

/* What a static source is read into: its consoles keep their place in the file for a while. */
struct kb_config_place {
    yaml_node_t *node;
    size_t index;
};
struct kb_config_source_draft {
    struct kb_source_config config;
    struct kb_config_place *places; /* one a console */
};

extern const struct kb_config_table kb_config_top;     /* into struct kb_config */
extern const struct kb_config_table kb_config_listen;  /* an entry of listen */
extern const struct kb_config_table kb_config_role;    /* an entry of identity.roles */
extern const struct kb_config_table kb_config_static;  /* a static source, into the draft */
extern const struct kb_config_table kb_config_console; /* a static console */

/* Readers of one key each. */
kb_config_read kb_config_read_listen;       /* config.c */
kb_config_read kb_config_read_accept;       /* config.c */
kb_config_read kb_config_read_address;      /* config.c; an entry of listen */
kb_config_read kb_config_read_metrics;      /* config.c; metrics.address */
kb_config_read kb_config_read_url;          /* config.c; public.url */
kb_config_read kb_config_read_store;        /* config.c; store.url */
kb_config_read kb_config_read_texts;        /* config_identity.c; a text or a list of them */
kb_config_read kb_config_read_roles;        /* config_identity.c */
kb_config_read kb_config_read_keystone_url; /* config_identity.c */
kb_config_read kb_config_read_issuer;       /* config_identity.c */
kb_config_read kb_config_read_sources;      /* config_sources.c */
kb_config_read kb_config_read_identifier;   /* config_sources.c; names that stand in URLs */
kb_config_read kb_config_read_host;         /* config_sources.c; a host or an address */
kb_config_read kb_config_read_pin;          /* config_sources.c; host_subject */
kb_config_read kb_config_read_consoles;     /* config_sources.c */

#endif
