/* What OpenNebula's front-end is asked and what it answers: XML-RPC, in whose answers documents of
 * XML travel as texts. Pure: bytes in, facts out. Any thread.
 *
 * Facts: docs.opennebula.io, "XML-RPC API"; LCM states: include/VirtualMachine.h of OpenNebula;
 * in which of them a machine has a display: what its web page Sunstone offers one for. */
#ifndef KB_SOURCE_ONE_RPC_H
#define KB_SOURCE_ONE_RPC_H

#include "base/secret.h"
#include "source/inventory.h"
#include "source/xml.h"

/* Error codes of answers. */
enum {
    KB_ONE_AUTHENTICATION = 0x0100,
    KB_ONE_AUTHORIZATION = 0x0200,
    KB_ONE_NO_EXISTS = 0x0400,
};

/* The body of a call: session is "USER:PASSWORD", then whole numbers. */
struct kb_secret kb_one_call(const char *method, const char *session, const int *numbers,
                             size_t count);

struct kb_one_answer {
    bool ok;               /* the call's own word */
    int64_t code;          /* of a refusal, or of XML-RPC's own fault; else 0 */
    struct kb_secret text; /* what was asked for, or why not; it may hold passwords */
};
/* False: it is no answer of XML-RPC with a boolean and a text in front. */
KB_MUST_CHECK bool kb_one_answer_read(const void *data, size_t len, struct kb_one_answer *a);
void kb_one_answer_finish(struct kb_one_answer *a);

struct kb_one_vm {
    char *id;                   /* NULL: it is no machine */
    struct kb_console *console; /* NULL: it has no SPICE display now */
    struct kb_secret ticket;
    bool unreachable; /* the display listens on its host's own loopback address alone */
};
/* Of an element VM. */
void kb_one_vm_read(const xmlNode *vm, struct kb_one_vm *v);
void kb_one_vm_finish(struct kb_one_vm *v);

#endif
