/* What only the whole of the section identity can tell. */
#ifndef KB_DAEMON_CONFIG_IDENTITY_H
#define KB_DAEMON_CONFIG_IDENTITY_H

#include "daemon/config_reader.h"

/* Reports what is missing or points nowhere; node is the top mapping. */
void kb_config_check_identity(struct kb_config_reader *r, yaml_node_t *node,
                              const struct kb_config *c);

#endif
