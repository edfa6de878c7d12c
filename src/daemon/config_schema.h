/* The tables of all keys. */
#ifndef KB_DAEMON_CONFIG_SCHEMA_H
#define KB_DAEMON_CONFIG_SCHEMA_H

#include "daemon/config_reader.h"
#include "source/driver.h"

struct kb_config_table {
    const struct kb_config_key *keys;
    size_t count;
};

/* What a source is read into: static consoles keep their place in the file for a while. */
struct kb_config_place {
    yaml_node_t *node;
    size_t index;
};
#define KB_CONFIG_SETTINGS_MAX 24 /* keys of one driver */
struct kb_config_source_draft {
    struct kb_source_config config;
    struct kb_config_place *places; /* one a console */
    char *policy;                   /* of all its consoles */
    struct kb_attachment *attached; /* of some of them */
    size_t attached_count;
    const struct kb_source_driver *driver;
    struct kb_setting settings[KB_CONFIG_SETTINGS_MAX]; /* in the order of the driver's keys */
};

extern const struct kb_config_table kb_config_top;          /* into struct kb_config */
extern const struct kb_config_table kb_config_listen;       /* an entry of listen */
extern const struct kb_config_table kb_config_role;         /* an entry of identity.roles */
extern const struct kb_config_table kb_config_group_policy; /* an entry of identity.groups */
extern const struct kb_config_table kb_config_policy; /* an entry of policies, into the draft */
extern const struct kb_config_table kb_config_source_policy; /* an entry of a source's policies */
extern const struct kb_config_table kb_config_source;        /* of any type, into the draft */
extern const struct kb_config_table kb_config_console;       /* a static console */

/* The rows of a driver's own keys, into the settings of the draft; choices is room for theirs. */
#define KB_CONFIG_CHOICES_MAX 32
size_t kb_config_driver_keys(const struct kb_source_driver *driver, struct kb_config_key *keys,
                             struct kb_config_choice choices[KB_CONFIG_CHOICES_MAX]);
/* Moves the settings into the draft's configuration; config_driver.c. */
void kb_config_take_settings(struct kb_config_source_draft *draft);

/* Reads a file of consoles for drivers whose consoles stand in files; any thread. config_sources.c.
 */
kb_static_read kb_config_read_console_file;

/* Readers of one key each. */
kb_config_read kb_config_read_listen;          /* config.c */
kb_config_read kb_config_read_accept;          /* config.c */
kb_config_read kb_config_read_address;         /* config.c; an entry of listen */
kb_config_read kb_config_read_metrics;         /* config.c; metrics.address */
kb_config_read kb_config_read_url;             /* config.c; public.url */
kb_config_read kb_config_read_store;           /* config.c; store.url */
kb_config_read kb_config_read_pair;            /* config_tls.c; a path or a list of two */
kb_config_read kb_config_read_texts;           /* config_identity.c; a text or a list of them */
kb_config_read kb_config_read_roles;           /* config_identity.c */
kb_config_read kb_config_read_group_policies;  /* config_identity.c */
kb_config_read kb_config_read_policies;        /* config_policies.c */
kb_config_read kb_config_read_policy_name;     /* config_policies.c; of one that there is */
kb_config_read kb_config_read_policy_field;    /* config_policies.c */
kb_config_read kb_config_read_hours;           /* config_policies.c */
kb_config_read kb_config_read_zone;            /* config_policies.c */
kb_config_read kb_config_read_source_policies; /* config_policies.c */
kb_config_read kb_config_read_keystone_url;    /* config_identity.c */
kb_config_read kb_config_read_issuer;          /* config_identity.c */
kb_config_read kb_config_read_sources;         /* config_sources.c */
kb_config_read kb_config_read_identifier;      /* config_sources.c; names that stand in URLs */
kb_config_read kb_config_read_host;            /* config_sources.c; a host or an address */
kb_config_read kb_config_read_pin;             /* config_sources.c; host_subject */
kb_config_read kb_config_read_consoles;        /* config_sources.c */
kb_config_read kb_config_read_address_map;     /* config_driver.c */

/* What a policy is read into. */
struct kb_config_policy_draft {
    struct kb_policy *policy;
    unsigned mode; /* 1: observe */
};
/* Reads `policies` of the root, before anything that names one. */
void kb_config_read_all_policies(struct kb_config_reader *r, yaml_node_t *root);
/* Attaches the draft's policies to its source and consoles, also when the source itself is not
 * loaded: its old consoles stay, and so must what holds for them. */
void kb_config_attach_policies(struct kb_config_reader *r, struct kb_config_source_draft *draft);

#endif
