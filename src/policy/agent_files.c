/* File transfer through the agent: START names a file and its size, the guest answers STATUS, DATA
 * follows, STATUS ends it. Pure; the thread of main's loop.
 *
 * A START that may not be is answered in the guest's place, and all DATA without a transfer goes
 * nowhere. What passes is counted and hashed, so that the audit can name what was moved. */
#include "base/mem.h"
#include "policy/agent_parts.h"

#include <stdlib.h>

#define DATA_HEAD 12 /* VDAgentFileXferDataMessage: u32 id, u64 size */
/* GIOErrorEnum, G_IO_ERROR_INVALID_FILENAME: of the errors with a number, the one that spice-gtk
 * has words for. */
#define INVALID_FILENAME 10

static struct file *find(struct kb_agent *a, uint32_t id)
{
    struct file *f = a->files;
    while (f && f->id != id)
        f = f->next;
    return f;
}

/* Ends a transfer: the fact, then nothing is left of it. */
static void end_file(struct kb_agent *a, struct kb_content *c, struct file *file, bool complete)
{
    struct kb_fact fact = {.kind = KB_FACT_FILE,
                           .direction = KB_FROM_CLIENT,
                           .name = file->name,
                           .size = file->size,
                           .bytes = file->bytes,
                           .complete = complete && file->bytes == file->size};
    crypto_hash_sha256_final(&file->hash, fact.sha256);
    kb_content_fact(c, &fact);
    for (struct file **at = &a->files; *at; at = &(*at)->next) {
        if (*at == file) {
            *at = file->next;
            break;
        }
    }
    if (a->hashing == file)
        a->hashing = NULL;
    a->file_count--;
    free(file);
}

void kb_agent_files_reset(struct kb_agent *a, struct kb_content *c)
{
    while (a->files)
        end_file(a, c, a->files, false);
}

void kb_agent_file_bytes(struct kb_agent *a, struct kb_span bytes)
{
    if (!a->hashing)
        return;
    a->hashing->bytes += bytes.len;
    crypto_hash_sha256_update(&a->hashing->hash, bytes.data, bytes.len);
}

/* Key files (GLib, GKeyFile) */

static bool is_blank(uint8_t b)
{
    return b == ' ' || b == '\t' || b == '\r' || b == '\f' || b == '\v';
}

