/* The agent's chunks put together, cut anew, and accounted for; what the messages mean is judged
 * here for all but clipboard (agent_clipboard.c) and file transfer (agent_files.c). Pure; the
 * thread of main's loop. */
#include "policy/agent.h"

#include "base/mem.h"
#include "policy/agent_parts.h"

#include <assert.h>
#include <spice/enums.h>
#include <stdlib.h>

enum { AT_PROTOCOL = 0, AT_TYPE = 4, AT_SIZE = 16 };                        /* VDAgentMessage */
enum { INIT_AGENT_CONNECTED = 16, INIT_AGENT_TOKENS = 20, INIT_SIZE = 32 }; /* SpiceMsgMainInit */
#define MONITOR_SIZE 20                                                     /* VDAgentMonConfig */
#define MONITOR_MM_SIZE 4                                                   /* VDAgentMonitorMM */
#define ENDLESS UINT32_MAX /* a grant of ~0: nobody counts */

struct kb_agent *kb_agent_create(void)
{
    struct kb_agent *a = kb_zalloc(sizeof *a);
    for (int d = 0; d < KB_DIRECTIONS; d++)
        a->lanes[d].need = HEADER_SIZE;
    a->grant = ENDLESS;
    return a;
}

void kb_agent_finish(struct kb_agent *a, struct kb_content *c)
{
    kb_agent_files_reset(a, c);
}

void kb_agent_destroy(struct kb_agent *a)
{
    if (!a)
        return;
    struct kb_content nobody = {0};
    kb_agent_files_reset(a, &nobody);
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        kb_buf_finish(&a->lanes[d].held);
        kb_buf_finish(&a->lanes[d].waiting);
    }
    free(a);
}

uint64_t kb_agent_client_tokens(const struct kb_agent *a)
{
    return a->client_tokens;
}

unsigned kb_agent_reserve(const struct kb_agent *a)
{
    return a->reserve;
}

static uint16_t data_type(enum kb_direction d)
{
    return d == KB_FROM_CLIENT ? SPICE_MSGC_MAIN_AGENT_DATA : SPICE_MSG_MAIN_AGENT_DATA;
}

static void send_tokens(struct turn *t, enum kb_direction d, uint32_t n)
{
    uint8_t body[4];
    kb_put_u32(body, n);
    kb_content_send(t->c, d,
                    d == KB_FROM_CLIENT ? SPICE_MSGC_MAIN_AGENT_TOKEN : SPICE_MSG_MAIN_AGENT_TOKEN,
                    kb_span(body, sizeof body), kb_span(NULL, 0));
}

/* What goes on */

static void flush_chunk(struct turn *t)
{
    struct lane *l = lane_of(t);
    if (!l->chunk_len)
        return;
    kb_content_send(t->c, t->d, data_type(t->d), kb_span(l->chunk, l->chunk_len), kb_span(NULL, 0));
    l->chunk_len = 0;
    l->credit--;
    /* Cut to the full, a message never has more chunks than it came in. The server may put two
     * messages into one; it is in our debt then. */
    assert(t->d == KB_FROM_SERVER || l->credit >= 0);
}

static void emit(struct turn *t, struct kb_span bytes)
{
    struct lane *l = lane_of(t);
    while (bytes.len) {
        size_t room = sizeof l->chunk - l->chunk_len;
        struct kb_span part = kb_span_take_most(&bytes, room);
        memcpy(l->chunk + l->chunk_len, part.data, part.len);
        l->chunk_len += (uint32_t)part.len;
        l->open = true;
        if (l->chunk_len == sizeof l->chunk)
            flush_chunk(t);
    }
}

/* Our own messages, where none of the peer's is half said. */
static void flush_waiting(struct turn *t, enum kb_direction d)
{
    struct kb_agent *a = t->a;
    struct lane *l = &a->lanes[d];
    size_t done = 0;
    if (!a->started || l->open || l->state == LANE_RAW)
        return;
    while (done < l->waiting.len && (d == KB_FROM_SERVER || a->reserve)) {
        size_t len = HEADER_SIZE + kb_get_u32(l->waiting.data + done + AT_SIZE);
        kb_content_send(t->c, d, data_type(d), kb_span(l->waiting.data + done, len),
                        kb_span(NULL, 0));
        if (d == KB_FROM_CLIENT)
            a->reserve--;
        else
            l->credit--;
        done += len;
    }
    if (done) {
        memmove(l->waiting.data, l->waiting.data + done, l->waiting.len - done);
        l->waiting.len -= done;
    }
}

