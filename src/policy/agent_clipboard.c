/* The clipboard: who may offer, ask for and hand over what. Pure; the thread of main's loop.
 *
 * A side that has something says GRAB with the types it has; the other asks for one of them with
 * REQUEST and is handed CLIPBOARD; RELEASE ends the offer. An offer that may not be is taken for
 * none, or for a RELEASE where one stands; a request that may not be, or for what is not offered,
 * is answered by us with the empty CLIPBOARD, so that nobody waits; data that nobody asked for
 * does not pass. That holds whatever a peer thinks is agreed.
 *
 * Two capabilities, where both sides have them, change what messages look like (vd_agent.h): with
 * CLIPBOARD_SELECTION four bytes that name the selection come first, with CLIPBOARD_GRAB_SERIAL a
 * grab is numbered. Each side counts the grabs that it sends and takes, and drops one whose number
 * is not its own count, so that of two grabs that cross only the client's counts (spice-gtk
 * channel-main.c, vdagentd.c do_client_clipboard). A grab that does not go on is one that only its
 * sender counts: `ahead` is the difference, and numbers are corrected by it. */
#include "base/mem.h"
#include "policy/agent_parts.h"

#define SELECTION_SIZE 4

bool kb_agent_is_clipboard(uint32_t type)
{
    return type == VD_AGENT_CLIPBOARD || type == VD_AGENT_CLIPBOARD_GRAB ||
           type == VD_AGENT_CLIPBOARD_REQUEST || type == VD_AGENT_CLIPBOARD_RELEASE;
}

static uint32_t prefix(const struct kb_agent *a)
{
    return kb_agent_common(a, VD_AGENT_CAP_CLIPBOARD_SELECTION) ? SELECTION_SIZE : 0;
}

uint32_t kb_agent_clipboard_need(const struct kb_agent *a, uint32_t type, uint32_t size)
{
    uint32_t need = type == VD_AGENT_CLIPBOARD ? prefix(a) + 4 : size;
    return need < size ? need : size;
}

void kb_agent_clipboard_reset(struct kb_agent *a)
{
    memset(a->selections, 0, sizeof a->selections);
}

/* What forbids that data flows in direction d. type NONE asks for the selection alone. */
static enum kb_rule forbids(const struct kb_limits *l, enum kb_direction d, unsigned selection,
                            uint32_t type)
{
    if (d == KB_FROM_CLIENT && !l->clipboard_in)
        return KB_RULE_CLIPBOARD_IN;
    if (d == KB_FROM_SERVER && !l->clipboard_out)
        return KB_RULE_CLIPBOARD_OUT;
    if (selection && !l->clipboard_primary)
        return KB_RULE_CLIPBOARD_PRIMARY;
    if (l->clipboard_text_only && type != VD_AGENT_CLIPBOARD_NONE &&
        type != VD_AGENT_CLIPBOARD_UTF8_TEXT)
        return KB_RULE_CLIPBOARD_TEXT_ONLY;
    return KB_RULE_NONE;
}

static bool blocks(struct turn *t, enum kb_direction d, unsigned selection, uint32_t type)
{
    return kb_content_blocks(t->c, t->rules, d, forbids(&t->rules->enforced, d, selection, type),
                             forbids(&t->rules->all, d, selection, type), NULL);
}

void kb_agent_edit_caps(struct turn *t, uint32_t *caps)
{
    static const uint32_t clipboard =
        1u << VD_AGENT_CAP_CLIPBOARD | 1u << VD_AGENT_CAP_CLIPBOARD_BY_DEMAND |
        1u << VD_AGENT_CAP_CLIPBOARD_SELECTION | 1u << VD_AGENT_CAP_MAX_CLIPBOARD |
        1u << VD_AGENT_CAP_CLIPBOARD_NO_RELEASE_ON_REGRAB |
        1u << VD_AGENT_CAP_CLIPBOARD_GRAB_SERIAL;
    const struct kb_limits *l = &t->rules->enforced;
    if (!l->clipboard_in && !l->clipboard_out)
        *caps &= ~clipboard;
    if (!l->files_in && t->d == KB_FROM_SERVER)
        *caps |= 1u << VD_AGENT_CAP_FILE_XFER_DISABLED;
}