static struct kb_span trim(struct kb_span s)
{
    while (s.len && is_blank(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

static bool same(struct kb_span s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

/* A value with its escapes undone. False: too long, no escape that there is, or not a plain name:
 * one with a separator of any guest's system, or with what no terminal should get. */
static bool read_name(struct kb_span value, char name[NAME_SIZE])
{
    size_t len = 0;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t b = value.data[i];
        if (b == '\\') {
            if (++i == value.len || value.data[i] != 's')
                return false; /* \n \t \r are controls, \\ separates in Windows */
            b = ' ';
        }
        if (b < ' ' || b == 0x7f || b == '/' || len + 1 >= NAME_SIZE)
            return false;
        name[len++] = (char)b;
    }
    name[len] = '\0';
    return len > 0 && strcmp(name, ".") && strcmp(name, "..") && kb_utf8_valid(name);
}

static bool read_number(struct kb_span value, uint64_t *n)
{
    *n = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9' ||
            __builtin_mul_overflow(*n, UINT64_C(10), n) ||
            __builtin_add_overflow(*n, (uint64_t)(value.data[i] - '0'), n))
            return false;
    }
    return value.len > 0;
}

static struct kb_span next_line(struct kb_span *text)
{
    const uint8_t *end = memchr(text->data, '\n', text->len);
    struct kb_span line = kb_span(text->data, end ? (size_t)(end - text->data) : text->len);
    size_t used = line.len + (end ? 1 : 0);
    text->data += used;
    text->len -= used;
    return line;
}

/* What a START says. Each thing once: of what is said twice, nobody knows which the guest takes. */
struct announced {
    char name[NAME_SIZE];
    uint64_t size;
    bool good_name;
};

static bool read_key_file(struct kb_span text, struct announced *file)
{
    unsigned groups = 0, names = 0, sizes = 0;
    if (!text.len || memchr(text.data, 0, text.len) != text.data + text.len - 1)
        return false; /* a text, ended by its only NUL */
    text.len--;
    while (text.len) {
        struct kb_span line = trim(next_line(&text));
        if (!line.len || line.data[0] == '#')
            continue;
        if (line.data[0] == '[') {
            if (!same(line, "[vdagent-file-xfer]"))
                return false;
            groups++;
            continue;
        }
        const uint8_t *equals = memchr(line.data, '=', line.len);
        if (!equals || groups != 1)
            return false;
        struct kb_span key = trim(kb_span(line.data, (size_t)(equals - line.data)));
        struct kb_span value =
            trim(kb_span(equals + 1, (size_t)(line.data + line.len - equals - 1)));
        if (same(key, "name")) {
            names++;
            file->good_name = read_name(value, file->name);
        } else if (same(key, "size")) {
            sizes++;
            if (!read_number(value, &file->size))
                return false;
        }
    }
    return groups == 1 && names == 1 && sizes == 1;
}

/* The judgements */

/* Says to one side how a transfer ended. */
static void say_status(struct turn *t, enum kb_direction d, uint32_t id, uint32_t result,
                       uint32_t error)
{
    uint8_t body[13];
    size_t len = 8;
    bool detailed = t->a->caps[KB_FROM_CLIENT] >> VD_AGENT_CAP_FILE_XFER_DETAILED_ERRORS & 1;
    /* What came after SUCCESS is for those who say that they know it. */
    if (result > VD_AGENT_FILE_XFER_STATUS_SUCCESS && !detailed)
        result = VD_AGENT_FILE_XFER_STATUS_ERROR;
    kb_put_u32(body, id);
    kb_put_u32(body + 4, result);
    if (error && detailed) {
        body[8] = VD_AGENT_FILE_XFER_STATUS_ERROR_GLIB_IO;
        kb_put_u32(body + 9, error);
        len = 13;
    }
    kb_agent_say(t, d, VD_AGENT_FILE_XFER_STATUS, kb_span(body, len));
}

static enum kb_rule forbids(const struct kb_limits *l, const struct announced *file)
{
    if (!l->files_in)
        return KB_RULE_FILES_IN;
    if (l->files_max && file->size > l->files_max)
        return KB_RULE_FILES_MAX;
    return kb_limits_allow_file_name(l, file->name) ? KB_RULE_NONE : KB_RULE_FILES_NAMES;
}

enum judged kb_agent_file_start(struct turn *t)
{
    struct kb_agent *a = t->a;
    struct kb_span body = body_of(lane_of(t));
    struct announced said = {.name = ""};
    if (body.len < 4)
        return JUDGED_BAD;
    uint32_t id = kb_get_u32(body.data);
    if (find(a, id)) {
        /* An answer would be taken for the other's. */
        kb_content_malformed(t->c, t->rules, t->d, KB_RULE_AGENT_FORM,
                             "a file transfer under the id of another");
        return JUDGED_SWALLOW;
    }
    if (!read_key_file(kb_span(body.data + 4, body.len - 4), &said) || !said.good_name) {
        kb_content_malformed(t->c, t->rules, t->d, KB_RULE_AGENT_FORM,
                             "a file transfer without a plain name and a size");
        say_status(t, KB_FROM_SERVER, id, VD_AGENT_FILE_XFER_STATUS_ERROR, INVALID_FILENAME);
        return JUDGED_SWALLOW;
    }
    enum kb_rule enforced = forbids(&t->rules->enforced, &said);
    if (kb_content_blocks(t->c, t->rules, t->d, enforced, forbids(&t->rules->all, &said),
                          said.name)) {
        bool off = enforced == KB_RULE_FILES_IN, name = enforced == KB_RULE_FILES_NAMES;
        say_status(t, KB_FROM_SERVER, id,
                   off    ? VD_AGENT_FILE_XFER_STATUS_DISABLED
                   : name ? VD_AGENT_FILE_XFER_STATUS_ERROR
                          : VD_AGENT_FILE_XFER_STATUS_CANCELLED,
                   name ? INVALID_FILENAME : 0);
        return JUDGED_SWALLOW;
    }
    if (a->file_count >= FILES_MAX) {
        say_status(t, KB_FROM_SERVER, id, VD_AGENT_FILE_XFER_STATUS_CANCELLED, 0);
        return JUDGED_SWALLOW;
    }
    struct file *file = kb_zalloc(sizeof *file);
    *file = (struct file){.next = a->files, .id = id, .size = said.size};
    kb_copy_str(file->name, sizeof file->name, said.name);
    crypto_hash_sha256_init(&file->hash);
    a->files = file;
    a->file_count++;
    return JUDGED_PASS;
}

/* Both sides give it up; the guest by what goes on in the place of the data. */
static enum judged cancel(struct turn *t, struct file *file)
{
    struct lane *l = lane_of(t);
    say_status(t, KB_FROM_SERVER, file->id, VD_AGENT_FILE_XFER_STATUS_CANCELLED, 0);
    kb_put_u32(l->held.data + HEADER_SIZE, file->id);
    kb_put_u32(l->held.data + HEADER_SIZE + 4, VD_AGENT_FILE_XFER_STATUS_CANCELLED);
    kb_agent_held_set(l, VD_AGENT_FILE_XFER_STATUS, 8);
    end_file(t->a, t->c, file, false);
    return JUDGED_INSTEAD;
}

enum judged kb_agent_file_data(struct turn *t, uint32_t size)
{
    struct kb_agent *a = t->a;
    struct kb_span body = body_of(lane_of(t));
    if (body.len < DATA_HEAD)
        return JUDGED_BAD;
    struct file *file = find(a, kb_get_u32(body.data));
    if (!file)
        return JUDGED_SWALLOW; /* refused, or given up: what was under way still comes */
    uint64_t said = kb_get_u32(body.data + 4) | (uint64_t)kb_get_u32(body.data + 8) << 32;
    uint32_t bytes = size - DATA_HEAD;
    if (said != bytes || bytes > file->size - file->bytes) {
        kb_content_malformed(t->c, t->rules, t->d, KB_RULE_AGENT_FORM,
                             "file data that is not what was announced");
        return cancel(t, file);
    }
    /* The rules may be new ones. */
    struct announced now = {.size = file->size};
    kb_copy_str(now.name, sizeof now.name, file->name);
    enum kb_rule rule = forbids(&t->rules->enforced, &now);
    if (rule != KB_RULE_NONE) {
        kb_content_blocks(t->c, t->rules, t->d, rule, rule, file->name);
        return cancel(t, file);
    }
    a->hashing = file;
    return JUDGED_PASS;
}

enum judged kb_agent_file_status(struct turn *t)
{
    struct kb_agent *a = t->a;
    struct kb_span body = body_of(lane_of(t));
    if (body.len < 8)
        return JUDGED_BAD;
    struct file *file = find(a, kb_get_u32(body.data));
    uint32_t result = kb_get_u32(body.data + 4);
    if (!file)
        return JUDGED_SWALLOW;
    if (result != VD_AGENT_FILE_XFER_STATUS_CAN_SEND_DATA)
        end_file(a, t->c, file,
                 t->d == KB_FROM_SERVER && result == VD_AGENT_FILE_XFER_STATUS_SUCCESS);
    return JUDGED_PASS;
}