static void put_header(uint8_t *h, uint32_t type, uint32_t size)
{
    memset(h, 0, HEADER_SIZE);
    kb_put_u32(h + AT_PROTOCOL, VD_AGENT_PROTOCOL);
    kb_put_u32(h + AT_TYPE, type);
    kb_put_u32(h + AT_SIZE, size);
}

void kb_agent_held_set(struct lane *l, uint32_t type, size_t body_len)
{
    l->held.len = HEADER_SIZE + body_len;
    put_header(l->held.data, type, (uint32_t)body_len);
}

void kb_agent_say(struct turn *t, enum kb_direction d, uint32_t type, struct kb_span body)
{
    struct kb_agent *a = t->a;
    struct lane *l = &a->lanes[d];
    /* Whoever makes us say so much that it does not fit goes without an answer. */
    if (!a->started || l->waiting.len + HEADER_SIZE + body.len > WAITING_MAX ||
        (d == KB_FROM_CLIENT && !a->reserve_max))
        return;
    uint8_t header[HEADER_SIZE];
    put_header(header, type, (uint32_t)body.len);
    kb_buf_add(&l->waiting, header, sizeof header);
    kb_buf_add(&l->waiting, body.data, body.len);
    flush_waiting(t, d);
}

/* The judgements */

static enum kb_rule forbids_resize(const struct kb_limits *l)
{
    return l->view_only ? KB_RULE_VIEW_ONLY : l->resize ? KB_RULE_NONE : KB_RULE_RESIZE;
}

static enum judged judge_monitors(struct turn *t)
{
    struct lane *l = lane_of(t);
    struct kb_span body = body_of(l);
    if (body.len < 8)
        return JUDGED_BAD;
    uint32_t count = kb_get_u32(body.data), flags = kb_get_u32(body.data + 4);
    size_t each =
        MONITOR_SIZE + (flags & VD_AGENT_CONFIG_MONITORS_FLAG_PHYSICAL_SIZE ? MONITOR_MM_SIZE : 0);
    if (count > HELD_MAX || body.len < 8 + count * each)
        return JUDGED_BAD;
    if (kb_content_blocks(t->c, t->rules, t->d, forbids_resize(&t->rules->enforced),
                          forbids_resize(&t->rules->all), NULL)) {
        uint8_t reply[8];
        kb_put_u32(reply, VD_AGENT_MONITORS_CONFIG);
        kb_put_u32(reply + 4, VD_AGENT_SUCCESS);
        kb_agent_say(t, KB_FROM_SERVER, VD_AGENT_REPLY, kb_span(reply, sizeof reply));
        return JUDGED_SWALLOW;
    }
    uint32_t most = t->rules->enforced.screens, all = t->rules->all.screens;
    if (kb_content_blocks(t->c, t->rules, t->d,
                          most && count > most ? KB_RULE_SCREENS : KB_RULE_NONE,
                          all && count > all ? KB_RULE_SCREENS : KB_RULE_NONE, NULL)) {
        uint8_t *data = l->held.data + HEADER_SIZE;
        kb_put_u32(data, most);
        /* The physical sizes follow all monitors. */
        if (each > MONITOR_SIZE)
            memmove(data + 8 + most * MONITOR_SIZE, data + 8 + count * MONITOR_SIZE,
                    most * MONITOR_MM_SIZE);
        kb_agent_held_set(l, VD_AGENT_MONITORS_CONFIG, 8 + most * each);
    }
    return JUDGED_PASS;
}

static enum judged judge_caps(struct turn *t)
{
    struct lane *l = lane_of(t);
    struct kb_span body = body_of(l);
    if (body.len < 4 || body.len % 4)
        return JUDGED_BAD;
    uint32_t caps = 0;
    if (body.len >= 8) {
        caps = kb_get_u32(body.data + 4);
        kb_agent_edit_caps(t, &caps);
        kb_put_u32(l->held.data + HEADER_SIZE + 4, caps);
    }
    /* A client that asks is a new one to the agent, which forgets what it counted. */
    if (t->d == KB_FROM_CLIENT && kb_get_u32(body.data))
        kb_agent_clipboard_reset(t->a);
    t->a->caps[t->d] = caps;
    t->a->announced[t->d] = true;
    return JUDGED_PASS;
}