enum judged kb_agent_max_clipboard(struct turn *t)
{
    struct lane *l = lane_of(t);
    struct kb_span body = body_of(l);
    uint64_t most = t->rules->enforced.clipboard_max;
    if (body.len != 4)
        return JUDGED_BAD;
    /* A number below 0 is no limit, which as unsigned is more than any. */
    if (most && most <= INT32_MAX && kb_get_u32(body.data) > most)
        kb_put_u32(l->held.data + HEADER_SIZE, (uint32_t)most);
    return JUDGED_PASS;
}

/* Tells one side that there is nothing. */
static void say_none(struct turn *t, enum kb_direction d, unsigned selection)
{
    uint8_t body[SELECTION_SIZE + 4] = {(uint8_t)selection};
    uint32_t skip = SELECTION_SIZE - prefix(t->a);
    kb_put_u32(body + SELECTION_SIZE, VD_AGENT_CLIPBOARD_NONE);
    kb_agent_say(t, d, VD_AGENT_CLIPBOARD, kb_span(body + skip, sizeof body - skip));
}

/* A grab that does not go on. `given` is its number as its sender knows it. */
static void count_alone(struct turn *t, struct selection *s, bool numbered, uint32_t given)
{
    enum kb_direction o = kb_other(t->d);
    if (!numbered)
        return;
    /* Crossed by one of the other side's: whichever way, one grab was counted on each side. */
    if (s->grabbed[o] && s->last_grab[o] == given)
        return;
    s->ahead += t->d == KB_FROM_CLIENT ? 1u : -1u;
}

/* last_grab[d] is kept in the numbers of the other side, which got it. */
static uint32_t renumber(struct turn *t, struct selection *s, uint32_t given)
{
    uint32_t number = t->d == KB_FROM_CLIENT ? given - s->ahead : given + s->ahead;
    s->last_grab[t->d] = number;
    s->grabbed[t->d] = true;
    return number;
}

static uint32_t keep_types(struct turn *t, unsigned selection, uint8_t *types, size_t *len)
{
    uint32_t offered = 0;
    size_t kept = 0;
    for (size_t i = 0; i + 4 <= *len; i += 4) {
        uint32_t type = kb_get_u32(types + i);
        if (type == VD_AGENT_CLIPBOARD_NONE || type >= TYPES || blocks(t, t->d, selection, type))
            continue;
        offered |= 1u << type;
        kb_put_u32(types + kept, type);
        kept += 4;
    }
    *len = kept;
    return offered;
}

static enum judged judge_grab(struct turn *t, struct selection *s, unsigned selection)
{
    struct lane *l = lane_of(t);
    size_t skip = prefix(t->a), all = body_of(l).len;
    bool numbered = kb_agent_common(t->a, VD_AGENT_CAP_CLIPBOARD_GRAB_SERIAL);
    uint8_t *data = l->held.data + HEADER_SIZE;
    if (numbered && all < skip + 4)
        return JUDGED_BAD;
    uint32_t given = numbered ? kb_get_u32(data + skip) : 0;
    size_t head = skip + (numbered ? 4 : 0), len = all - head;
    uint32_t offered = 0;
    if (!blocks(t, t->d, selection, VD_AGENT_CLIPBOARD_NONE))
        offered = keep_types(t, selection, data + head, &len);
    bool stood = s->offered[t->d] != 0;
    s->offered[t->d] = offered;
    if (offered) {
        if (numbered)
            kb_put_u32(data + skip, renumber(t, s, given));
        kb_agent_held_set(l, VD_AGENT_CLIPBOARD_GRAB, head + len);
        return JUDGED_PASS;
    }
    count_alone(t, s, numbered, given);
    if (!stood)
        return JUDGED_SWALLOW;
    kb_agent_held_set(l, VD_AGENT_CLIPBOARD_RELEASE, skip);
    return JUDGED_INSTEAD;
}

