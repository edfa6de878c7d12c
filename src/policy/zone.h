/* A time zone, from the bytes of its file (RFC 8536, "TZif"): how far local time is from UTC at a
 * time. Pure; the C library knows one zone a process, and we need one a policy. */
#ifndef KB_POLICY_ZONE_H
#define KB_POLICY_ZONE_H

#include "base/span.h"

struct kb_zone;

/* NULL if the bytes are no zone of version 2 or later. */
struct kb_zone *kb_zone_parse(struct kb_span file);
void kb_zone_destroy(struct kb_zone *z); /* takes NULL */
/* Seconds to add to UTC at that time (seconds since 1970). */
int32_t kb_zone_offset(const struct kb_zone *z, int64_t time);

#endif