static enum kb_rule forbids_input(const struct kb_limits *l)
{
    return l->view_only ? KB_RULE_VIEW_ONLY : KB_RULE_NONE;
}

/* Who may say what. Types that are not here are the server's own to the agent, or unknown: no peer
 * of ours may say them, and nobody would understand them. */
static bool may_say(enum kb_direction d, uint32_t type)
{
    switch (type) {
    case VD_AGENT_CLIPBOARD:
    case VD_AGENT_ANNOUNCE_CAPABILITIES:
    case VD_AGENT_CLIPBOARD_GRAB:
    case VD_AGENT_CLIPBOARD_REQUEST:
    case VD_AGENT_CLIPBOARD_RELEASE:
    case VD_AGENT_FILE_XFER_STATUS:
    case VD_AGENT_AUDIO_VOLUME_SYNC:
        return true;
    case VD_AGENT_MOUSE_STATE:
    case VD_AGENT_MONITORS_CONFIG:
    case VD_AGENT_DISPLAY_CONFIG:
    case VD_AGENT_FILE_XFER_START:
    case VD_AGENT_FILE_XFER_DATA:
    case VD_AGENT_MAX_CLIPBOARD:
        return d == KB_FROM_CLIENT;
    case VD_AGENT_REPLY:
        return d == KB_FROM_SERVER;
    default:
        return false;
    }
}

static enum judged judge(struct turn *t, uint32_t type, uint32_t size)
{
    if (!may_say(t->d, type))
        return kb_content_malformed(t->c, t->rules, t->d, KB_RULE_AGENT_FORM,
                                    "a message that this side does not send")
                   ? JUDGED_SWALLOW
                   : JUDGED_PASS;
    if (kb_agent_is_clipboard(type))
        return kb_agent_clipboard(t, type, size);
    switch (type) {
    case VD_AGENT_ANNOUNCE_CAPABILITIES:
        return judge_caps(t);
    case VD_AGENT_MAX_CLIPBOARD:
        return kb_agent_max_clipboard(t);
    case VD_AGENT_MONITORS_CONFIG:
        return judge_monitors(t);
    case VD_AGENT_MOUSE_STATE:
        return kb_content_blocks(t->c, t->rules, t->d, forbids_input(&t->rules->enforced),
                                 forbids_input(&t->rules->all), NULL)
                   ? JUDGED_SWALLOW
                   : JUDGED_PASS;
    case VD_AGENT_FILE_XFER_START:
        return kb_agent_file_start(t);
    case VD_AGENT_FILE_XFER_DATA:
        return kb_agent_file_data(t, size);
    case VD_AGENT_FILE_XFER_STATUS:
        return kb_agent_file_status(t);
    default:
        return JUDGED_PASS;
    }
}

/* What comes */

/* How much of the body the judgement needs: all of what is short by nature. */
static uint32_t body_need(const struct kb_agent *a, uint32_t type, uint32_t size)
{
    if (kb_agent_is_clipboard(type))
        return kb_agent_clipboard_need(a, type, size);
    switch (type) {
    case VD_AGENT_FILE_XFER_DATA:
        return size < 12 ? size : 12;
    case VD_AGENT_ANNOUNCE_CAPABILITIES:
    case VD_AGENT_MAX_CLIPBOARD:
    case VD_AGENT_MONITORS_CONFIG:
    case VD_AGENT_FILE_XFER_START:
    case VD_AGENT_FILE_XFER_STATUS:
        return size;
    default:
        return 0;
    }
}

static void next_message(struct lane *l)
{
    l->state = LANE_HEAD;
    l->held.len = 0;
    l->need = HEADER_SIZE;
}

static void end_message(struct turn *t)
{
    struct lane *l = lane_of(t);
    bool passed = l->state == LANE_PASS;
    flush_chunk(t);
    l->open = false;
    next_message(l);
    if (passed && l->type == VD_AGENT_CLIPBOARD && t->a->pasting[t->d]) {
        kb_content_fact(t->c, &(struct kb_fact){.kind = KB_FACT_CLIPBOARD,
                                                .direction = t->d,
                                                .bytes = t->a->pasting[t->d],
                                                .complete = true});
        t->a->pasting[t->d] = 0;
    }
    flush_waiting(t, t->d);
}

