/* An entry: a connection that came in and is not known yet. First byte: TLS, or SPICE in clear,
 * which is told to use TLS. Inside TLS: SPICE becomes a channel, HTTP is handed over. Private to
 * proxy. */
#ifndef KB_PROXY_ENTRY_H
#define KB_PROXY_ENTRY_H

#include "proxy/shard.h"

enum kb_sniffed { KB_SNIFF_MORE, KB_SNIFF_SPICE, KB_SNIFF_HTTP, KB_SNIFF_TLS, KB_SNIFF_UNKNOWN };

/* At most this many bytes decide. */
#define KB_SNIFF_SIZE 4

/* What the first bytes of a connection are. Pure. */
enum kb_sniffed kb_sniff(struct kb_span bytes);

/* Takes fd over. */
void kb_entry_create(struct kb_shard *s, int fd, unsigned accepts);
/* Ends all entries of a shard. */
void kb_entry_end_all(struct kb_shard *s);

#endif
