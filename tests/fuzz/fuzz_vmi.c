/* The events of a KubeVirt watch. Input: a byte that says how they are cut, and the events. However
 * they are cut, what is known afterwards is the same. */
#include "fuzz.h"

#include "source/vmi.h"

#include <string.h>

struct outcome {
    struct kb_console *known;
    char *version;
    bool ended;
};

static void run(struct outcome *o, const uint8_t *data, size_t size, uint32_t cuts)
{
    struct cuts c = {cuts};
    struct kb_vmi_watch w = {.serial = true, .known = &o->known, .version = &o->version};
    while (size && !o->ended) {
        size_t len = next_cut(&c, size);
        enum kb_vmi_news news = kb_vmi_watch_take(&w, data, len);
        o->ended = news == KB_VMI_EXPIRED || news == KB_VMI_BROKEN;
        data += len;
        size -= len;
    }
    kb_vmi_watch_finish(&w);
}

static void finish(struct outcome *o)
{
    kb_consoles_destroy(&o->known);
    free(o->version);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    kb_auto(finish) struct outcome whole = {0}, cut = {0};
    run(&whole, data + 1, size - 1, 0);
    run(&cut, data + 1, size - 1, data[0] + 1);
    MUST(whole.ended == cut.ended);
    MUST(kb_consoles_equal(whole.known, cut.known));
    MUST(!whole.version == !cut.version &&
         (!whole.version || strcmp(whole.version, cut.version) == 0));
    return 0;
}