/* Nothing behind this can be read. */
static bool unreadable(struct turn *t, const char *why)
{
    struct lane *l = lane_of(t);
    if (!kb_content_malformed(t->c, t->rules, t->d, KB_RULE_AGENT_FORM, why)) {
        emit(t, kb_buf_span(&l->held)); /* goes on with what follows, as one chunk */
        l->state = LANE_RAW;
    } else {
        /* A client that says this ends; a guest only loses its agent. */
        l->state = LANE_DEAD;
    }
    l->held.len = 0;
    return l->state == LANE_RAW || t->d == KB_FROM_SERVER;
}

static bool decide(struct turn *t)
{
    struct lane *l = lane_of(t);
    uint32_t size = kb_get_u32(l->held.data + AT_SIZE);
    l->type = kb_get_u32(l->held.data + AT_TYPE);
    l->left = size - (uint32_t)(l->held.len - HEADER_SIZE);
    switch (judge(t, l->type, size)) {
    case JUDGED_PASS:
        l->state = LANE_PASS;
        emit(t, kb_buf_span(&l->held));
        break;
    case JUDGED_SWALLOW:
        l->state = LANE_SWALLOW;
        break;
    case JUDGED_INSTEAD:
        l->state = LANE_SWALLOW;
        emit(t, kb_buf_span(&l->held));
        flush_chunk(t);
        l->open = false;
        break;
    case JUDGED_BAD:
        return unreadable(t, "a message whose length does not fit what it says");
    }
    l->held.len = 0;
    if (!l->left)
        end_message(t);
    return true;
}

/* The header is there. */
static bool read_header(struct turn *t)
{
    struct lane *l = lane_of(t);
    uint32_t size = kb_get_u32(l->held.data + AT_SIZE);
    if (kb_get_u32(l->held.data + AT_PROTOCOL) != VD_AGENT_PROTOCOL)
        return unreadable(t, "what should be an agent message is none");
    if (size > MESSAGE_MAX)
        return unreadable(t, "a message that is longer than any can be");
    uint32_t need = body_need(t->a, kb_get_u32(l->held.data + AT_TYPE), size);
    if (need > HELD_MAX)
        return unreadable(t, "a message that is longer than its kind can be");
    l->need = HEADER_SIZE + need;
    return l->held.len < l->need || decide(t);
}

static bool collect(struct turn *t, struct kb_span *bytes)
{
    struct lane *l = lane_of(t);
    struct kb_span part = kb_span_take_most(bytes, l->need - l->held.len);
    if (part.len)
        kb_buf_add(&l->held, part.data, part.len);
    if (l->held.len < l->need)
        return true;
    return l->need == HEADER_SIZE ? read_header(t) : decide(t);
}

static void go_on(struct turn *t, struct kb_span *bytes)
{
    struct lane *l = lane_of(t);
    struct kb_span part = kb_span_take_most(bytes, l->left);
    l->left -= (uint32_t)part.len;
    if (l->state == LANE_PASS) {
        emit(t, part);
        if (t->d == KB_FROM_CLIENT && l->type == VD_AGENT_FILE_XFER_DATA)
            kb_agent_file_bytes(t->a, part);
    }
    if (!l->left)
        end_message(t);
}

static bool walk(struct turn *t, struct kb_span bytes)
{
    struct lane *l = lane_of(t);
    while (bytes.len) {
        size_t before = bytes.len;
        switch (l->state) {
        case LANE_HEAD:
            if (!collect(t, &bytes))
                return false;
            break;
        case LANE_PASS:
        case LANE_SWALLOW:
            go_on(t, &bytes);
            break;
        case LANE_RAW:
            emit(t, kb_span_take_most(&bytes, bytes.len));
            break;
        case LANE_DEAD:
            return true;
        }
        /* spice-server throws such a chunk away, an agent reads who knows what. */
        if (t->d == KB_FROM_CLIENT && bytes.len && bytes.len < before && l->state == LANE_HEAD &&
            !l->held.len)
            return !kb_content_malformed(t->c, t->rules, t->d, KB_RULE_AGENT_FORM,
                                         "a chunk with more than one message");
    }
    if (l->state == LANE_RAW)
        flush_chunk(t);
    return true;
}