static enum judged judge_request(struct turn *t, struct selection *s, unsigned selection)
{
    struct kb_span body = body_of(lane_of(t));
    enum kb_direction o = kb_other(t->d);
    if (body.len < prefix(t->a) + 4)
        return JUDGED_BAD;
    uint32_t type = kb_get_u32(body.data + prefix(t->a));
    /* Where no token of ours is kept for an answer, the client gives it: what is not offered is
     * not forbidden for that. */
    bool offered =
        type < TYPES && (s->offered[o] >> type & 1 || (o == KB_FROM_CLIENT && !t->a->reserve));
    if (blocks(t, o, selection, type) || !offered || s->asked[t->d][type] == UINT8_MAX) {
        say_none(t, o, selection);
        return JUDGED_SWALLOW;
    }
    s->asked[t->d][type]++;
    return JUDGED_PASS;
}

/* True: somebody asked for it, and no longer does. NONE answers whatever was asked for. */
static bool was_asked(struct selection *s, enum kb_direction asker, uint32_t type)
{
    for (uint32_t i = 0; i < TYPES; i++) {
        if ((i == type || type == VD_AGENT_CLIPBOARD_NONE) && s->asked[asker][i]) {
            s->asked[asker][i]--;
            return true;
        }
    }
    return false;
}

static enum kb_rule forbids_data(const struct kb_limits *l, enum kb_direction d, unsigned selection,
                                 uint32_t type, uint32_t bytes)
{
    enum kb_rule r = forbids(l, d, selection, type);
    if (r == KB_RULE_NONE && l->clipboard_max && bytes > l->clipboard_max)
        r = KB_RULE_CLIPBOARD_MAX;
    return r;
}

static enum judged judge_data(struct turn *t, struct selection *s, unsigned selection,
                              uint32_t size)
{
    struct lane *l = lane_of(t);
    struct kb_span body = body_of(l);
    uint32_t head = prefix(t->a) + 4;
    if (body.len < head)
        return JUDGED_BAD;
    uint32_t type = kb_get_u32(body.data + head - 4), bytes = size - head;
    if (!was_asked(s, kb_other(t->d), type))
        return kb_content_malformed(t->c, t->rules, t->d, KB_RULE_AGENT_FORM,
                                    "clipboard data that nobody asked for")
                   ? JUDGED_SWALLOW
                   : JUDGED_PASS;
    const struct kb_rules *r = t->rules;
    if (kb_content_blocks(t->c, r, t->d, forbids_data(&r->enforced, t->d, selection, type, bytes),
                          forbids_data(&r->all, t->d, selection, type, bytes), NULL)) {
        kb_put_u32(l->held.data + HEADER_SIZE + head - 4, VD_AGENT_CLIPBOARD_NONE);
        kb_agent_held_set(l, VD_AGENT_CLIPBOARD, head);
        return JUDGED_INSTEAD;
    }
    t->a->pasting[t->d] = bytes;
    return JUDGED_PASS;
}

enum judged kb_agent_clipboard(struct turn *t, uint32_t type, uint32_t size)
{
    struct kb_agent *a = t->a;
    struct kb_span body = body_of(lane_of(t));
    unsigned selection = VD_AGENT_CLIPBOARD_SELECTION_CLIPBOARD;
    /* Before both have spoken, nobody can know what the message looks like to whom. */
    if (!a->announced[KB_FROM_CLIENT] || !a->announced[KB_FROM_SERVER])
        return JUDGED_SWALLOW;
    if (body.len < prefix(a))
        return JUDGED_BAD;
    if (prefix(a))
        selection = body.data[0];
    if (selection >= SELECTIONS)
        return JUDGED_SWALLOW;
    struct selection *s = &a->selections[selection];
    switch (type) {
    case VD_AGENT_CLIPBOARD_GRAB:
        return judge_grab(t, s, selection);
    case VD_AGENT_CLIPBOARD_REQUEST:
        return judge_request(t, s, selection);
    case VD_AGENT_CLIPBOARD_RELEASE:
        if (!s->offered[t->d])
            return JUDGED_SWALLOW;
        s->offered[t->d] = 0;
        return JUDGED_PASS;
    default:
        return judge_data(t, s, selection, size);
    }
}
