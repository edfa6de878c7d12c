/* The server's own certificate, key and CA, as far as the configuration can be checked for them. */
#ifndef KB_DAEMON_CONFIG_TLS_H
#define KB_DAEMON_CONFIG_TLS_H

#include "daemon/config_reader.h"

/* Reports what is wrong with c->tls; node is the top mapping. */
void kb_config_check_tls(struct kb_config_reader *r, yaml_node_t *node, const struct kb_config *c);

#endif