/* Tokens */

/* Chunks that what is held back here may still become. */
static int64_t chunks_to_come(const struct lane *l)
{
    return (int64_t)((l->held.len + l->chunk_len + KB_AGENT_CHUNK_MAX - 1) / KB_AGENT_CHUNK_MAX);
}

static void pay_back(struct turn *t)
{
    struct lane *l = lane_of(t);
    if (t->d == KB_FROM_SERVER && t->a->grant == ENDLESS)
        l->credit = 0;
    int64_t to_come = chunks_to_come(l), back = l->credit - to_come;
    back = back > 0 ? back : 0;
    l->credit -= back;
    /* A client whose last token is in what is held back here: it gets one of ours to go on with. */
    if (t->d == KB_FROM_CLIENT && to_come && !back && !t->a->client_tokens && t->a->reserve) {
        t->a->reserve--;
        back = 1;
    }
    if (!back)
        return;
    send_tokens(t, kb_other(t->d), (uint32_t)back);
    if (t->d == KB_FROM_CLIENT)
        t->a->client_tokens += (uint64_t)back;
}

static bool feed_data(struct turn *t, struct kb_span body)
{
    struct kb_agent *a = t->a;
    if (t->d == KB_FROM_CLIENT) {
        /* For an agent that is gone: nobody reads it, and nobody counts it (spice-server,
         * reds_get_agent_data_buffer). */
        if (!a->started)
            return true;
        if (!a->client_tokens || body.len > KB_AGENT_CHUNK_MAX) {
            const char *why = body.len > KB_AGENT_CHUNK_MAX
                                  ? "a chunk that is longer than 2048 bytes"
                                  : "more chunks than the server gave tokens for";
            kb_content_malformed(t->c, t->rules, t->d, KB_RULE_AGENT_FORM, why);
            return false; /* the server would end it too */
        }
        a->client_tokens--;
    }
    lane_of(t)->credit++;
    bool good = walk(t, body);
    pay_back(t);
    return good;
}

static void reset_lane(struct lane *l)
{
    next_message(l);
    l->chunk_len = 0;
    l->open = false;
    l->credit = 0;
    l->waiting.len = 0;
}

/* Another agent, or none. */
static void reset(struct turn *t)
{
    struct kb_agent *a = t->a;
    for (int d = 0; d < KB_DIRECTIONS; d++) {
        reset_lane(&a->lanes[d]);
        a->announced[d] = false;
        a->caps[d] = 0;
        a->pasting[d] = 0;
    }
    a->started = false;
    kb_agent_clipboard_reset(a);
    kb_agent_files_reset(a, t->c);
}

/* How many tokens should be ours: some, where a question of the guest may end here. */
static unsigned reserve_goal(const struct kb_agent *a, const struct kb_limits *l)
{
    bool answers = !l->clipboard_in || !l->clipboard_primary || l->clipboard_text_only;
    return answers ? a->reserve_max : 0;
}

/* The server begins to count anew: what it gives the client, less our part. */
static uint32_t share_tokens(struct turn *t, uint32_t given)
{
    struct kb_agent *a = t->a;
    a->reserve_max = given / 2 < KB_AGENT_RESERVE ? given / 2 : KB_AGENT_RESERVE;
    a->reserve = reserve_goal(a, &t->rules->enforced);
    a->client_tokens = given - a->reserve;
    return (uint32_t)a->client_tokens;
}

static void forward(struct turn *t, uint16_t type, struct kb_span body)
{
    kb_content_send(t->c, t->d, type, body, kb_span(NULL, 0));
}

static void feed_init(struct turn *t, struct kb_span body)
{
    uint8_t init[INIT_SIZE];
    reset(t);
    if (body.len < INIT_SIZE) {
        forward(t, SPICE_MSG_MAIN_INIT, body);
        return;
    }
    memcpy(init, body.data, sizeof init);
    kb_put_u32(init + INIT_AGENT_TOKENS,
               share_tokens(t, kb_get_u32(body.data + INIT_AGENT_TOKENS)));
    kb_content_send(t->c, t->d, SPICE_MSG_MAIN_INIT, kb_span(init, sizeof init),
                    kb_span(body.data + INIT_SIZE, body.len - INIT_SIZE));
}

