/* OpenNebula's answers, and the documents in them. Input: an answer. */
#include "fuzz.h"

#include "source/one_rpc.h"

#include <string.h>

static void read_machines(const char *text)
{
    kb_auto(kb_xml_finish) xmlDoc *doc = kb_xml_parse(text, strlen(text));
    const xmlNode *pool = kb_xml_root(doc, "VM_POOL");
    for (const xmlNode *vm = kb_xml_child(pool, "VM"); vm; vm = kb_xml_next(vm, "VM")) {
        kb_auto(kb_one_vm_finish) struct kb_one_vm v;
        kb_one_vm_read(vm, &v);
        MUST(!v.console || (v.id && strcmp(v.console->uuid, v.id) == 0));
        MUST(!v.console || (v.console->hypervisor && v.console->insecure_port));
        MUST(v.console || !v.ticket.text);
    }
    MUST(!doc || !((xmlDoc *)doc)->intSubset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kb_auto(kb_one_answer_finish) struct kb_one_answer a;
    bool good = kb_one_answer_read(data, size, &a);
    MUST(good || !a.ok);
    MUST(!good || a.text.text);
    if (good)
        read_machines(a.text.text);
    return 0;
}