/* Tokens that one side gives the other. */
static void feed_tokens(struct turn *t, uint16_t type, struct kb_span body)
{
    struct kb_agent *a = t->a;
    if (body.len < 4) {
        forward(t, type, body);
        return;
    }
    uint32_t n = kb_get_u32(body.data), ours;
    if (t->d == KB_FROM_SERVER) {
        unsigned goal = reserve_goal(a, &t->rules->enforced);
        /* More than is wanted, since the rules are others: the client's again. */
        uint32_t spare =
            a->reserve > goal && !a->lanes[KB_FROM_CLIENT].waiting.len ? a->reserve - goal : 0;
        a->reserve -= spare;
        n += spare;
        ours = goal > a->reserve ? goal - a->reserve : 0;
        ours = n < ours ? n : ours;
        a->reserve += ours;
        a->client_tokens += n - ours;
    } else {
        struct lane *l = &a->lanes[KB_FROM_SERVER];
        ours = l->credit >= 0 ? 0 : -l->credit < n ? (uint32_t)-l->credit : n;
        l->credit += ours;
    }
    if (n > ours || !ours)
        send_tokens(t, t->d, n - ours);
    flush_waiting(t, KB_FROM_CLIENT);
}

static bool from_client(struct turn *t, uint16_t type, struct kb_span body)
{
    struct kb_agent *a = t->a;
    switch (type) {
    case SPICE_MSGC_MAIN_AGENT_START:
        reset_lane(&a->lanes[KB_FROM_CLIENT]);
        a->started = true;
        a->grant = body.len >= 4 ? kb_get_u32(body.data) : ENDLESS;
        forward(t, type, body);
        return true;
    case SPICE_MSGC_MAIN_AGENT_TOKEN:
        feed_tokens(t, type, body);
        return true;
    default:
        return feed_data(t, body);
    }
}

static bool from_server(struct turn *t, uint16_t type, struct kb_span body)
{
    switch (type) {
    case SPICE_MSG_MAIN_INIT:
        feed_init(t, body);
        return true;
    case SPICE_MSG_MAIN_AGENT_CONNECTED_TOKENS:
        reset(t);
        if (body.len < 4) {
            forward(t, type, body);
        } else {
            uint8_t tokens[4];
            kb_put_u32(tokens, share_tokens(t, kb_get_u32(body.data)));
            forward(t, type, kb_span(tokens, sizeof tokens));
        }
        return true;
    case SPICE_MSG_MAIN_AGENT_CONNECTED:
    case SPICE_MSG_MAIN_AGENT_DISCONNECTED:
        reset(t);
        forward(t, type, body);
        return true;
    case SPICE_MSG_MAIN_AGENT_TOKEN:
        feed_tokens(t, type, body);
        return true;
    default:
        return feed_data(t, body);
    }
}

bool kb_agent_wants(enum kb_direction d, uint16_t type)
{
    if (d == KB_FROM_CLIENT)
        return type == SPICE_MSGC_MAIN_AGENT_START || type == SPICE_MSGC_MAIN_AGENT_DATA ||
               type == SPICE_MSGC_MAIN_AGENT_TOKEN;
    return type == SPICE_MSG_MAIN_INIT || type == SPICE_MSG_MAIN_AGENT_CONNECTED ||
           type == SPICE_MSG_MAIN_AGENT_DISCONNECTED || type == SPICE_MSG_MAIN_AGENT_DATA ||
           type == SPICE_MSG_MAIN_AGENT_TOKEN || type == SPICE_MSG_MAIN_AGENT_CONNECTED_TOKENS;
}

bool kb_agent_feed(struct kb_agent *a, struct kb_content *c, const struct kb_rules *rules,
                   enum kb_direction d, uint16_t type, struct kb_span body)
{
    struct turn t = {a, c, rules, d};
    if (!kb_agent_wants(d, type)) {
        forward(&t, type, body);
        return true;
    }
    return d == KB_FROM_CLIENT ? from_client(&t, type, body) : from_server(&t, type, body);
}
